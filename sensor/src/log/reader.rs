//! The thread that reads what containers write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sensor_common::log::LogCounter;

use super::choice::Followed;
use super::correlate::{Requests, Waiting};
use super::engine::{Engine, Told};
use super::filter::Filtered;
use super::masked::mask;
use super::record::Record;
use super::streams::Streams;
use crate::capture::{CaptureError, Fill, LogCapture, LogRecord, priority};
use crate::config;
use crate::mask::Masker;
use crate::metric::{Shared, family};
use crate::trace::WallClock;

/// Where records go. Every sink gets all of them, in order.
pub trait Sink: Send {
    /// Takes records.
    fn take(&mut self, records: &[Record]);
    /// What is due some ten times a second.
    fn turn(&mut self) {}
    /// Records that it could not take.
    fn dropped(&self) -> u64;
    /// Whether nobody will take any more of them; then the sensor ends.
    fn is_closed(&self) -> bool;
    /// Passes on what it still holds.
    fn finish(self: Box<Self>);
}

/// How long records wait in the ring buffer at most when little happens.
const POLL: Duration = Duration::from_millis(20);
/// The most records of the ring buffer that are taken before the sinks get theirs.
const RECORDS_A_TURN: usize = 16_384;
/// How often what waits for more is looked at, and the offset between the clocks.
const TURN: Duration = Duration::from_millis(100);
/// How often the sensor's own metrics are brought up to date.
const METRICS: Duration = Duration::from_secs(1);
/// How long the thread may take for the last of it.
const LAST_WORDS: Duration = Duration::from_secs(10);
const RING: &str = "logs";
const PIPE_MAP: &str = "pipes";

/// The running reader.
pub struct Reader {
    stop: Arc<AtomicBool>,
    closed: Arc<AtomicBool>,
    lost: Arc<AtomicU64>,
    done: mpsc::Receiver<()>,
}

struct Work {
    capture: LogCapture,
    engine: Engine,
    streams: Streams,
    sinks: Vec<Box<dyn Sink>>,
    waiting: Waiting,
    masker: Arc<Masker>,
    clock: WallClock,
    registry: Shared,
    told: Vec<Told>,
    records: Vec<Record>,
    writes: u64,
    fill: f64,
    measured: u32,
    /// Starts of programs that were not told, as far as they were made up for.
    starts_lost: u64,
    lost: Arc<AtomicU64>,
}

impl Reader {
    /// Follows the chosen processes and starts the thread.
    ///
    /// # Errors
    /// When a chosen process does not run, or the kernel's map of pipes cannot be filled.
    pub fn start(
        mut capture: LogCapture,
        settings: &config::Logs,
        followed: Followed,
        sinks: Vec<Box<dyn Sink>>,
        requests: Requests,
        masker: Arc<Masker>,
        registry: Shared,
    ) -> Result<Self, CaptureError> {
        let mut engine = Engine::new(settings);
        let streams = Streams::new(followed, capture.pipes(), &mut engine)?;
        tracing::info!("following {} standard streams by the {} way", streams.len(), capture.way());
        let (stop, closed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let lost = Arc::new(AtomicU64::new(0));
        let (finished, done) = mpsc::channel();
        let work = Work {
            capture,
            engine,
            streams,
            sinks,
            waiting: Waiting::new(requests),
            masker,
            clock: WallClock::sample(),
            registry,
            told: Vec::new(),
            records: Vec::new(),
            writes: 0,
            fill: 0.0,
            measured: 0,
            starts_lost: 0,
            lost: Arc::clone(&lost),
        };
        let (stopped, all_closed) = (Arc::clone(&stop), Arc::clone(&closed));
        let thread = thread::Builder::new().name("logs".to_owned()).spawn(move || {
            priority::raise();
            run(work, &stopped, &all_closed);
            // Nobody may be waiting.
            let _ = finished.send(());
        });
        thread.map_err(|error| CaptureError::kernel("start", "the thread for logs", error))?;
        Ok(Self { stop, closed, lost, done })
    }

    /// Whether nobody wants any more records.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Everything lost so far, all causes.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Takes all that the kernel has seen until now, and ends the thread.
    pub fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.done.recv_timeout(LAST_WORDS).is_err() {
            tracing::warn!("the last log records were not passed on in time");
        }
    }
}

fn run(mut work: Work, stop: &AtomicBool, closed: &AtomicBool) {
    let (mut turned, mut measured) = (Instant::now(), Instant::now());
    loop {
        // Asked before the ring buffer is read, so that what was written before the end is told.
        let last = stop.load(Ordering::Relaxed);
        let more = work.drain();
        if turned.elapsed() >= TURN {
            turned = Instant::now();
            work.turn();
        }
        if measured.elapsed() >= METRICS {
            measured = Instant::now();
            work.measure();
            closed.store(work.sinks.iter().any(|sink| sink.is_closed()), Ordering::Relaxed);
        }
        if last && !more {
            break;
        }
        if !more {
            work.capture.wait(POLL);
        }
    }
    work.finish();
}

