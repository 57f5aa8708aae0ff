//! From lines to batches for Loki.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prost::Message as _;
use tokio::sync::mpsc;

use super::budget::{Meter, Stage};
use super::loki::{Batch, Line};
use super::outlet::Encoded;
use super::stats::now_ms;

/// Bytes of a request before compression.
const BATCH_BYTES: usize = 1024 * 1024;
/// Batches that wait to be written; what finds no room is lost and counted.
const WAITING_MAX: usize = 16;

/// What the way of the lines counts.
#[derive(Debug, Default)]
pub struct Counts {
    /// Lines that the writer was too slow for.
    pub busy: AtomicU64,
    /// Lines that were longer than the receiver takes.
    pub cut: AtomicU64,
    /// Lines for which the day had no bytes left.
    pub over_budget: AtomicU64,
}

/// Where the lines go now. It changes when the settings do.
pub type Outlet = super::outlet::Outlet<Open>;

/// What a sink needs while there is a receiver of its signal.
pub struct Open {
    cluster: String,
    node: String,
    meter: Arc<Meter>,
    batches: mpsc::Sender<Encoded>,
}

impl Outlet {
    /// Opens it; the receiver's end is for [`write`](super::outlet::write).
    pub fn open(&self, cluster: &str, node: &str, meter: Arc<Meter>) -> mpsc::Receiver<Encoded> {
        let (batches, waiting) = mpsc::channel(WAITING_MAX);
        self.set(Open { cluster: cluster.to_owned(), node: node.to_owned(), meter, batches });
        waiting
    }
}

/// The end of the lines' way.
pub struct Sink {
    outlet: Outlet,
    counts: Arc<Counts>,
    batch: Batch,
}

impl Sink {
    /// A sink that hands its lines to `outlet`.
    #[must_use]
    pub fn new(outlet: Outlet, counts: Arc<Counts>) -> Self {
        Self { outlet, counts, batch: Batch::default() }
    }

    /// Whether there is a receiver of logs now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.outlet.is_open()
    }

    /// Takes lines. The cluster becomes a label, the node structured metadata.
    pub fn take(&mut self, lines: impl IntoIterator<Item = Line>) {
        let outlet = self.outlet.lock();
        let Some(open) = &*outlet else { return };
        let now_s = now_ms() / 1_000;
        for mut line in lines {
            let severity = line.severity;
            if !open.meter.take(line.bytes(), now_s, |stage| is_wanted(severity, stage)) {
                self.counts.over_budget.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            line.labels.push(("cluster".into(), open.cluster.clone()));
            line.metadata.push(("host_name".into(), open.node.clone()));
            self.batch.push(line);
            if self.batch.bytes() >= BATCH_BYTES {
                send(open, &mut self.batch, &self.counts);
            }
        }
    }

    /// What is due once a second: lines wait no longer than that.
    pub fn second(&mut self) {
        if let Some(open) = &*self.outlet.lock() {
            send(open, &mut self.batch, &self.counts);
        }
    }
}

/// Whether a line goes while the day's bytes run out.
const fn is_wanted(severity: Option<u8>, stage: Stage) -> bool {
    // Of the log data model: `INFO`, `WARN`, `ERROR`.
    match (stage, severity) {
        (Stage::Open, _) | (Stage::Saving, None) => true,
        (Stage::Saving, Some(number)) => number >= 9,
        (Stage::Sparing, Some(number)) => number >= 13,
        (Stage::Errors, Some(number)) => number >= 17,
        _ => false,
    }
}

