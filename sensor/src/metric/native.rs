//! Exponential buckets, as native histograms of Prometheus have them.
//!
//! Bucket `i` of schema `s` holds the values in (bⁱ⁻¹, bⁱ] with b = 2^(2^-s); zero has a bucket of its own. A histogram
//! begins with [`SCHEMA`] and has [`BUCKETS_MAX`] buckets at most, from its least value to its greatest: where that
//! does not suffice neighbours become one, and the schema is one less.
//!
//! Source: the native histograms page of the Prometheus documentation, "Schema".

/// The finest schema: a bucket is 9 % wide.
pub const SCHEMA: i32 = 3;
/// The coarsest one that there is: all that 64 bits hold are five buckets of it.
pub const SCHEMA_MIN: i32 = -4;
/// The most buckets.
pub const BUCKETS_MAX: usize = 160;

/// Upper bounds within an octave, halved: 2^(i/8) / 2.
const BOUNDS: [f64; 1 << SCHEMA] = [
    0.5,
    0.545_253_866_332_628_8,
    0.594_603_557_501_360_5,
    0.648_419_777_325_504_8,
    std::f64::consts::FRAC_1_SQRT_2,
    0.771_105_412_703_970_4,
    0.840_896_415_253_714_5,
    0.917_004_043_204_671_2,
];

/// Observations by exponential bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exponential {
    schema: i32,
    zero: u64,
    /// The index of the first count.
    first: i32,
    counts: Vec<u64>,
}

impl Default for Exponential {
    fn default() -> Self {
        Self { schema: SCHEMA, zero: 0, first: 0, counts: Vec::new() }
    }
}

impl Exponential {
    /// Counts a value that is not below 0.
    pub fn record(&mut self, value: f64) {
        if value > 0.0 {
            self.count(up(index(value), SCHEMA - self.schema), 1);
        } else {
            self.zero += 1;
        }
    }

    /// How fine the buckets are.
    #[must_use]
    pub const fn schema(&self) -> i32 {
        self.schema
    }

    /// How often the value was 0.
    #[must_use]
    pub const fn zero(&self) -> u64 {
        self.zero
    }

    /// The buckets from the least to the greatest, empty ones between them too.
    pub fn buckets(&self) -> impl Iterator<Item = (i32, u64)> {
        (self.first..).zip(self.counts.iter().copied())
    }

    /// Adds what was counted in `now` since it was as `before`.
    pub fn add_since(&mut self, before: Option<&Self>, now: &Self) {
        while self.schema > now.schema {
            self.reduce();
        }
        let mut before = before.cloned().unwrap_or_default();
        while before.schema > now.schema {
            before.reduce();
        }
        self.zero += now.zero.saturating_sub(before.zero);
        for (place, count) in now.buckets() {
            let more = count.saturating_sub(before.at(place));
            if more > 0 {
                self.count(up(place, now.schema - self.schema), more);
            }
        }
    }

    fn at(&self, place: i32) -> u64 {
        let offset = usize::try_from(place - self.first).ok();
        offset.and_then(|offset| self.counts.get(offset)).copied().unwrap_or(0)
    }

    /// Counts in a bucket of the present schema.
    fn count(&mut self, mut place: i32, more: u64) {
        if self.counts.is_empty() {
            self.first = place;
        }
        while self.width(place) > BUCKETS_MAX && self.schema > SCHEMA_MIN {
            self.reduce();
            place = up(place, 1);
        }
        if place < self.first {
            let new = (place..self.first).map(|_| 0);
            drop(self.counts.splice(..0, new));
            self.first = place;
        }
        let offset = usize::try_from(place - self.first).unwrap_or(0);
        if offset >= self.counts.len() {
            self.counts.resize(offset + 1, 0);
        }
        self.counts[offset] += more;
    }

