//! All that leaves the node, as one thing that is started, changed and stopped.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::budget::Meter;
use super::gate::Signal;
use super::logs;
use super::metrics::{self, Ticker};
use super::outlet::{self, Encoded};
use super::plan::{self, Plan};
use super::remote_write::{Collector, External, Selection};
use super::sender::{Client, ClientError};
use super::spool::{Limits, SpoolError, Sync};
use super::stats::{Stats, now_ms};
use super::store::Store;
use super::traces::{self, Outlet, Sink};
use super::worker::{Stop, Worker};
use crate::config::ConfigError;
use crate::config::ship::Ship;
use crate::metric::Shared;

/// How long the receivers may take for the last batches when the sensor stops; the rest waits in the spool.
const DRAIN: Duration = Duration::from_secs(5);
/// A queue has about so many segments: a drop of the oldest takes that share of it.
const SEGMENTS: u64 = 64;
const SEGMENT_MIN: u64 = 256 * 1024;

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// The settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The spool.
    #[error("the spool: {0}")]
    Spool(#[from] SpoolError),
    /// A receiver.
    #[error("the receiver `{name}`: {source}")]
    Client {
        /// Its name.
        name: String,
        /// What is wrong.
        source: ClientError,
    },
}

/// A receiver as the status page shows it.
pub(super) struct Receiver {
    pub(super) name: String,
    pub(super) url: String,
    pub(super) signal: Signal,
    pub(super) reader: usize,
    pub(super) store: Store,
    pub(super) stats: Arc<Stats>,
}

/// Everything that runs by one set of settings.
pub(super) struct Running {
    settings: Ship,
    plans: Vec<Plan>,
    stop: watch::Sender<Stop>,
    workers: JoinSet<()>,
    writers: JoinSet<()>,
    pub(super) ticker: Option<Arc<Ticker>>,
    pub(super) receivers: Vec<Receiver>,
    pub(super) meters: Vec<(Signal, Arc<Meter>)>,
}

/// All that leaves the node.
pub struct Shipper {
    pub(super) registry: Shared,
    pub(super) outlet: Outlet,
    pub(super) spans: Arc<traces::Counts>,
    log_outlet: logs::Outlet,
    pub(super) lines: Arc<logs::Counts>,
    collector: Option<(External, Arc<Mutex<Collector>>)>,
    /// By name: they outlive a change of the settings.
    stats: HashMap<String, Arc<Stats>>,
    pub(super) running: Option<Running>,
    host: String,
}

impl Shipper {
    /// Starts by the settings; without a receiver nothing runs and nothing is written.
    ///
    /// # Errors
    /// When the spool or a receiver can't be set up.
    pub fn start(settings: &Ship, registry: Shared, host: &str) -> Result<Self, ShipError> {
        let mut shipper = Self {
            registry,
            outlet: Outlet::default(),
            spans: Arc::default(),
            log_outlet: logs::Outlet::default(),
            lines: Arc::default(),
            collector: None,
            stats: HashMap::new(),
            running: None,
            host: host.to_owned(),
        };
        let plans = plan::receivers(settings, |name| std::env::var(name).ok())?;
        let clients = clients(&plans)?;
        shipper.run(settings.clone(), plans, clients)?;
        Ok(shipper)
    }

    /// The pipeline's way to the traces.
    #[must_use]
    pub fn sink(&self) -> Sink {
        Sink::new(self.outlet.clone(), Arc::clone(&self.spans), self.registry.clone())
    }

    /// The way of what processes write.
    #[must_use]
    pub fn log_sink(&self) -> logs::Sink {
        logs::Sink::new(self.log_outlet.clone(), Arc::clone(&self.lines))
    }

