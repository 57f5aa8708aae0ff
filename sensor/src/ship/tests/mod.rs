//! A receiver's worker against receivers that a test makes.

mod answers;
mod compliance;
mod fake;
mod numbered;
mod order;
mod outage;
mod report;
mod server;
mod way;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prost::Message as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::gate::Signal;
use super::loki;
use super::remote_write::v2::{Request, Sample, TimeSeries};
use super::sender::{Client, Connection, Credentials, Transport};
use super::spool::{Limits, Sync};
use super::stats::Stats;
use super::store::Store;
use super::wire::Wire;
use super::worker::{Stop, Worker};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);

fn limits() -> Limits {
    Limits {
        max_bytes: 64 * 1024 * 1024,
        segment_bytes: 1024 * 1024,
        max_age: Duration::from_secs(24 * 3600),
        sync: Sync::Never,
    }
}

fn open(directory: &Path, signal: Signal) -> Store {
    Store::open(directory, signal, &["receiver"], limits()).unwrap()
}

fn remote_write(by_2: bool) -> Wire {
    Wire::RemoteWrite { by_2: AtomicBool::new(by_2) }
}

fn connection(url: &str) -> Connection {
    Connection {
        url: url.parse().unwrap(),
        credentials: Credentials::None,
        headers: Vec::new(),
        timeout: Duration::from_secs(20),
        proxy: None,
        connect_to: None,
        ca_file: None,
        http2_only: false,
    }
}

/// A collection of one series with this value.
fn samples(number: u32) -> Vec<u8> {
    let symbols = ["", "__name__", "up"].map(str::to_owned).to_vec();
    let sample = Sample { value: f64::from(number), timestamp: i64::from(number), start_timestamp: 0 };
    let series = TimeSeries { labels_refs: vec![1, 2], samples: vec![sample], ..TimeSeries::default() };
    Request { symbols, timeseries: vec![series] }.encode_to_vec()
}

/// A request of so many lines.
fn lines(count: u32) -> Vec<u8> {
    let mut batch = loki::Batch::default();
    for number in 0..count {
        let labels = vec![("job".into(), "a/b".to_owned())];
        let body = format!("line {number}");
        batch.push(loki::Line {
            time_ns: u64::from(number),
            labels,
            metadata: Vec::new(),
            body,
            severity: None,
        });
    }
    batch.take().unwrap().encode_to_vec()
}

/// A worker that runs.
struct Run {
    stats: Arc<Stats>,
    store: Store,
    stop: watch::Sender<Stop>,
    task: JoinHandle<()>,
}

impl Run {
    fn start(store: &Store, wire: Wire, transport: impl Transport + 'static) -> Self {
        let stats = Arc::<Stats>::default();
        let (stop, stopped) = watch::channel(Stop::Run);
        let worker = Worker {
            name: "receiver".to_owned(),
            store: store.clone(),
            reader: 0,
            wire: Arc::new(wire),
            transport: Arc::new(transport),
            stats: Arc::clone(&stats),
        };
        let task = tokio::spawn(worker.run(stopped));
        Self { stats, store: store.clone(), stop, task }
    }

    fn to(store: &Store, wire: Wire, connection: Connection) -> Self {
        Self::start(store, wire, Client::new(connection).unwrap())
    }

    /// Waits until nothing waits for the receiver.
    async fn drained(&self) {
        self.until("an empty spool", || self.store.depth(0).waiting == 0).await;
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let wait = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, wait).await;
        assert!(in_time.is_ok(), "waited in vain for {what}; last: {:?}", self.stats.last());
    }

    fn delivered(&self) -> u64 {
        self.stats.delivered.load(Ordering::Relaxed)
    }

    fn refused(&self) -> u64 {
        self.stats.refused.load(Ordering::Relaxed)
    }

    async fn stop(self) {
        self.stop.send_replace(Stop::Now);
        self.task.await.unwrap();
    }
}
