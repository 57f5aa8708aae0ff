//! Histograms with fixed buckets, and beside them, where asked for, exponential ones.

use super::native::Exponential;

/// An exemplar gives its place to a shorter observation after so long, in milliseconds; to a longer one at once.
const EXEMPLAR_MS: i64 = 15_000;

/// The upper bounds of a histogram's buckets.
///
/// Values are whole numbers of a base unit (nanoseconds, bytes), so that sums are exact and a value on a bound
/// falls where it should; the exported unit is `scale` base units.
#[derive(Debug, PartialEq, Eq)]
pub struct Buckets {
    /// Inclusive upper bounds in the base unit, rising; one more bucket without a bound follows.
    pub bounds: &'static [u64],
    /// Base units in one exported unit.
    pub scale: u64,
}

const NANOSECONDS: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;

/// The bounds that the semantic conventions advise for durations of HTTP and RPC, in nanoseconds.
const DURATION_BOUNDS: &[u64] = &[
    5 * MILLISECOND,
    10 * MILLISECOND,
    25 * MILLISECOND,
    50 * MILLISECOND,
    75 * MILLISECOND,
    100 * MILLISECOND,
    250 * MILLISECOND,
    500 * MILLISECOND,
    750 * MILLISECOND,
    1_000 * MILLISECOND,
    2_500 * MILLISECOND,
    5_000 * MILLISECOND,
    7_500 * MILLISECOND,
    10_000 * MILLISECOND,
];

/// Seconds, from nanoseconds.
pub static DURATION: Buckets = Buckets { bounds: DURATION_BOUNDS, scale: NANOSECONDS };

/// Milliseconds, from nanoseconds: as older conventions want durations.
pub static DURATION_MILLISECONDS: Buckets = Buckets { bounds: DURATION_BOUNDS, scale: MILLISECOND };

/// Bytes: powers of ten, as the semantic conventions advise no bounds for sizes.
pub static SIZE: Buckets =
    Buckets { bounds: &[100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000], scale: 1 };

/// Seconds, from nanoseconds: what passes within a network, from a tenth of a millisecond on.
pub static LATENCY: Buckets = Buckets {
    bounds: &[
        MILLISECOND / 10,
        MILLISECOND / 4,
        MILLISECOND / 2,
        MILLISECOND,
        5 * MILLISECOND / 2,
        5 * MILLISECOND,
        10 * MILLISECOND,
        25 * MILLISECOND,
        50 * MILLISECOND,
        100 * MILLISECOND,
        250 * MILLISECOND,
        500 * MILLISECOND,
        1_000 * MILLISECOND,
        2_500 * MILLISECOND,
        5_000 * MILLISECOND,
    ],
    scale: NANOSECONDS,
};

/// Seconds, from nanoseconds: how long something lives, up to a day.
pub static LIFETIME: Buckets = Buckets {
    bounds: &[
        10 * MILLISECOND,
        100 * MILLISECOND,
        1_000 * MILLISECOND,
        10_000 * MILLISECOND,
        60_000 * MILLISECOND,
        600_000 * MILLISECOND,
        3_600_000 * MILLISECOND,
        86_400_000 * MILLISECOND,
    ],
    scale: NANOSECONDS,
};

/// Buckets of [`LATENCY`], the one without a bound included.
pub const LATENCY_SLOTS: usize = 16;
/// Buckets of [`LIFETIME`], the one without a bound included.
pub const LIFETIME_SLOTS: usize = 9;
/// Buckets of [`DURATION`], the one without a bound included.
pub const DURATION_SLOTS: usize = 15;
/// Buckets of [`SIZE`], the one without a bound included.
pub const SIZE_SLOTS: usize = 8;

impl Buckets {
    /// The upper bounds in the exported unit.
    pub fn exported(&self) -> impl Iterator<Item = f64> {
        self.bounds.iter().map(|bound| *bound as f64 / self.scale as f64)
    }
}

/// Observations by bucket. The buckets themselves are the family's, see [`Kind`](super::Kind).
#[derive(Clone, Debug)]
pub struct Histogram<const SLOTS: usize> {
    counts: [u64; SLOTS],
    sum: u64,
    more: Option<Box<More>>,
}

/// What not every histogram has.
#[derive(Clone, Debug, Default)]
struct More {
    native: Option<Exponential>,
    exemplar: Option<Exemplar>,
}

/// An observation with the span that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemplar {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span.
    pub span_id: [u8; 8],
    /// The observation, in the base unit.
    pub value: u64,
    /// When it ended, in milliseconds of the Unix epoch.
    pub unix_ms: i64,
}

