//! The messages of remote write 2.0, package `io.prometheus.write.v2`.

use hashbrown::HashMap;
use prost::Message;

use super::Histogram;

/// What is pushed.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// All strings, each once; the first is empty.
    #[prost(string, repeated, tag = "4")]
    pub symbols: Vec<String>,
    /// Series with their samples.
    #[prost(message, repeated, tag = "5")]
    pub timeseries: Vec<TimeSeries>,
}

/// One series.
#[derive(Clone, PartialEq, Message)]
pub struct TimeSeries {
    /// Pairs of name and value by their place in the symbols, sorted by name.
    #[prost(uint32, repeated, tag = "1")]
    pub labels_refs: Vec<u32>,
    /// In the order of time.
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    /// In place of samples, where it is a native histogram.
    #[prost(message, repeated, tag = "3")]
    pub histograms: Vec<Histogram>,
    /// Examples of what was counted.
    #[prost(message, repeated, tag = "4")]
    pub exemplars: Vec<Exemplar>,
    /// What the family is.
    #[prost(message, optional, tag = "5")]
    pub metadata: Option<Metadata>,
}

/// A value at a time.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Sample {
    /// The value.
    #[prost(double, tag = "1")]
    pub value: f64,
    /// Milliseconds of the Unix epoch.
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
    /// When a counter began at 0, in milliseconds of the Unix epoch; 0 when it is none.
    #[prost(int64, tag = "3")]
    pub start_timestamp: i64,
}

/// An observation with what it belongs to.
#[derive(Clone, PartialEq, Message)]
pub struct Exemplar {
    /// As those of a series.
    #[prost(uint32, repeated, tag = "1")]
    pub labels_refs: Vec<u32>,
    /// What was observed.
    #[prost(double, tag = "2")]
    pub value: f64,
    /// Milliseconds of the Unix epoch.
    #[prost(int64, tag = "3")]
    pub timestamp: i64,
}

/// What is said of a family.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Metadata {
    /// See [`COUNTER`] and the others.
    #[prost(int32, tag = "1")]
    pub r#type: i32,
    /// One line, by its place in the symbols.
    #[prost(uint32, tag = "3")]
    pub help_ref: u32,
    /// The unit, by its place in the symbols.
    #[prost(uint32, tag = "4")]
    pub unit_ref: u32,
}

/// `METRIC_TYPE_COUNTER`.
pub const COUNTER: i32 = 1;
/// `METRIC_TYPE_GAUGE`.
pub const GAUGE: i32 = 2;
/// `METRIC_TYPE_HISTOGRAM`.
pub const HISTOGRAM: i32 = 3;

/// The strings of a request that is being made.
#[derive(Debug)]
pub struct Symbols {
    list: Vec<String>,
    places: HashMap<String, u32>,
}

impl Default for Symbols {
    fn default() -> Self {
        let mut symbols = Self { list: Vec::new(), places: HashMap::new() };
        symbols.place("");
        symbols
    }
}

impl Symbols {
    /// The place of a string.
    pub fn place(&mut self, text: &str) -> u32 {
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        let place = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        self.list.push(text.to_owned());
        self.places.insert(text.to_owned(), place);
        place
    }

    /// The string at a place, empty when there is none.
    #[must_use]
    pub fn text(&self, place: u32) -> &str {
        usize::try_from(place).ok().and_then(|place| self.list.get(place)).map_or("", String::as_str)
    }

    /// The strings by their places.
    #[must_use]
    pub fn into_list(self) -> Vec<String> {
        self.list
    }
}
