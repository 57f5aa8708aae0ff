//! One receiver: reads its batches, sends them, and judges the answers.
//!
//! Batches wait in the spool, not here: memory holds those that are under way, at most as many as the window allows.
//! After a failure nothing is sent until the wait is over; then the same batches go first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::sender::{Backoff, Outcome, Table, Transport, Verdict, Window};
use super::spool::Batch;
use super::stats::Stats;
use super::store::Store;
use super::wire::Wire;

/// The wait after wrong credentials: a person has to act.
const UNAUTHORIZED_WAIT: Duration = Duration::from_secs(60);

/// A receiver of a store.
pub struct Worker {
    /// Its name.
    pub name: String,
    /// Its batches.
    pub store: Store,
    /// Its place among the store's readers.
    pub reader: usize,
    /// Its protocol.
    pub wire: Arc<Wire>,
    /// The way there.
    pub transport: Arc<dyn Transport>,
    /// What is counted.
    pub stats: Arc<Stats>,
}

/// A batch, or a part of one that was too large.
#[derive(Clone)]
struct Job {
    batch: Arc<Batch>,
    /// What of the batch is left to send, in order. The first is sent next.
    parts: VecDeque<Part>,
    attempt: u32,
}

#[derive(Clone)]
struct Part {
    payload: Arc<Vec<u8>>,
    items: u32,
}

impl Worker {
    /// Sends until told to stop; then it sends what waits, as long as the receiver takes it, and until `stop` says
    /// `true`.
    pub async fn run(self, mut stop: watch::Receiver<Stop>) {
        let mut window = Window::new(self.wire.requests_max());
        let mut backoff = Backoff::default();
        let mut random = SmallRng::from_os_rng();
        let mut again: VecDeque<Job> = VecDeque::new();
        let mut flying: JoinSet<(Job, Outcome, Table)> = JoinSet::new();
        let mut pause: Option<Instant> = None;
        loop {
            let phase = *stop.borrow_and_update();
            if phase == Stop::Now || (phase == Stop::Drain && flying.is_empty() && pause.is_some()) {
                return;
            }
            let filled = self.store.filled();
            tokio::pin!(filled);
            // Asked before the queue is read, or a batch that comes in between is slept over.
            filled.as_mut().enable();
            while pause.is_none() && flying.len() < window.size() {
                let Some(job) = self.next(&mut again).await else { break };
                self.launch(job, &mut flying);
            }
            if phase == Stop::Drain && flying.is_empty() && again.is_empty() && pause.is_none() {
                return;
            }
            tokio::select! {
                changed = stop.changed() => if changed.is_err() { return },
                () = sleep_until(pause), if pause.is_some() => pause = None,
                () = &mut filled, if pause.is_none() && flying.len() < window.size() => {}
                Some(done) = flying.join_next(), if !flying.is_empty() => {
                    let Ok((job, outcome, table)) = done else { continue };
                    let verdict = table.judge(&outcome, SystemTime::now());
                    match self.settle(job, verdict) {
                        Next::Taken => {
                            backoff.reset();
                            window.grow();
                        }
                        Next::Again(job, wait) => {
                            window.shrink();
                            let wait = match wait {
                                Wait::Backoff(after) => backoff.failed(after, &mut random),
                                Wait::Person => UNAUTHORIZED_WAIT,
                            };
                            pause = pause.max(Some(Instant::now() + wait));
                            insert(&mut again, job);
                        }
                        Next::AtOnce(job) => insert(&mut again, job),
                    }
                }
            }
        }
    }

    /// What is sent next: first what failed, unless the spool has dropped it meanwhile.
    async fn next(&self, again: &mut VecDeque<Job>) -> Option<Job> {
        while let Some(job) = again.pop_front() {
            if self.store.is_pending(self.reader, job.batch.number) {
                return Some(job);
            }
        }
        let (store, reader) = (self.store.clone(), self.reader);
        let batch = tokio::task::spawn_blocking(move || store.read(reader)).await.ok()??;
        let Batch { number, time_ms, items, payload } = batch;
        let batch = Batch { number, time_ms, items, payload: Vec::new() };
        Some(Job {
            batch: Arc::new(batch),
            parts: VecDeque::from([Part { payload: Arc::new(payload), items }]),
            attempt: 0,
        })
    }

