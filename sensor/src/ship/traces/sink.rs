//! The pipeline's end of the way of the spans.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::way::{self, Way};
use super::{Counts, Outlet};
use crate::identity::Observed;
use crate::metric::Shared;
use crate::ship::stats::{monotonic_ns, now_ms};
use crate::trace::{Batch, ObservedHandshake, WallClock};

/// Spans a second that are looked at as exemplars: a look-up each.
const EXEMPLARS_MAX: usize = 1_000;
/// How often the offset between the monotonic clock and the wall clock is looked at.
const CLOCK_INTERVAL: Duration = Duration::from_secs(10);

/// The pipeline's end of the way.
pub struct Sink {
    outlet: Outlet,
    counts: Arc<Counts>,
    registry: Shared,
    clock: WallClock,
    sampled: Instant,
    batch: Batch,
    /// Which of the exchanges that were taken last have a span that is sent.
    sent: Vec<usize>,
    /// How many exemplars there may be until the next second.
    exemplars: usize,
}

impl Sink {
    /// A sink that hands its spans to `outlet`, and exemplars of them to the registry.
    #[must_use]
    pub fn new(outlet: Outlet, counts: Arc<Counts>, registry: Shared) -> Self {
        let (clock, sampled) = (WallClock::sample(), Instant::now());
        Self {
            outlet,
            counts,
            registry,
            clock,
            sampled,
            batch: Batch::default(),
            sent: Vec::new(),
            exemplars: EXEMPLARS_MAX,
        }
    }

    /// Whether there is a receiver of traces now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.outlet.is_open()
    }

    /// Takes the requests whose traces are kept.
    pub fn take(&mut self, observed: &[Observed]) {
        let Self { outlet, counts, registry, clock, batch, sent, exemplars, .. } = self;
        {
            let mut outlet = outlet.lock();
            let Some(open) = &mut *outlet else { return };
            let now_s = now_ms() / 1_000;
            let has_exemplars = open.form.has_exemplars;
            let mut way = Way { open, counts, clock: *clock, batch, now_s };
            for (place, observed) in observed.iter().enumerate() {
                if way.take(observed) && has_exemplars && sent.len() < *exemplars {
                    sent.push(place);
                }
            }
        }
        if sent.is_empty() {
            return;
        }
        *exemplars -= sent.len();
        let mut registry = registry.lock();
        for observed in sent.drain(..).filter_map(|place| observed.get(place)) {
            let unix_ms = clock.unix_ns(observed.exchange.end_ns) / 1_000_000;
            registry.exemplar(observed, i64::try_from(unix_ms).unwrap_or(i64::MAX));
        }
    }

    /// Takes the handshakes whose traces are kept. One that is not in the sample is kept with the rest of its trace where
    /// that is kept already; it does not wait for it.
    pub fn take_handshakes(&mut self, observed: &[ObservedHandshake]) {
        let Self { outlet, counts, clock, batch, .. } = self;
        let mut outlet = outlet.lock();
        let Some(open) = &mut *outlet else { return };
        let mut way = Way { open, counts, clock: *clock, batch, now_s: now_ms() / 1_000 };
        for observed in observed {
            way.take_handshake(observed);
        }
    }

    /// What is due once a second: spans wait no longer than that.
    pub fn second(&mut self) {
        self.exemplars = EXEMPLARS_MAX;
        if self.sampled.elapsed() >= CLOCK_INTERVAL {
            self.sampled = Instant::now();
            self.clock = WallClock::sample();
        }
        if let Some(open) = &mut *self.outlet.lock() {
            if let Some(tail) = &mut open.tail {
                self.counts.let_go(tail.due(monotonic_ns()));
            }
            way::send(open, &mut self.batch, &self.counts);
        }
    }
}