    /// Buckets from the least to the greatest, with this one.
    fn width(&self, place: i32) -> usize {
        let length = i32::try_from(self.counts.len()).unwrap_or(i32::MAX);
        let last = self.first + length - 1;
        usize::try_from(last.max(place) - self.first.min(place) + 1).unwrap_or(usize::MAX)
    }

    /// Makes one bucket of two.
    fn reduce(&mut self) {
        let old = std::mem::take(&mut self.counts);
        let first = up(self.first, 1);
        for (place, count) in (self.first..).zip(old) {
            let offset = usize::try_from(up(place, 1) - first).unwrap_or(0);
            if offset >= self.counts.len() {
                self.counts.resize(offset + 1, 0);
            }
            self.counts[offset] += count;
        }
        self.first = first;
        self.schema -= 1;
    }
}

/// The bucket of a schema that is so much coarser: the upper bounds of every 2^`steps`-th are the same.
const fn up(place: i32, steps: i32) -> i32 {
    (place + (1 << steps) - 1) >> steps
}

/// The bucket of [`SCHEMA`] that holds a value above 0.
fn index(value: f64) -> i32 {
    const FRACTION: u32 = 52;
    const EXPONENT: u64 = 0x7ff << FRACTION;
    const HALF: u64 = 1022 << FRACTION;
    let bits = value.to_bits();
    // As a fraction in [0.5, 1) times a power of two; the smallest values are no normal numbers, and no time is so short.
    let exponent = i32::try_from((bits & EXPONENT) >> FRACTION).unwrap_or(0) - 1022;
    let fraction = f64::from_bits((bits & !EXPONENT) | HALF);
    let within = BOUNDS.partition_point(|bound| *bound < fraction);
    i32::try_from(within).unwrap_or(0) + ((exponent - 1) << SCHEMA)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bound(place: i32, schema: i32) -> f64 {
        2_f64.powf(f64::from(place) * 2_f64.powi(-schema))
    }

    #[test]
    fn bounds_belong_to_the_bucket_below() {
        assert_eq!([0.5, 1.0, 2.0, 4.0].map(index), [-8, 0, 8, 16]);
        assert_eq!([1.000_001, 0.999_999].map(index), [1, 0]);
        assert_eq!([up(0, 1), up(1, 1), up(2, 1), up(-1, 1), up(-8, 3)], [0, 1, 1, 0, -1]);
    }

    proptest! {
        #[test]
        fn every_value_is_in_its_bucket(values in prop::collection::vec(1_u64..u64::MAX / 2, 1..60)) {
            let mut histogram = Exponential::default();
            let seconds: Vec<f64> = values.iter().map(|value| *value as f64 / 1e9).collect();
            seconds.iter().for_each(|value| histogram.record(*value));
            prop_assert!(histogram.counts.len() <= BUCKETS_MAX);
            for (place, count) in histogram.buckets() {
                let (low, high) = (bound(place - 1, histogram.schema), bound(place, histogram.schema));
                let within = seconds.iter().filter(|value| **value > low && **value <= high).count();
                // Bounds of this test are rounded; whole nanoseconds are seldom that near to one.
                prop_assert_eq!(within as u64, count, "bucket {} of schema {}", place, histogram.schema);
            }
        }

        #[test]
        fn what_was_added_since_is_the_same_as_all(
            first in prop::collection::vec(0_u64..10_000_000_000, 0..40),
            second in prop::collection::vec(0_u64..u64::MAX / 2, 0..40),
        ) {
            let record = |histogram: &mut Exponential, values: &[u64]| {
                values.iter().for_each(|value| histogram.record(*value as f64 / 1e9));
            };
            let mut now = Exponential::default();
            record(&mut now, &first);
            let before = now.clone();
            let mut total = Exponential::default();
            total.add_since(None, &before);
            prop_assert_eq!(&total, &before);
            record(&mut now, &second);
            total.add_since(Some(&before), &now);
            prop_assert_eq!(total, now);
        }
    }
}