    fn launch(&self, job: Job, flying: &mut JoinSet<(Job, Outcome, Table)>) {
        let table = self.wire.table();
        let request = job.parts.front().map(|part| self.wire.request(table, &part.payload));
        let Some(Ok(request)) = request else {
            tracing::error!(receiver = self.name, "a stored batch can't be made a request of: it is lost");
            Stats::add(&self.stats.undecodable, u64::from(job.batch.items));
            self.acknowledge(&job);
            return;
        };
        Stats::add(&self.stats.requests, 1);
        Stats::add(&self.stats.bytes, request.body.len() as u64);
        let transport = Arc::clone(&self.transport);
        flying.spawn(async move {
            let outcome = transport.send(request, job.attempt).await;
            (job, outcome, table)
        });
    }

    /// Does what the verdict on the first part says.
    fn settle(&self, mut job: Job, verdict: Verdict) -> Next {
        match verdict {
            Verdict::Delivered { refused } => {
                self.stats.succeeded();
                if refused > 0 {
                    self.warn(&format!("{refused} items of a request were refused"));
                }
                self.part_done(job, |stats, items| {
                    Stats::add(&stats.refused, refused.min(items));
                    Stats::add(&stats.delivered, items.saturating_sub(refused));
                })
            }
            Verdict::Retry { after, reason } => {
                Stats::add(&self.stats.retries, 1);
                self.warn(&reason);
                Next::Again(Job { attempt: job.attempt + 1, ..job }, Wait::Backoff(after))
            }
            Verdict::Unauthorized { reason } => {
                Stats::add(&self.stats.retries, 1);
                tracing::error!(
                    receiver = self.name,
                    "not authorised, nothing is delivered until that is put right: {reason}"
                );
                self.stats.failed(&reason);
                Next::Again(Job { attempt: job.attempt + 1, ..job }, Wait::Person)
            }
            Verdict::FallBack => {
                tracing::warn!(
                    receiver = self.name,
                    "the receiver does not speak remote write 2.0: from now on 1.0"
                );
                self.wire.fall_back();
                Next::AtOnce(job)
            }
            Verdict::Split => match job.parts.front().and_then(|part| self.wire.split(&part.payload)) {
                Some(halves) => {
                    job.parts.pop_front();
                    for (payload, items) in halves.into_iter().rev() {
                        job.parts.push_front(Part { payload: Arc::new(payload), items });
                    }
                    Next::AtOnce(job)
                }
                None => self.refused(job, "status 413 for a single item", false),
            },
            Verdict::Refused { reason, in_part } => self.refused(job, &reason, in_part),
        }
    }

    fn refused(&self, job: Job, reason: &str, in_part: bool) -> Next {
        self.warn(reason);
        self.part_done(job, |stats, items| {
            Stats::add(if in_part { &stats.refused_in_part } else { &stats.refused }, items);
        })
    }

    /// The first part is not sent again. What the spool dropped meanwhile is counted there, and not by `count`.
    fn part_done(&self, mut job: Job, count: impl FnOnce(&Stats, u64)) -> Next {
        let part = job.parts.pop_front();
        let is_pending = self.store.is_pending(self.reader, job.batch.number);
        if let Some(part) = part.filter(|_| is_pending) {
            count(&self.stats, u64::from(part.items));
        }
        if !job.parts.is_empty() {
            return Next::AtOnce(Job { attempt: 0, ..job });
        }
        self.acknowledge(&job);
        Next::Taken
    }

    fn acknowledge(&self, job: &Job) {
        self.store.acknowledge(self.reader, &job.batch);
    }

    fn warn(&self, reason: &str) {
        if self.stats.failed(reason) {
            tracing::warn!(receiver = self.name, "{reason}");
        }
    }
}

/// What a worker is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// To go on.
    Run,
    /// To send what waits and end, or end when the receiver takes nothing.
    Drain,
    /// To end.
    Now,
}

enum Next {
    Taken,
    Again(Job, Wait),
    AtOnce(Job),
}

enum Wait {
    Backoff(Option<Duration>),
    Person,
}

/// Keeps those that go again in the order of their batches.
fn insert(again: &mut VecDeque<Job>, job: Job) {
    let place = again.partition_point(|other| other.batch.number < job.batch.number);
    again.insert(place, job);
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
