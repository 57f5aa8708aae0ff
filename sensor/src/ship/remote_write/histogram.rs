//! Native histograms as remote write has them; the message is the same in 1.0 and 2.0.

use prost::Message;

use super::STALE;
use crate::metric::Reading;
use crate::metric::native::{Exponential, SCHEMA};

/// Empty buckets that are written out rather than skipped: a new span takes more bytes.
const GAP_MAX: usize = 2;
/// Values up to this are in the bucket of zero: 2^-128, as the clients of Prometheus have it.
const ZERO_THRESHOLD: f64 = 1.0 / (1_u128 << 127) as f64 / 2.0;

/// Observations in exponential buckets.
#[derive(Clone, PartialEq, Message)]
pub struct Histogram {
    /// How many.
    #[prost(uint64, optional, tag = "1")]
    pub count_int: Option<u64>,
    /// All values added up; the stale marker ends the series.
    #[prost(double, tag = "3")]
    pub sum: f64,
    /// How fine the buckets are.
    #[prost(sint32, tag = "4")]
    pub schema: i32,
    /// How wide the bucket of zero is.
    #[prost(double, tag = "5")]
    pub zero_threshold: f64,
    /// Observations in it.
    #[prost(uint64, optional, tag = "6")]
    pub zero_count_int: Option<u64>,
    /// Which buckets there are.
    #[prost(message, repeated, tag = "11")]
    pub positive_spans: Vec<BucketSpan>,
    /// Observations in each, as the difference to the one before.
    #[prost(sint64, repeated, tag = "12")]
    pub positive_deltas: Vec<i64>,
    /// Milliseconds of the Unix epoch.
    #[prost(int64, tag = "15")]
    pub timestamp: i64,
    /// When it began at 0, in milliseconds of the Unix epoch; 2.0 alone has it.
    #[prost(int64, tag = "17")]
    pub start_timestamp: i64,
}

/// Buckets next to each other.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct BucketSpan {
    /// The first one's index; of further spans, how many are skipped.
    #[prost(sint32, tag = "1")]
    pub offset: i32,
    /// How many.
    #[prost(uint32, tag = "2")]
    pub length: u32,
}

impl Histogram {
    /// What was counted until a time.
    #[must_use]
    pub(super) fn new(reading: &Reading<'_>, native: &Exponential, timestamp: i64, start: i64) -> Self {
        let (positive_spans, counts) = spans(native);
        let mut before = 0;
        let deltas = counts.into_iter().map(|count| {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            count - std::mem::replace(&mut before, count)
        });
        Self {
            count_int: Some(reading.count()),
            sum: reading.sum(),
            schema: native.schema(),
            zero_threshold: ZERO_THRESHOLD,
            zero_count_int: Some(native.zero()),
            positive_deltas: deltas.collect(),
            positive_spans,
            timestamp,
            start_timestamp: start,
        }
    }

    /// The end of a series.
    #[must_use]
    pub(super) fn stale(timestamp: i64) -> Self {
        Self {
            count_int: Some(0),
            sum: STALE,
            schema: SCHEMA,
            zero_threshold: ZERO_THRESHOLD,
            zero_count_int: Some(0),
            timestamp,
            ..Self::default()
        }
    }
}

/// The buckets as spans, and their counts.
fn spans(native: &Exponential) -> (Vec<BucketSpan>, Vec<u64>) {
    let (mut spans, mut counts): (Vec<BucketSpan>, Vec<u64>) = (Vec::new(), Vec::new());
    let mut next = 0;
    for (place, count) in native.buckets().filter(|(_, count)| *count > 0) {
        let gap = place - next;
        match spans.last_mut() {
            Some(span) if usize::try_from(gap).is_ok_and(|gap| gap <= GAP_MAX) => {
                let skipped = u32::try_from(gap).unwrap_or(0);
                counts.extend((0..skipped).map(|_| 0));
                span.length += skipped + 1;
            }
            _ => spans.push(BucketSpan { offset: gap, length: 1 }),
        }
        counts.push(count);
        next = place + 1;
    }
    (spans, counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_skipped_and_counts_are_differences() {
        let mut native = Exponential::default();
        // Buckets -8, -7, -4 and 16 of schema 3.
        for value in [0.0, 0.5, 0.5, 0.51, 0.7, 4.0, 4.0, 4.0] {
            native.record(value);
        }
        let buckets = &crate::metric::histogram::DURATION;
        let reading = Reading { buckets, counts: &[8], sum: 14_210_000_000, native: None, exemplar: None };
        let histogram = Histogram::new(&reading, &native, 7, 1);
        let span = |offset, length| BucketSpan { offset, length };
        assert_eq!(histogram.positive_spans, [span(-8, 5), span(19, 1)]);
        assert_eq!(histogram.positive_deltas, [2, -1, -1, 0, 1, 2]);
        assert_eq!((histogram.count_int, histogram.zero_count_int, histogram.sum), (Some(8), Some(1), 14.21));
        assert_eq!(ZERO_THRESHOLD, 2_f64.powi(-128));
    }
}