    /// Goes on by new settings. What waits in the spool stays there, for those receivers that still have their names.
    ///
    /// # Errors
    /// When the new settings can't be used. Then the old ones go on, unless it is the spool that fails.
    pub async fn reload(&mut self, settings: &Ship) -> Result<(), ShipError> {
        let plans = plan::receivers(settings, |name| std::env::var(name).ok())?;
        let same = |running: &Running| running.settings == *settings && running.plans == plans;
        if self.running.as_ref().is_some_and(same) {
            return Ok(());
        }
        let clients = clients(&plans)?;
        let external = self.external(settings);
        let before = self.running.take();
        let back = before.as_ref().map(|running| (running.settings.clone(), running.plans.clone()));
        if let Some(running) = before {
            let renamed = self.collector.as_ref().is_some_and(|(known, _)| *known != external);
            self.log_outlet.close();
            self.outlet.end(&self.spans);
            running.halt(renamed).await;
        }
        match self.run(settings.clone(), plans, clients) {
            Ok(()) => Ok(()),
            Err(error) => {
                if let Some((settings, plans)) = back {
                    let clients = self::clients(&plans)?;
                    self.run(settings, plans, clients)?;
                }
                Err(error)
            }
        }
    }

    fn external(&self, settings: &Ship) -> External {
        let mut pairs =
            vec![("cluster".to_owned(), settings.cluster.clone()), ("node".to_owned(), self.node(settings))];
        pairs.extend(settings.labels.iter().map(|(name, value)| (name.clone(), value.clone())));
        External::new(pairs)
    }

    fn node(&self, settings: &Ship) -> String {
        if settings.node.is_empty() { self.host.clone() } else { settings.node.clone() }
    }

    fn run(&mut self, settings: Ship, plans: Vec<Plan>, clients: Vec<Client>) -> Result<(), ShipError> {
        let selection = Selection::new(&settings.metrics)?;
        let limits = Limits {
            max_bytes: settings.spool.max_bytes,
            segment_bytes: (settings.spool.max_bytes / SEGMENTS).max(SEGMENT_MIN),
            max_age: settings.spool.max_age,
            sync: if settings.spool.fsync { Sync::Always } else { Sync::Never },
        };
        let mut stores: HashMap<Signal, Store> = HashMap::new();
        for signal in Signal::ALL {
            let of_signal = plans.iter().filter(|plan| plan.signal() == signal);
            let readers: Vec<&str> = of_signal.map(|plan| plan.name.as_str()).collect();
            if !readers.is_empty() {
                let store = Store::open(&settings.spool.directory, signal, &readers, limits.clone())?;
                stores.insert(signal, store);
            }
        }
        let meter = |signal: Signal, limit| {
            Arc::new(Meter::load(limit, &settings.spool.directory.join(format!("{}.day", signal.name()))))
        };
        let mut meters = Vec::new();
        let (stop, stopped) = watch::channel(Stop::Run);
        let (mut workers, mut writers) = (JoinSet::new(), JoinSet::new());
        let mut receivers = Vec::new();
        let mut places: HashMap<Signal, usize> = HashMap::new();
        for (plan, client) in plans.iter().zip(clients) {
            let Some(store) = stores.get(&plan.signal()).cloned() else { continue };
            let place = places.entry(plan.signal()).or_default();
            let (reader, name) = (*place, plan.name.clone());
            *place += 1;
            let stats = Arc::clone(self.stats.entry(name.clone()).or_default());
            receivers.push(Receiver {
                name: name.clone(),
                url: plan.connection.url.to_string(),
                signal: plan.signal(),
                reader,
                store: store.clone(),
                stats: Arc::clone(&stats),
            });
            let worker = Worker {
                name,
                store,
                reader,
                wire: Arc::new(plan.wire()),
                transport: Arc::new(client),
                stats,
            };
            workers.spawn(worker.run(stopped.clone()));
        }
        let node = self.node(&settings);
        let ticker = stores.get(&Signal::Metrics).map(|store| {
            let collector = self.collector(&settings, selection.clone());
            Arc::new(Ticker {
                registry: self.registry.clone(),
                collector,
                store: store.clone(),
                interval: settings.metrics.interval,
                idle: settings.metrics.idle,
                node: node.clone(),
                cardinality: Mutex::default(),
            })
        });
        if let Some(ticker) = &ticker {
            writers.spawn(Arc::clone(ticker).run(stopped));
        }
        if let Some(store) = stores.get(&Signal::Traces) {
            let resource = [("host.name", node.as_str()), ("k8s.cluster.name", settings.cluster.as_str())];
            let meter = meter(Signal::Traces, settings.traces.max_bytes_per_day);
            meters.push((Signal::Traces, Arc::clone(&meter)));
            let (skips_metrics, rpc_names) = {
                let registry = self.registry.lock();
                (registry.has_span_metrics(), registry.names_of_rpc())
            };
            let form = traces::Form {
                skips_metrics,
                rpc_names,
                has_exemplars: settings.metrics.exemplars,
                ..traces::Form::default()
            };
            let batches = self.outlet.open(&settings.traces, meter, form.resource(&resource));
            writers.spawn(write(batches, store));
        }
        if let Some(store) = stores.get(&Signal::Logs) {
            let meter = meter(Signal::Logs, settings.logs.max_bytes_per_day);
            meters.push((Signal::Logs, Arc::clone(&meter)));
            let batches = self.log_outlet.open(&settings.cluster, &node, meter);
            writers.spawn(write(batches, store));
        }
        self.running = Some(Running { settings, plans, stop, workers, writers, ticker, receivers, meters });
        Ok(())
    }