fn send(open: &Open, batch: &mut Batch, counts: &Counts) {
    let (lines, cut) = (batch.lines(), batch.cut());
    let Some(request) = batch.take() else { return };
    counts.cut.fetch_add(cut, Ordering::Relaxed);
    let Ok(place) = open.batches.try_reserve() else {
        counts.busy.fetch_add(u64::from(lines), Ordering::Relaxed);
        return;
    };
    place.send(Encoded { payload: request.encode_to_vec(), items: lines });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ship::loki;
    use crate::ship::loki::proto::PushRequest;

    /// What waits first.
    fn next(batches: &mut mpsc::Receiver<Encoded>) -> Option<PushRequest> {
        let Encoded { payload, items } = batches.try_recv().ok()?;
        let request = PushRequest::decode(&*payload).unwrap();
        assert_eq!(loki::lines(&request), usize::try_from(items).unwrap());
        Some(request)
    }

    fn line(body: &str) -> Line {
        let labels = vec![("service_name".into(), "shop".to_owned())];
        Line { time_ns: 1, labels, metadata: Vec::new(), body: body.to_owned(), severity: None }
    }

    #[test]
    fn lines_say_where_they_come_from() {
        let outlet = Outlet::default();
        let mut sink = Sink::new(outlet.clone(), Arc::default());
        sink.take([line("nobody listens")]);
        assert!(!sink.is_open());
        let mut batches = outlet.open("seoul", "n1", Arc::new(Meter::unlimited()));
        sink.take([line("hello")]);
        assert!(batches.try_recv().is_err(), "it waits for more");
        sink.second();
        let request = next(&mut batches).unwrap();
        let [stream] = &request.streams[..] else { panic!("{request:?}") };
        assert_eq!(stream.labels, r#"{cluster="seoul", service_name="shop"}"#);
        let [entry] = &stream.entries[..] else { panic!("{stream:?}") };
        let node = &entry.structured_metadata[0];
        assert_eq!(
            (entry.line.as_str(), node.name.as_str(), node.value.as_str()),
            ("hello", "host_name", "n1")
        );
    }

    #[test]
    fn a_batch_is_full_by_its_bytes_and_a_slow_writer_is_counted() {
        let outlet = Outlet::default();
        let counts = Arc::<Counts>::default();
        let mut sink = Sink::new(outlet.clone(), Arc::clone(&counts));
        let mut batches = outlet.open("", "n1", Arc::new(Meter::unlimited()));
        let body = "x".repeat(BATCH_BYTES);
        sink.take((0..WAITING_MAX + 3).map(|_| line(&body)));
        let mut taken = 0;
        while let Some(request) = next(&mut batches) {
            taken += loki::lines(&request) as u64;
        }
        sink.second();
        let rest = next(&mut batches).map_or(0, |request| loki::lines(&request) as u64);
        assert_eq!(taken + rest + counts.busy.load(Ordering::Relaxed), WAITING_MAX as u64 + 3);
    }

    #[test]
    fn what_finds_no_room_is_lost_and_counted() {
        let outlet = Outlet::default();
        let counts = Arc::<Counts>::default();
        let mut sink = Sink::new(outlet.clone(), Arc::clone(&counts));
        let _batches = outlet.open("", "n1", Arc::new(Meter::unlimited()));
        for _ in 0..WAITING_MAX + 3 {
            sink.take([line("x")]);
            sink.second();
        }
        assert_eq!(counts.busy.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn errors_are_the_last_that_a_day_has_room_for() {
        let directory = tempfile::tempdir().unwrap();
        let meter = Arc::new(Meter::load(1_000, &directory.path().join("logs.day")));
        let outlet = Outlet::default();
        let counts = Arc::<Counts>::default();
        let mut sink = Sink::new(outlet.clone(), Arc::clone(&counts));
        let mut batches = outlet.open("", "n1", meter);
        let line = |severity, name: &str| Line { severity, ..line(&format!("{name:<10}")) };
        let each = [
            (Some(5), "debug"),
            (None, "unknown"),
            (Some(9), "info"),
            (Some(13), "warn"),
            (Some(17), "error"),
        ];
        for _ in 0..100 {
            sink.take(each.map(|(severity, name)| line(severity, name)));
        }
        sink.second();
        let request = next(&mut batches).unwrap();
        let entries: Vec<&str> =
            request.streams[0].entries.iter().map(|entry| entry.line.trim_end()).collect();
        assert_eq!(entries.len(), 100, "all bytes are used");
        assert_eq!(counts.over_budget.load(Ordering::Relaxed), 400);
        let last = |name| entries.iter().rposition(|known| *known == name).unwrap();
        let ends = ["debug", "info", "warn", "error"].map(last);
        assert!(ends.is_sorted(), "{ends:?}");
        assert_eq!((ends[3], last("unknown") < last("warn")), (99, true));
    }
}
