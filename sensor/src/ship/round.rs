//! What is sent next: batches that wait, as requests of which no two have a stream in common.
//!
//! A round is over when all its requests are settled, and the next one begins then. So requests that are under way at once
//! never overtake each other in any stream, and one that is sent again still comes before all that follows it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::lanes::{Lanes, Message};
use super::sender::Window;
use super::spool::Batch;
use super::stats::Stats;
use super::store::Store;
use super::wire::{self, Wire};

/// Batches of a store that are under way to one receiver.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Number and items of each.
    batches: Vec<(u64, u32)>,
    /// What is not under way now: any of them may be next.
    pub(super) waiting: VecDeque<Job>,
    tally: Tally,
}

/// Requests that follow each other, as they have streams in common.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// What is left to send, in order. The first is sent next.
    pub(super) parts: VecDeque<Part>,
    /// How often the first was sent in vain.
    pub(super) attempt: u32,
}

/// A request as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Packed.
    pub(super) payload: Arc<Vec<u8>>,
    /// Its samples, lines or spans.
    pub(super) items: u32,
}

/// What became of the items of a round's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// The receiver took them.
    pub(super) delivered: u64,
    /// It refused them.
    pub(super) refused: u64,
    /// It refused the request, and may have taken some.
    pub(super) refused_in_part: u64,
    /// No request could be made of them.
    pub(super) undecodable: u64,
}

impl Round {
    /// Reads what waits for a reader, as much as the window allows; `None` when nothing does. It blocks on the disk.
    pub(super) fn read(store: &Store, reader: usize, wire: &Wire, window: Window) -> Option<Self> {
        let Batch { number, items, payload, .. } = store.read(reader)?;
        let mut round = Self { batches: vec![(number, items)], ..Self::default() };
        let second = if wire.is_merged() { store.read(reader) } else { None };
        let Some(second) = second else {
            // As it was stored.
            round.waiting.push_back(Job::of([Part { payload: Arc::new(payload), items }]));
            return Some(round);
        };
        let mut lanes = Lanes::new(store.signal(), window.size(), window.bytes());
        round.merge(store, &mut lanes, &payload, items);
        let mut next = Some(second);
        while let Some(Batch { number, items, payload, .. }) = next {
            round.batches.push((number, items));
            round.merge(store, &mut lanes, &payload, items);
            let is_full = lanes.bytes() >= window.size() * window.bytes();
            next = if is_full { None } else { store.read(reader) };
        }
        let part =
            |Message { bytes, items }| Part { payload: Arc::new(wire::pack(store.signal(), &bytes)), items };
        round.waiting = lanes.take().map(|lane| Job::of(lane.into_iter().map(part))).collect();
        Some(round)
    }

    fn merge(&mut self, store: &Store, lanes: &mut Lanes, packed: &[u8], items: u32) {
        let added = wire::unpack(store.signal(), packed).and_then(|batch| lanes.add(&batch));
        if added.is_err() {
            tracing::error!(signal = store.signal().name(), "a stored batch can't be read: it is lost");
            self.tally.undecodable += u64::from(items);
        }
    }

    /// What became of its requests so far.
    pub(super) const fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    /// Whether the spool has dropped all of it meanwhile.
    pub(super) fn is_dropped(&self, store: &Store, reader: usize) -> bool {
        !self.batches.iter().any(|(number, _)| store.is_pending(reader, *number))
    }

    /// All is settled: counts it, but not what the spool dropped meanwhile and has counted there. It blocks on the disk.
    pub(super) fn finish(self, store: &Store, reader: usize, stats: &Stats) {
        let dropped = self.batches.iter().filter(|(number, _)| !store.is_pending(reader, *number));
        let mut dropped = dropped.map(|(_, items)| u64::from(*items)).sum::<u64>();
        let Tally { delivered, refused, refused_in_part, undecodable } = self.tally;
        for (counter, items) in [
            (&stats.delivered, delivered),
            (&stats.refused, refused),
            (&stats.refused_in_part, refused_in_part),
            (&stats.undecodable, undecodable),
        ] {
            let elsewhere = dropped.min(items);
            dropped -= elsewhere;
            Stats::add(counter, items - elsewhere);
        }
        for (number, items) in self.batches {
            store.acknowledge(reader, number, items);
        }
    }
}

impl Job {
    fn of(parts: impl IntoIterator<Item = Part>) -> Self {
        Self { parts: parts.into_iter().collect(), attempt: 0 }
    }
}
