//! One receiver: reads its batches, sends them, and judges the answers.
//!
//! Batches wait in the spool, not here: memory holds one [`Round`] of them, as much as the window allows. After a failure
//! nothing is sent until the wait is over; then what failed goes first.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::round::{Job, Part, Round, Tally};
use super::sender::{Backoff, Outcome, Table, Transport, Verdict, Window};
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

impl Worker {
    /// Sends until told to stop; then it sends what waits, as long as the receiver takes it, and until `stop` says
    /// `true`.
    pub async fn run(self, mut stop: watch::Receiver<Stop>) {
        let mut window = Window::new(self.wire.requests_max());
        let mut backoff = Backoff::default();
        let mut random = SmallRng::from_os_rng();
        let mut round: Option<Round> = None;
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
            if round.is_none() && pause.is_none() {
                round = self.next(window).await;
            }
            if let Some(round) = round.as_mut().filter(|_| pause.is_none()) {
                while flying.len() < window.size()
                    && let Some(job) = round.waiting.pop_front()
                {
                    self.launch(job, round, &mut flying);
                }
            }
            if flying.is_empty()
                && let Some(settled) = round.take_if(|round| round.waiting.is_empty())
            {
                self.finish(settled).await;
                continue;
            }
            if phase == Stop::Drain && round.is_none() && pause.is_none() {
                return;
            }
            tokio::select! {
                changed = stop.changed() => if changed.is_err() { return },
                () = sleep_until(pause), if pause.is_some() => {
                    pause = None;
                    round = self.still_there(round).await;
                }
                () = &mut filled, if pause.is_none() && round.is_none() => {}
                Some(done) = flying.join_next(), if !flying.is_empty() => {
                    let (Ok((job, outcome, table)), Some(round)) = (done, &mut round) else { continue };
                    match self.settle(job, table.judge(&outcome, SystemTime::now()), round.tally()) {
                        Next::Taken(rest) => {
                            backoff.reset();
                            window.grow();
                            rest.into_iter().for_each(|job| round.waiting.push_front(job));
                        }
                        Next::Again(job, wait) => {
                            window.shrink();
                            let wait = match wait {
                                Wait::Backoff(after) => backoff.failed(after, &mut random),
                                Wait::Person => UNAUTHORIZED_WAIT,
                            };
                            pause = pause.max(Some(Instant::now() + wait));
                            round.waiting.push_front(job);
                        }
                        Next::Smaller(job) => {
                            window.too_large();
                            round.waiting.push_front(job);
                        }
                        Next::AtOnce(job) => round.waiting.push_front(job),
                    }
                }
            }
        }
    }

    /// What waits in the spool.
    async fn next(&self, window: Window) -> Option<Round> {
        let (store, reader, wire) = (self.store.clone(), self.reader, Arc::clone(&self.wire));
        let read = move || Round::read(&store, reader, &wire, window);
        tokio::task::spawn_blocking(read).await.ok()?
    }

    /// A round after a wait, unless the spool has dropped all of it. What it has dropped a part of is sent whole.
    async fn still_there(&self, round: Option<Round>) -> Option<Round> {
        let (mut round, store, reader) = (round?, self.store.clone(), self.reader);
        let look = move || {
            if round.is_dropped(&store, reader) {
                round.waiting.clear();
            }
            round
        };
        tokio::task::spawn_blocking(look).await.ok()
    }

    async fn finish(&self, round: Round) {
        let (store, reader, stats) = (self.store.clone(), self.reader, Arc::clone(&self.stats));
        let finish = move || round.finish(&store, reader, &stats);
        if tokio::task::spawn_blocking(finish).await.is_err() {
            tracing::error!(receiver = self.name, "what was delivered could not be noted");
        }
    }

    fn launch(&self, mut job: Job, round: &mut Round, flying: &mut JoinSet<(Job, Outcome, Table)>) {
        let table = self.wire.table();
        let Some(part) = job.parts.front() else { return };
        let Ok(request) = self.wire.request(table, &part.payload) else {
            tracing::error!(receiver = self.name, "a stored batch can't be made a request of: it is lost");
            round.tally().undecodable += u64::from(part.items);
            job.parts.pop_front();
            if !job.parts.is_empty() {
                round.waiting.push_front(Job { attempt: 0, ..job });
            }
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
    fn settle(&self, mut job: Job, verdict: Verdict, tally: &mut Tally) -> Next {
        let items = job.parts.front().map_or(0, |part| u64::from(part.items));
        match verdict {
            Verdict::Delivered { refused } => {
                self.stats.succeeded();
                if refused > 0 {
                    self.warn(&format!("{refused} items of a request were refused"));
                }
                tally.refused += refused.min(items);
                tally.delivered += items.saturating_sub(refused);
                part_done(job)
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
                    Next::Smaller(job)
                }
                None => {
                    self.warn("status 413 for a single item");
                    tally.refused += items;
                    part_done(job)
                }
            },
            Verdict::Refused { reason, in_part } => {
                self.warn(&reason);
                *(if in_part { &mut tally.refused_in_part } else { &mut tally.refused }) += items;
                part_done(job)
            }
        }
    }

    fn warn(&self, reason: &str) {
        if self.stats.failed(reason) {
            tracing::warn!(receiver = self.name, "{reason}");
        }
    }
}

/// The first part is not sent again.
fn part_done(mut job: Job) -> Next {
    job.parts.pop_front();
    Next::Taken((!job.parts.is_empty()).then_some(Job { attempt: 0, ..job }))
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
    Taken(Option<Job>),
    Again(Job, Wait),
    Smaller(Job),
    AtOnce(Job),
}

enum Wait {
    Backoff(Option<Duration>),
    Person,
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