impl Work {
    /// Takes what waits; whether more does.
    fn drain(&mut self) -> bool {
        let Self { capture, engine, streams, clock, told: records, writes, .. } = self;
        let drained = capture.drain(RECORDS_A_TURN, |record, pipes| match record {
            LogRecord::Written(written) => {
                *writes += u64::from(written.is_last);
                engine.push(&written, *clock, records);
            }
            LogRecord::Opened(started) => streams.started(&started, pipes, engine),
        });
        self.fill = self.fill.max(share(drained.bytes, self.capture.ring_bytes()));
        self.pass_on();
        drained.records == RECORDS_A_TURN
    }

    fn turn(&mut self) {
        self.clock = WallClock::sample();
        self.engine.turn(now_ns(), self.clock, &mut self.told);
        self.streams.turn(self.capture.pipes(), &mut self.engine);
        self.pass_on();
        for sink in &mut self.sinks {
            sink.turn();
        }
    }

    fn finish(mut self) {
        self.engine.finish(now_ns(), self.clock, &mut self.told);
        self.waiting.push(self.told.drain(..));
        self.waiting.finish(&mut self.records);
        self.hand_over();
        self.measure();
        for sink in self.sinks {
            sink.finish();
        }
    }

    /// Brings the registry up to date.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus values are 64-bit floats")]
    fn measure(&mut self) {
        let kernel = match self.capture.counters() {
            Ok(counters) => counters,
            Err(error) => {
                tracing::warn!("the counters of logs are not up to date: {error}");
                return;
            }
        };
        let of = |counter: LogCounter| kernel[counter as usize];
        let starts_lost = of(LogCounter::StartLost);
        if std::mem::replace(&mut self.starts_lost, starts_lost) != starts_lost
            && let Err(error) = self.streams.look(self.capture.pipes(), &mut self.engine)
        {
            tracing::warn!("standard streams of programs whose start was lost are not followed: {error}");
        }
        let dropped: u64 = self.sinks.iter().map(|sink| sink.dropped()).sum();
        let (lines, counts) = (self.engine.line_counts(), self.engine.counts());
        let causes = LogCounter::ALL
            .into_iter()
            .filter_map(|counter| Some((counter.cause()?, of(counter))))
            .chain([("log_rejected_record", self.capture.rejected()), ("log_output", dropped)])
            .chain([("log_broken_line", lines.broken), ("log_cut_line", lines.cut)]);
        let pipes = self.measured.is_multiple_of(Fill::EVERY).then(|| self.capture.fill());
        self.measured = self.measured.wrapping_add(1);
        let mut registry = self.registry.lock();
        let own = registry.own();
        if let Some(fill) = pipes {
            own.set(&family::MAP_ENTRIES, &[PIPE_MAP], fill.used as f64);
            own.set(&family::MAP_CAPACITY, &[PIPE_MAP], fill.capacity as f64);
        }
        let mut lost = 0;
        for (cause, count) in causes {
            lost += count;
            own.set(&family::LOST, &[cause], count as f64);
        }
        self.lost.store(lost, Ordering::Relaxed);
        own.set(&family::EVENTS, &["log_write"], self.writes as f64);
        for (cause, count) in
            [("ring_full", of(LogCounter::RingFullLines)), ("broken", lines.broken), ("output", dropped)]
        {
            own.set(&family::LOG_LINES_LOST, &[cause], count as f64);
        }
        for (fate, count) in [
            ("written", of(LogCounter::Bytes)),
            ("ring_full", of(LogCounter::RingFullBytes)),
            ("cut", of(LogCounter::CutBytes)),
            ("spliced", of(LogCounter::SplicedBytes)),
        ] {
            own.set(&family::LOG_BYTES, &[fate], count as f64);
        }
        let traces = self.waiting.traces();
        for (trace, count) in [
            ("line", traces.line),
            ("request", traces.request),
            ("unclear", traces.unclear),
            ("none", traces.none),
        ] {
            own.set(&family::LOG_RECORDS, &[trace], count as f64);
        }
        for (why, count) in Filtered::ALL.into_iter().zip(counts.filtered) {
            own.set(&family::LOG_FILTERED, &[why.name()], count as f64);
        }
        for (outcome, count) in ["known", "unknown", "full"].into_iter().zip(self.engine.waited()) {
            own.set(&family::IDENTITY_WAITED, &["log_record", outcome], count as f64);
        }
        own.set(&family::LOG_STREAMS, &[], self.streams.len() as f64);
        own.set(&family::RING_FILL, &[RING], self.fill);
        own.set(&family::RING_BYTES, &[RING], f64::from(self.capture.ring_bytes()));
        self.fill = 0.0;
    }

    fn pass_on(&mut self) {
        self.waiting.push(self.told.drain(..));
        self.waiting.pass_on(now_ns(), &mut self.records);
        self.hand_over();
    }

    fn hand_over(&mut self) {
        if self.records.is_empty() {
            return;
        }
        self.records.iter_mut().for_each(|record| mask(&self.masker, record));
        for sink in &mut self.sinks {
            sink.take(&self.records);
        }
        self.records.clear();
    }
}

/// What part of a ring buffer some bytes are.
#[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
fn share(bytes: u64, capacity: u32) -> f64 {
    (bytes as f64 / f64::from(capacity)).min(1.0)
}

/// Nanoseconds of `CLOCK_MONOTONIC`, the clock of the kernel side.
fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default()
}
