//! Values that are put together from several label sets.

use crate::metric::{Buckets, Family, Kind, Reading, Sample};

/// A value of its own, where a [`Sample`] is borrowed.
#[derive(Clone, Debug)]
pub(super) enum Total {
    Counter(f64),
    Gauge(f64),
    Histogram { buckets: &'static Buckets, counts: Box<[u64]>, sum: u64 },
}

impl Total {
    pub(super) fn of(sample: Sample<'_>) -> Self {
        match sample {
            Sample::Counter(value) => Self::Counter(value),
            Sample::Gauge(value) => Self::Gauge(value),
            Sample::Histogram(Reading { buckets, counts, sum }) => {
                Self::Histogram { buckets, counts: counts.into(), sum }
            }
        }
    }

    /// Takes over a value, without new memory where it has the same form.
    pub(super) fn set(&mut self, sample: Sample<'_>) {
        match (&mut *self, sample) {
            (Self::Histogram { counts: own, sum: own_sum, .. }, Sample::Histogram(reading))
                if own.len() == reading.counts.len() =>
            {
                own.copy_from_slice(reading.counts);
                *own_sum = reading.sum;
            }
            _ => *self = Self::of(sample),
        }
    }

    pub(super) fn sample(&self) -> Sample<'_> {
        match self {
            Self::Counter(value) => Sample::Counter(*value),
            Self::Gauge(value) => Sample::Gauge(*value),
            Self::Histogram { buckets, counts, sum } => {
                Sample::Histogram(Reading { buckets, counts, sum: *sum })
            }
        }
    }

    /// Adds what a label set says that said `last` before; a gauge of which it is the first in a round `is_fresh`.
    pub(super) fn add(&mut self, family: &Family, last: Option<&Self>, sample: Sample<'_>, is_fresh: bool) {
        match (self, sample) {
            (Self::Counter(total), Sample::Counter(now)) => {
                let before = match last {
                    Some(Self::Counter(before)) if *before <= now => *before,
                    // It began anew.
                    _ => 0.0,
                };
                *total += now - before;
            }
            (Self::Gauge(total), Sample::Gauge(now)) => match family.kind {
                _ if is_fresh => *total = now,
                Kind::Level => *total = total.max(now),
                _ => *total += now,
            },
            (Self::Histogram { counts, sum, .. }, Sample::Histogram(now)) => {
                let before = match last {
                    Some(Self::Histogram { counts, sum, .. })
                        if counts.iter().zip(now.counts).all(|(before, now)| before <= now) =>
                    {
                        Some((counts, sum))
                    }
                    _ => None,
                };
                for (place, (total, now)) in counts.iter_mut().zip(now.counts).enumerate() {
                    let before = before.and_then(|(counts, _)| counts.get(place)).copied();
                    *total += now - before.unwrap_or(0);
                }
                let before = before.map_or(0, |(_, sum)| *sum);
                *sum = sum.saturating_add(now.sum.saturating_sub(before));
            }
            // The samples of a family are of one kind.
            _ => {}
        }
    }
}
