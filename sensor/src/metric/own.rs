//! What the sensor says of itself.

use super::{Family, Kind, Labels, Sample, Source, family};

/// Counters and gauges that are set by name of family and label values.
///
/// The label values come from the program, never from traffic, so their number is bounded by the code.
#[derive(Default)]
pub struct Own {
    series: Vec<Series>,
}

struct Series {
    family: &'static Family,
    values: Box<[Box<str>]>,
    labels: Labels,
    value: f64,
}

impl Own {
    /// Sets a gauge, or a counter to a total that was counted elsewhere. `labels` are the values of the family's
    /// labels in their order.
    pub fn set(&mut self, family: &'static Family, labels: &[&str], value: f64) {
        *self.value(family, labels) = value;
    }

    /// Adds to a counter.
    pub fn add(&mut self, family: &'static Family, labels: &[&str], value: f64) {
        *self.value(family, labels) += value;
    }

    fn value(&mut self, family: &'static Family, values: &[&str]) -> &mut f64 {
        debug_assert!(family::OWN.contains(&family), "{} is not in the list", family.name);
        debug_assert_eq!(family.labels.len(), values.len(), "labels of {}", family.name);
        let known = self.series.iter().position(|series| {
            series.family == family && series.values.iter().map(|value| &**value).eq(values.iter().copied())
        });
        let slot = known.unwrap_or_else(|| {
            let pairs = family.labels.iter().zip(values).map(|(name, value)| (*name, (*value).into()));
            self.series.push(Series {
                family,
                values: values.iter().map(|value| (*value).into()).collect(),
                labels: Labels::new(pairs),
                value: 0.0,
            });
            self.series.len() - 1
        });
        &mut self.series[slot].value
    }
}

impl Source for Own {
    fn families(&self) -> &'static [&'static Family] {
        family::OWN
    }

    fn slots(&self) -> usize {
        self.series.len()
    }

    fn read(&self, family: usize, slot: usize) -> Option<(&Labels, Sample<'_>)> {
        let series = self.series.get(slot)?;
        if series.family != *family::OWN.get(family)? {
            return None;
        }
        let sample = match series.family.kind {
            Kind::Counter => Sample::Counter(series.value),
            Kind::Gauge | Kind::Level | Kind::Histogram(_) => Sample::Gauge(series.value),
        };
        Some((&series.labels, sample))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_again() {
        let mut own = Own::default();
        own.add(&family::LOST, &["ring_full"], 2.0);
        own.add(&family::LOST, &["evicted"], 1.0);
        own.add(&family::LOST, &["ring_full"], 3.0);
        own.set(&family::OPEN_CONNECTIONS, &[], 7.0);
        own.set(&family::OPEN_CONNECTIONS, &[], 5.0);
        assert_eq!(own.slots(), 3);
        let lost = family::OWN.iter().position(|known| **known == family::LOST).unwrap();
        let (labels, sample) = own.read(lost, 0).unwrap();
        assert_eq!((labels.get("cause"), sample), ("ring_full", Sample::Counter(5.0)));
        assert!(own.read(lost, 2).is_none(), "another family's series");
    }
}
