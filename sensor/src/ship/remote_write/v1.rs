//! The messages of remote write 1.0, package `prometheus`.

use prost::Message;

use super::Histogram;

/// What is pushed.
#[derive(Clone, PartialEq, Message)]
pub struct WriteRequest {
    /// Series with their samples.
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
    /// What the families are.
    #[prost(message, repeated, tag = "3")]
    pub metadata: Vec<MetricMetadata>,
}

/// One series.
#[derive(Clone, PartialEq, Message)]
pub struct TimeSeries {
    /// Sorted by name.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    /// In the order of time.
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    /// Examples of what was counted.
    #[prost(message, repeated, tag = "3")]
    pub exemplars: Vec<Exemplar>,
    /// In place of samples, where it is a native histogram.
    #[prost(message, repeated, tag = "4")]
    pub histograms: Vec<Histogram>,
}

/// A name and a value.
#[derive(Clone, PartialEq, Message)]
pub struct Label {
    /// The name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The value, never empty.
    #[prost(string, tag = "2")]
    pub value: String,
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
}

/// An observation with what it belongs to.
#[derive(Clone, PartialEq, Message)]
pub struct Exemplar {
    /// `trace_id`, mostly.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    /// What was observed.
    #[prost(double, tag = "2")]
    pub value: f64,
    /// Milliseconds of the Unix epoch.
    #[prost(int64, tag = "3")]
    pub timestamp: i64,
}

/// What is said of a family.
#[derive(Clone, PartialEq, Message)]
pub struct MetricMetadata {
    /// The numbers of 1.0: unknown 0, counter 1, gauge 2, histogram 3, …, the same as those of 2.0.
    #[prost(int32, tag = "1")]
    pub r#type: i32,
    /// The family's name.
    #[prost(string, tag = "2")]
    pub metric_family_name: String,
    /// One line.
    #[prost(string, tag = "4")]
    pub help: String,
    /// The unit.
    #[prost(string, tag = "5")]
    pub unit: String,
}