impl Exemplar {
    /// Its labels, whose values are hexadecimal.
    #[must_use]
    pub fn labels(&self) -> [(&'static str, String); 2] {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        [("span_id", hex(&self.span_id)), ("trace_id", hex(&self.trace_id))]
    }
}

impl<const SLOTS: usize> Default for Histogram<SLOTS> {
    fn default() -> Self {
        Self { counts: [0; SLOTS], sum: 0, more: None }
    }
}

impl<const SLOTS: usize> Histogram<SLOTS> {
    /// Counts a value in the base unit of `buckets`.
    pub fn record(&mut self, buckets: &Buckets, value: u64) {
        let slot = buckets.bounds.iter().take_while(|bound| value > **bound).count();
        debug_assert_eq!(buckets.bounds.len() + 1, SLOTS, "a histogram of other buckets");
        if let Some(count) = self.counts.get_mut(slot) {
            *count += 1;
            self.sum = self.sum.saturating_add(value);
        }
        if let Some(native) = self.more.as_mut().and_then(|more| more.native.as_mut()) {
            native.record(value as f64 / buckets.scale as f64);
        }
    }

    /// Counts in exponential buckets as well, from the first value on.
    pub fn make_native(&mut self) {
        self.more.get_or_insert_default().native = Some(Exponential::default());
    }

    /// Keeps an example of what was counted: the longest of some seconds.
    pub fn note(&mut self, exemplar: Exemplar) {
        let known = &mut self.more.get_or_insert_default().exemplar;
        let stays = known.is_some_and(|known| {
            known.value >= exemplar.value && exemplar.unix_ms.saturating_sub(known.unix_ms) < EXEMPLAR_MS
        });
        if !stays {
            *known = Some(exemplar);
        }
    }

    /// What was counted, `None` when nothing was.
    #[must_use]
    pub fn read(&self, buckets: &'static Buckets) -> Option<Reading<'_>> {
        let more = self.more.as_deref();
        let native = more.and_then(|more| more.native.as_ref());
        let exemplar = more.and_then(|more| more.exemplar.as_ref());
        let reading = Reading { buckets, counts: &self.counts, sum: self.sum, native, exemplar };
        (reading.count() > 0).then_some(reading)
    }
}

/// What a histogram has counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading<'a> {
    /// The bounds.
    pub buckets: &'static Buckets,
    /// Observations in each bucket alone (not cumulative); the last is the one without a bound.
    pub counts: &'a [u64],
    /// All values added up, in the base unit.
    pub sum: u64,
    /// The same observations in exponential buckets, where they are counted so.
    pub native: Option<&'a Exponential>,
    /// One of them.
    pub exemplar: Option<&'a Exemplar>,
}

impl Reading<'_> {
    /// The bucket that holds a value in the base unit.
    #[must_use]
    pub fn bucket_of(&self, value: u64) -> usize {
        self.buckets.bounds.partition_point(|bound| *bound < value)
    }

    /// How many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All values added up, in the exported unit.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum as f64 / self.buckets.scale as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_is_in_its_bucket() {
        let mut histogram = Histogram::<DURATION_SLOTS>::default();
        assert_eq!(histogram.read(&DURATION), None);
        for value in [0, 5 * MILLISECOND, 5 * MILLISECOND + 1, 10_000 * MILLISECOND, u64::MAX / 4] {
            histogram.record(&DURATION, value);
        }
        let reading = histogram.read(&DURATION).unwrap();
        assert_eq!(reading.counts[..3], [2, 1, 0]);
        assert_eq!(reading.counts[13..], [1, 1]);
        assert_eq!(reading.count(), 5);
    }

    #[test]
    fn the_sum_is_in_the_exported_unit() {
        let mut histogram = Histogram::<DURATION_SLOTS>::default();
        histogram.record(&DURATION, 1_500 * MILLISECOND);
        histogram.record(&DURATION, 250 * MILLISECOND);
        assert_eq!(histogram.read(&DURATION).unwrap().sum(), 1.75);
    }

    #[test]
    fn bounds_rise_and_fit_the_histograms() {
        let known = [
            (&DURATION, DURATION_SLOTS),
            (&DURATION_MILLISECONDS, DURATION_SLOTS),
            (&SIZE, SIZE_SLOTS),
            (&LATENCY, LATENCY_SLOTS),
            (&LIFETIME, LIFETIME_SLOTS),
        ];
        for (buckets, slots) in known {
            assert_eq!(buckets.bounds.len() + 1, slots);
            assert!(buckets.bounds.is_sorted());
        }
        let seconds: Vec<f64> = DURATION.exported().collect();
        assert_eq!(
            seconds,
            [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]
        );
    }
}
