//! The messages of Loki's push API (`pkg/push/push.proto` of Loki), as a receiver knows them.

use prost::Message;

/// `PushRequest`
#[derive(Clone, PartialEq, Message)]
pub struct Push {
    /// `streams`
    #[prost(message, repeated, tag = "1")]
    pub streams: Vec<Stream>,
}

/// `StreamAdapter`
#[derive(Clone, PartialEq, Message)]
pub struct Stream {
    /// `labels`, a selector
    #[prost(string, tag = "1")]
    pub labels: String,
    /// `entries`
    #[prost(message, repeated, tag = "2")]
    pub entries: Vec<Entry>,
}

/// `EntryAdapter`
#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    /// `timestamp`
    #[prost(message, optional, tag = "1")]
    pub timestamp: Option<Timestamp>,
    /// `line`
    #[prost(string, tag = "2")]
    pub line: String,
    /// `structuredMetadata`
    #[prost(message, repeated, tag = "3")]
    pub metadata: Vec<Pair>,
}

/// `LabelPairAdapter`
#[derive(Clone, PartialEq, Message)]
pub struct Pair {
    /// `name`
    #[prost(string, tag = "1")]
    pub name: String,
    /// `value`
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `google.protobuf.Timestamp`
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Timestamp {
    /// `seconds`
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// `nanos`
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Entry {
    /// Nanoseconds of the Unix epoch; 0 where there is no time.
    #[must_use]
    pub fn time_ns(&self) -> i128 {
        let time = self.timestamp.unwrap_or_default();
        i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos)
    }

    /// Structured metadata by its name; nothing where there is none.
    #[must_use]
    pub fn metadata(&self, name: &str) -> &str {
        self.metadata.iter().find(|pair| pair.name == name).map_or("", |pair| &pair.value)
    }
}
