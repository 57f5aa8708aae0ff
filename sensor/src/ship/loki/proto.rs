//! The messages of Loki's push API, package `logproto`.

use prost::Message;

/// What is pushed.
#[derive(Clone, PartialEq, Message)]
pub struct PushRequest {
    /// A stream a label set.
    #[prost(message, repeated, tag = "1")]
    pub streams: Vec<Stream>,
}

/// Lines with the same labels.
#[derive(Clone, PartialEq, Message)]
pub struct Stream {
    /// As a selector: `{a="b"}`.
    #[prost(string, tag = "1")]
    pub labels: String,
    /// In the order of time.
    #[prost(message, repeated, tag = "2")]
    pub entries: Vec<Entry>,
}

/// A line.
#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    /// When it was written.
    #[prost(message, optional, tag = "1")]
    pub timestamp: Option<Timestamp>,
    /// The line.
    #[prost(string, tag = "2")]
    pub line: String,
    /// What is not worth a stream.
    #[prost(message, repeated, tag = "3")]
    pub structured_metadata: Vec<LabelPair>,
}

/// A name and a value.
#[derive(Clone, PartialEq, Message)]
pub struct LabelPair {
    /// The name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Timestamp {
    /// Of the Unix epoch.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// 0 to 999 999 999.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Timestamp {
    /// From nanoseconds of the Unix epoch.
    #[must_use]
    pub const fn new(unix_ns: u64) -> Self {
        Self { seconds: (unix_ns / 1_000_000_000) as i64, nanos: (unix_ns % 1_000_000_000) as i32 }
    }
}