    fn collector(&mut self, settings: &Ship, selection: Selection) -> Arc<Mutex<Collector>> {
        let external = self.external(settings);
        let select = |collector: &Mutex<Collector>| {
            collector.lock().unwrap_or_else(PoisonError::into_inner).select(selection);
        };
        if let Some((known, collector)) = &self.collector
            && *known == external
        {
            select(collector);
            return Arc::clone(collector);
        }
        let start_ms = i64::try_from(now_ms()).unwrap_or(i64::MAX);
        let collector = Collector::new(external.clone(), settings.metrics.batch_samples, start_ms);
        let collector = Arc::new(Mutex::new(collector));
        select(&collector);
        self.collector = Some((external, Arc::clone(&collector)));
        collector
    }

    /// Ends: a last collection, the end of all series, and what the receivers take in a few seconds. The rest waits in
    /// the spool.
    pub async fn stop(mut self) {
        let Some(mut running) = self.running.take() else { return };
        self.outlet.end(&self.spans);
        self.log_outlet.close();
        // The ticker ends at any word; the writer of spans has written all when it ends.
        running.stop.send_replace(Stop::Run);
        while running.writers.join_next().await.is_some() {}
        if let Some(ticker) = running.ticker.take() {
            let _ = tokio::task::spawn_blocking(move || ticker.finish()).await;
        }
        running.stop.send_replace(Stop::Drain);
        running.meters.iter().for_each(|(_, meter)| meter.save());
        let drained = async { while running.workers.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("a receiver did not take the last batches in time; they wait in the spool");
            running.stop.send_replace(Stop::Now);
        }
    }
}

impl Running {
    /// Ends at once, to go on by other settings. `renamed` when no series keeps its labels.
    async fn halt(mut self, renamed: bool) {
        self.stop.send_replace(Stop::Now);
        while self.writers.join_next().await.is_some() {}
        while self.workers.join_next().await.is_some() {}
        self.meters.iter().for_each(|(_, meter)| meter.save());
        if let Some(ticker) = self.ticker.take().filter(|_| renamed) {
            let end = move || metrics::end_all(&ticker.collector, &ticker.store);
            let _ = tokio::task::spawn_blocking(end).await;
        }
    }
}

fn write(batches: mpsc::Receiver<Encoded>, store: &Store) -> impl Future<Output = ()> + Send + use<> {
    let store = store.clone();
    outlet::write(batches, move |waiting| store.accept_all(waiting))
}

fn clients(plans: &[Plan]) -> Result<Vec<Client>, ShipError> {
    let client = |plan: &Plan| {
        Client::new(plan.connection.clone())
            .map_err(|source| ShipError::Client { name: plan.name.clone(), source })
    };
    plans.iter().map(client).collect()
}
