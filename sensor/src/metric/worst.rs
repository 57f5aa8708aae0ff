//! Which labels make the most series, for the person who has to bring them down.

use hashbrown::HashSet;
use serde_json::{Value, json};

use super::Registry;

/// How many are named.
const NAMED: usize = 5;

/// A label of a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worst {
    /// One of the metrics that share their label sets.
    pub metric: &'static str,
    /// The label.
    pub label: &'static str,
    /// How many values it has.
    pub values: usize,
}

impl Worst {
    /// For the status page.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({ "metric": self.metric, "label": self.label, "values": self.values })
    }
}

/// The labels with the most values, the worst first.
#[must_use]
pub fn worst(registry: &Registry) -> Vec<Worst> {
    let mut all: Vec<Worst> = Vec::new();
    for source in registry.sources() {
        let Some(family) = source.families().first() else { continue };
        for &label in family.labels {
            let labels = (0..source.slots()).filter_map(|slot| source.read(0, slot));
            let values: HashSet<&str> = labels.map(|(labels, _)| labels.get(label)).collect();
            all.push(Worst { metric: family.name, label, values: values.len() });
        }
    }
    all.retain(|label| label.values > 1);
    all.sort_by_key(|worst| std::cmp::Reverse(worst.values));
    all.truncate(NAMED);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Observed;
    use crate::metric::fixture::{exchange, observed};

    #[test]
    fn the_label_with_the_most_values_is_named_first() {
        let mut registry = Registry::new(100).span_metrics(false).max_active_series(1_000);
        assert_eq!(worst(&registry), []);
        for route in 0..50 {
            registry.record(&Observed { route: format!("/{route}").into(), ..observed(exchange()) });
        }
        let (folded, worst) = (registry.folded(), worst(&registry));
        assert!(folded > 0);
        let first = &worst[0];
        assert_eq!((first.metric, first.label), ("http_server_request_duration_seconds", "http_route"));
        assert!((10..30).contains(&first.values), "{first:?}");
    }
}
