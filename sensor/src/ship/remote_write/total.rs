//! Values that are put together from several label sets.

use crate::metric::native::Exponential;
use crate::metric::{Buckets, Exemplar, Family, Kind, Reading, Sample};

/// A value of its own, where a [`Sample`] is borrowed.
#[derive(Clone, Debug)]
pub(super) enum Total {
    Counter(f64),
    Gauge(f64),
    Histogram {
        buckets: &'static Buckets,
        counts: Box<[u64]>,
        sum: u64,
        native: Option<Exponential>,
        exemplar: Option<Exemplar>,
    },
}

impl Total {
    pub(super) fn of(sample: Sample<'_>) -> Self {
        match sample {
            Sample::Counter(value) => Self::Counter(value),
            Sample::Gauge(value) => Self::Gauge(value),
            Sample::Histogram(Reading { buckets, counts, sum, native, exemplar }) => Self::Histogram {
                buckets,
                counts: counts.into(),
                sum,
                native: native.cloned(),
                exemplar: exemplar.copied(),
            },
        }
    }

    /// Takes over a value, without new memory where it has the same form.
    pub(super) fn set(&mut self, sample: Sample<'_>) {
        match (&mut *self, sample) {
            (Self::Histogram { counts, sum, native, exemplar, .. }, Sample::Histogram(now))
                if counts.len() == now.counts.len() =>
            {
                counts.copy_from_slice(now.counts);
                (*sum, *exemplar) = (now.sum, now.exemplar.copied());
                match (native, now.native) {
                    (Some(native), Some(now)) => native.clone_from(now),
                    (native, now) => *native = now.cloned(),
                }
            }
            _ => *self = Self::of(sample),
        }
    }

    pub(super) fn sample(&self) -> Sample<'_> {
        match self {
            Self::Counter(value) => Sample::Counter(*value),
            Self::Gauge(value) => Sample::Gauge(*value),
            Self::Histogram { buckets, counts, sum, native, exemplar } => Sample::Histogram(Reading {
                buckets,
                counts,
                sum: *sum,
                native: native.as_ref(),
                exemplar: exemplar.as_ref(),
            }),
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
            (Self::Histogram { counts, sum, native, exemplar, .. }, Sample::Histogram(now)) => {
                let before = match last {
                    Some(Self::Histogram { counts, sum, native, .. })
                        if counts.iter().zip(now.counts).all(|(before, now)| before <= now) =>
                    {
                        Some((counts, sum, native))
                    }
                    _ => None,
                };
                if let (Some(native), Some(now)) = (native, now.native) {
                    native.add_since(before.and_then(|(_, _, before)| before.as_ref()), now);
                }
                if now.exemplar.is_some_and(|now| exemplar.is_none_or(|known| known.unix_ms < now.unix_ms)) {
                    *exemplar = now.exemplar.copied();
                }
                for (place, (total, now)) in counts.iter_mut().zip(now.counts).enumerate() {
                    let before = before.and_then(|(counts, ..)| counts.get(place)).copied();
                    *total += now - before.unwrap_or(0);
                }
                let before = before.map_or(0, |(_, sum, _)| *sum);
                *sum = sum.saturating_add(now.sum.saturating_sub(before));
            }
            // The samples of a family are of one kind.
            _ => {}
        }
    }
}
