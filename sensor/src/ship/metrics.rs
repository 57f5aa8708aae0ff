//! The collection of all metrics, once an interval.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prost::Message as _;
use tokio::sync::watch;

use super::remote_write::{Collected, Collector};
use super::stats::{monotonic_ns, now_ms};
use super::store::Store;
use super::worker::Stop;
use crate::metric::Shared;
use crate::metric::worst::{Worst, worst};

/// How often the labels with the most values are looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(3_600);

/// Collects at the node's moment of each interval.
pub struct Ticker {
    /// All metrics.
    pub registry: Shared,
    /// What it remembers from one collection to the next outlives a change of the settings.
    pub collector: Arc<Mutex<Collector>>,
    /// Where requests go.
    pub store: Store,
    /// How often.
    pub interval: Duration,
    /// Series that were not written for so long end.
    pub idle: Duration,
    /// The node's name, which sets its moment.
    pub node: String,
    /// Which labels make too many series.
    pub cardinality: Mutex<Cardinality>,
}

/// The look at what makes too many series, once an hour while something finds no room.
#[derive(Debug, Default)]
pub struct Cardinality {
    looked: Option<Instant>,
    /// Recordings that the registry had no room for, and with them label sets that a metric's own limit folded.
    folded: u64,
    all: u64,
    worst: Vec<Worst>,
}

impl Cardinality {
    /// The labels with the most values at the last look.
    #[must_use]
    pub fn worst(&self) -> &[Worst] {
        &self.worst
    }

    /// Looks, when an hour has passed and more found no room: by the bounds of the registry, or by a metric's own. What is
    /// to be said of it is returned.
    fn look(&mut self, registry: &Shared, collector: &Collector, now: Instant) -> Vec<String> {
        let limited: Vec<(&str, u64)> = collector.folded().collect();
        let folded = registry.lock().folded();
        let all = folded + limited.iter().map(|(_, folded)| folded).sum::<u64>();
        let is_due = self.looked.is_none_or(|looked| now.duration_since(looked) >= LOOK_INTERVAL);
        if all <= self.all || !is_due {
            return Vec::new();
        }
        let mut said = Vec::new();
        self.worst = limited.iter().filter_map(|(metric, _)| collector.worst(metric)).collect();
        for Worst { metric, label, values } in &self.worst {
            said.push(format!(
                "`{metric}` is at its limit in `ship.metrics.limits`, so that label sets of it are sent as `other`; \
                 its label `{label}` has {values} values"
            ));
        }
        if folded > self.folded {
            let (more, worst) = (folded - self.folded, worst(&registry.lock()));
            for Worst { metric, label, values } in &worst {
                said.push(format!(
                    "{more} recordings found no room for a series of their own and went to `other`; \
                     the label `{label}` of `{metric}` has {values} values"
                ));
            }
            self.worst.extend(worst);
        }
        (self.looked, self.folded, self.all) = (Some(now), folded, all);
        said
    }
}

impl Ticker {
    /// Collects until told to stop.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<Stop>) {
        loop {
            let wait = until_next(now_ms(), self.interval, &self.node);
            tokio::select! {
                _ = stop.changed() => return,
                () = tokio::time::sleep(wait) => {}
            }
            let ticker = Arc::clone(&self);
            if tokio::task::spawn_blocking(move || ticker.collect()).await.is_err() {
                tracing::error!("a collection of the metrics failed");
            }
        }
    }

    /// Collects once, on the disk's time.
    pub fn collect(&self) {
        {
            let mut registry = self.registry.lock();
            registry.expire(monotonic_ns().saturating_sub(nanoseconds(self.idle)));
            if let Err(error) = registry.refresh() {
                tracing::warn!(%error, "the daemon's own use is not known");
            }
        }
        let mut collector = self.collector.lock().unwrap_or_else(PoisonError::into_inner);
        collector.collect(&self.registry, unix_ms(), |collected| accept(&self.store, &collected));
        let mut cardinality = self.cardinality.lock().unwrap_or_else(PoisonError::into_inner);
        for line in cardinality.look(&self.registry, &collector, Instant::now()) {
            tracing::warn!("{line}");
        }
    }

    /// A last collection, and the end of all series: after it nothing is collected.
    pub fn finish(&self) {
        self.collect();
        end_all(&self.collector, &self.store);
    }
}

/// Ends all series that were sent.
pub fn end_all(collector: &Mutex<Collector>, store: &Store) {
    let mut collector = collector.lock().unwrap_or_else(PoisonError::into_inner);
    // After the last sample, which may have been taken in this millisecond.
    collector.end_all(unix_ms() + 1, |collected| accept(store, &collected));
}

