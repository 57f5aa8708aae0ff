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

    /// Looks, when an hour has passed and more found no room: by the bounds of the registry, or by a metric's own.
    fn look(&mut self, registry: &Shared, collector: &Collector) {
        let limited: Vec<(&str, u64)> = collector.folded().collect();
        let folded = registry.lock().folded();
        let all = folded + limited.iter().map(|(_, folded)| folded).sum::<u64>();
        let is_due = self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_INTERVAL);
        if all <= self.all || !is_due {
            return;
        }
        self.worst = limited.iter().filter_map(|(metric, _)| collector.worst(metric)).collect();
        for Worst { metric, label, values } in &self.worst {
            tracing::warn!(
                "`{metric}` is at its limit in `ship.metrics.limits`, so that label sets of it are sent as `other`; \
                 its label `{label}` has {values} values"
            );
        }
        if folded > self.folded {
            let (more, worst) = (folded - self.folded, worst(&registry.lock()));
            for Worst { metric, label, values } in &worst {
                tracing::warn!(
                    "{more} recordings found no room for a series of their own and went to `other`; \
                     the label `{label}` of `{metric}` has {values} values"
                );
            }
            self.worst.extend(worst);
        }
        (self.looked, self.folded, self.all) = (Some(Instant::now()), folded, all);
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
        cardinality.look(&self.registry, &collector);
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
