//! Exchanges of containers that are not known yet.
//!
//! They wait for [`PATIENCE`](crate::identity::PATIENCE) from the container's first sight on, and at most [`WAITING_MAX`] of
//! them; then they are told with what is known.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::identity::{Directory, Identity, Known, Processes, Sight};
use crate::metric::{family, own::Own};
use crate::protocol::Exchange;
use crate::trace::SpanIds;

/// The most exchanges that wait.
const WAITING_MAX: usize = 8_192;

/// An exchange and the process that it is of.
pub(super) struct Named {
    pub(super) exchange: Exchange,
    pub(super) span: SpanIds,
    pub(super) process: Known,
}

struct Waiter {
    named: Named,
    until: Instant,
}

/// Those that wait, in the order in which they came.
pub(super) struct Waiting {
    directory: Option<Arc<Directory>>,
    generation: u64,
    queue: VecDeque<Waiter>,
    next: Option<Instant>,
    known: u64,
    unknown: u64,
    full: u64,
    /// The counts, as they were told last.
    told: Option<[u64; 3]>,
}

impl Waiting {
    pub(super) fn new(directory: Option<Arc<Directory>>) -> Self {
        Self {
            directory,
            generation: 0,
            queue: VecDeque::new(),
            next: None,
            known: 0,
            unknown: 0,
            full: 0,
            told: None,
        }
    }

    /// Takes an exchange; gives it back where there is nothing to wait for.
    pub(super) fn take(
        &mut self,
        named: Named,
        processes: &mut Processes,
        now: Instant,
    ) -> Option<(Named, Identity)> {
        let (identity, sight) = processes.identity(&named.process, now);
        let until = match sight {
            Sight::Whole => return Some((named, identity)),
            Sight::Over => {
                self.unknown += 1;
                return Some((named, identity));
            }
            Sight::Until(until) => until,
        };
        if self.queue.len() >= WAITING_MAX {
            self.full += 1;
            return Some((named, identity));
        }
        self.next = Some(self.next.map_or(until, |next| next.min(until)));
        self.queue.push_back(Waiter { named, until });
        None
    }

    /// Those that wait no longer.
    pub(super) fn ready(&mut self, processes: &mut Processes, now: Instant) -> Vec<(Named, Identity)> {
        let Some(directory) = self.directory.as_ref().filter(|_| !self.queue.is_empty()) else {
            return Vec::new();
        };
        let generation = directory.generation();
        if generation == self.generation && self.next.is_some_and(|next| now < next) {
            return Vec::new();
        }
        self.generation = generation;
        let mut ready = Vec::new();
        for waiter in std::mem::take(&mut self.queue) {
            let (identity, sight) = processes.identity(&waiter.named.process, now);
            match sight {
                Sight::Until(_) if now < waiter.until => {
                    self.queue.push_back(waiter);
                    continue;
                }
                Sight::Whole => self.known += 1,
                Sight::Until(_) | Sight::Over => self.unknown += 1,
            }
            ready.push((waiter.named, identity));
        }
        self.next = self.queue.iter().map(|waiter| waiter.until).min();
        ready
    }

    /// Nobody waits any longer.
    pub(super) fn give_up(&mut self) {
        let now = Instant::now();
        self.queue.iter_mut().for_each(|waiter| waiter.until = now);
        self.next = Some(now);
    }

    /// Brings the counts up to date. Due before the registry is let go with the exchanges that waited, so that nobody sees
    /// these without their outcome.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus values are 64-bit floats")]
    pub(super) fn measure(&mut self, own: &mut Own) {
        let counts = [self.known, self.unknown, self.full];
        if self.directory.is_none() || self.told.replace(counts) == Some(counts) {
            return;
        }
        for (outcome, count) in ["known", "unknown", "full"].into_iter().zip(counts) {
            own.set(&family::IDENTITY_WAITED, &["exchange", outcome], count as f64);
        }
    }
}