fn accept(store: &Store, collected: &Collected) {
    store.accept(collected.request.encode_to_vec(), collected.samples);
}

/// From now to the node's next moment: a place in the interval that its name chooses, so that a fleet does not send at
/// once.
fn until_next(now_ms: u64, interval: Duration, node: &str) -> Duration {
    let interval = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
    let mut hasher = DefaultHasher::new();
    node.hash(&mut hasher);
    let phase = hasher.finish() % interval;
    Duration::from_millis(interval - (now_ms + interval - phase) % interval)
}

fn unix_ms() -> i64 {
    i64::try_from(now_ms()).unwrap_or(i64::MAX)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::identity::Observed;
    use crate::metric::Registry;
    use crate::metric::fixture::{exchange, observed};
    use crate::ship::remote_write::{External, Selection};

    const DURATION: &str = "http_server_request_duration_seconds";

    /// What is said at a time about exchanges of these routes, seconds after the first look.
    struct Looks {
        registry: Shared,
        collector: Collector,
        cardinality: Cardinality,
        start: Instant,
    }

    impl Looks {
        fn new(registry: Registry, limits: &str) -> Self {
            let config = Config::parse(&format!("ship: {{metrics: {{limits: [{limits}]}}}}"), "sensor.yaml");
            let mut collector = Collector::new(External::default(), 10_000, 0);
            collector.select(Selection::new(&config.unwrap().ship.metrics).unwrap());
            let registry = Shared::new(registry.span_metrics(false));
            Self { registry, collector, cardinality: Cardinality::default(), start: Instant::now() }
        }

        fn at(&mut self, seconds: u64, routes: std::ops::Range<u32>) -> Vec<String> {
            for route in routes {
                let observed = Observed { route: format!("/{route}").into(), ..observed(exchange()) };
                self.registry.lock().record(&observed);
            }
            let time = i64::try_from(seconds).unwrap() * 1_000 + 1;
            self.collector.collect(&self.registry, time, drop);
            let now = self.start + Duration::from_secs(seconds);
            self.cardinality.look(&self.registry, &self.collector, now)
        }
    }

    #[test]
    fn the_worst_label_of_a_metric_at_its_limit_is_named_once_an_hour() {
        // Two label sets of 17 series each.
        let mut looks =
            Looks::new(Registry::new(1_000), &format!("{{metrics: [{DURATION}], max_series: 40}}"));
        assert_eq!(looks.at(0, 0..2), [""; 0], "all have room");
        let said = looks.at(60, 2..5);
        let [line] = &said[..] else { panic!("{said:?}") };
        assert!(line.starts_with(&format!("`{DURATION}` is at its limit")), "{line}");
        assert!(line.ends_with("its label `http_route` has 5 values"), "{line}");
        assert_eq!(looks.at(120, 5..9), [""; 0], "it was said this hour");
        assert_eq!(looks.at(3_659, 9..10), [""; 0]);
        let said = looks.at(3_660, 10..10);
        assert!(said[0].ends_with("has 10 values"), "{said:?}");
        assert_eq!(looks.cardinality.worst()[0].values, 10, "for the status page");
        assert_eq!(looks.at(9_000, 0..10), [""; 0], "nothing more was folded");
    }

    #[test]
    fn the_worst_labels_of_a_full_registry_are_named_once_an_hour() {
        let mut looks = Looks::new(Registry::new(3), "");
        assert_eq!(looks.at(0, 0..2), [""; 0], "all have room");
        let said = looks.at(60, 2..6);
        assert!(said[0].starts_with("4 recordings found no room"), "{said:?}");
        assert!(
            said[0].contains("the label `http_route` of `http_server_request_duration_seconds`"),
            "{said:?}"
        );
        assert_eq!(looks.at(120, 6..8), [""; 0], "it was said this hour");
        let said = looks.at(3_700, 8..9);
        assert!(said[0].starts_with("3 recordings found no room"), "{said:?}");
    }

    #[test]
    fn nodes_are_spread_over_the_interval() {
        let interval = Duration::from_secs(60);
        let mut seconds = std::collections::BTreeSet::new();
        for node in 0..100 {
            let node = format!("node-{node}");
            let wait = until_next(1_700_000_000_123, interval, &node);
            assert!(wait > Duration::ZERO && wait <= interval);
            let at = 1_700_000_000_123 + u64::try_from(wait.as_millis()).unwrap();
            assert_eq!(until_next(at, interval, &node), interval, "its next moment is an interval later");
            seconds.insert(wait.as_secs());
        }
        assert!(seconds.len() > 30, "{seconds:?}");
    }
}
