//! Which request a process or a thread serves.
//!
//! A client call belongs to the request that its thread serves, where that is certain:
//! - The same thread received the request.
//! - It serves exactly one, and since it last served none there never were two: on an event loop, what one request left
//!   to do may be done after its response.
//! - No response of the process was sent by another thread than the one that had received its request: else the work
//!   wanders between threads, and what a thread does may be any request's. Until [`TRUSTED_AFTER`] responses have shown
//!   that, the request must be the only one of the whole process.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::protocol::ExchangeKey;

/// So many responses must have come from their request's thread before the thread is relied upon.
const TRUSTED_AFTER: u32 = 8;
/// How many requests that are over are remembered of a thread.
const PAST: usize = 32;
/// How many threads of a process are told apart; beyond, only the process as a whole is known.
const THREADS: usize = 4096;

/// The answer to "which one".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Serves {
    /// None that is known.
    None,
    /// Exactly this one.
    One(ExchangeKey),
    /// One of several.
    Unclear,
}

/// The requests of one process.
#[derive(Debug, Default)]
pub(super) struct Process {
    whole: Scope,
    threads: HashMap<u32, Scope>,
    confirmed: u32,
    wanders: bool,
}

/// Requests of which one at most should be open at a time.
#[derive(Debug, Default)]
struct Scope {
    open: Vec<Open>,
    /// Two were open at once since none was.
    is_mixed: bool,
    past: VecDeque<Past>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    key: ExchangeKey,
    from_ns: u64,
    /// When its response began.
    answered_ns: Option<u64>,
}

/// A request that is over.
#[derive(Clone, Copy, Debug)]
struct Past {
    ids: SpanContext,
    from_ns: u64,
    until_ns: u64,
    is_clear: bool,
}

/// The trace and the span of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanContext {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The server's span.
    pub span_id: [u8; 8],
}

impl Process {
    /// A thread received a request.
    pub(super) fn start(&mut self, key: ExchangeKey, tid: u32, from_ns: u64) {
        self.whole.start(key, from_ns);
        if self.threads.len() < THREADS || self.threads.contains_key(&tid) {
            self.threads.entry(tid).or_default().start(key, from_ns);
        }
    }

    /// A thread sent the response of a request that `received` had received.
    pub(super) fn answer(&mut self, received: u32, sent: u32) {
        self.confirmed = self.confirmed.saturating_add(1);
        self.wanders |= received != sent;
    }

    /// The response of a request began.
    pub(super) fn answered(&mut self, key: ExchangeKey, tid: u32, time_ns: u64) {
        self.whole.answered(key, time_ns);
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.answered(key, time_ns);
        }
    }

    /// A request is over; with its ids, where it is to be remembered.
    pub(super) fn end(&mut self, key: ExchangeKey, tid: u32, until_ns: u64, ids: Option<SpanContext>) {
        self.whole.end(key, until_ns, ids);
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.end(key, until_ns, ids);
        }
    }

    /// What the thread serves now.
    pub(super) fn now(&self, tid: u32) -> Serves {
        if self.wanders {
            return if self.whole.open.is_empty() { Serves::None } else { Serves::Unclear };
        }
        let Some(thread) = self.threads.get(&tid) else { return Serves::None };
        match (thread.now(), self.whole.now()) {
            (Serves::One(_), Serves::Unclear) if !self.is_trusted() => Serves::Unclear,
            (now, _) => now,
        }
    }

    /// The request that the thread served at `time_ns`, open or over, if it served exactly one.
    pub(super) fn at(&self, tid: u32, time_ns: u64) -> Option<Served> {
        let served = self.threads.get(&tid)?.at(time_ns)?;
        let is_certain = !self.wanders && (self.is_trusted() || self.whole.at(time_ns).is_some());
        is_certain.then_some(served)
    }

    /// The open requests of all threads.
    pub(super) fn open(&self) -> impl Iterator<Item = ExchangeKey> + '_ {
        self.whole.open.iter().map(|open| open.key)
    }

    /// Forgets what was over before `time_ns`.
    pub(super) fn forget(&mut self, time_ns: u64) {
        self.whole.forget(time_ns);
        self.threads.retain(|_, thread| {
            thread.forget(time_ns);
            !thread.open.is_empty() || !thread.past.is_empty()
        });
    }

    fn is_trusted(&self) -> bool {
        self.confirmed >= TRUSTED_AFTER
    }
}

/// What [`Process::at`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// A request that is open.
    Open(ExchangeKey),
    /// One that is over.
    Over(SpanContext),
}

impl Scope {
    fn start(&mut self, key: ExchangeKey, from_ns: u64) {
        self.open.push(Open { key, from_ns, answered_ns: None });
        self.is_mixed |= self.open.len() > 1;
    }

    fn answered(&mut self, key: ExchangeKey, time_ns: u64) {
        if let Some(open) = self.open.iter_mut().find(|open| open.key == key) {
            open.answered_ns = Some(time_ns);
        }
    }

    fn end(&mut self, key: ExchangeKey, until_ns: u64, ids: Option<SpanContext>) {
        let Some(at) = self.open.iter().position(|open| open.key == key) else { return };
        let open = self.open.swap_remove(at);
        if let Some(ids) = ids {
            if self.past.len() == PAST {
                self.past.pop_front();
            }
            self.past.push_back(Past { ids, from_ns: open.from_ns, until_ns, is_clear: !self.is_mixed });
        }
        if self.open.is_empty() {
            self.is_mixed = false;
        }
    }

    fn now(&self) -> Serves {
        match (&self.open[..], self.is_mixed) {
            ([], _) => Serves::None,
            ([one], false) => Serves::One(one.key),
            _ => Serves::Unclear,
        }
    }

    fn at(&self, time_ns: u64) -> Option<Served> {
        let open = self.open.iter().filter(|open| open.from_ns <= time_ns);
        // Since its response began it may be over, which shows later.
        let is_open = |open: &Open| open.answered_ns.is_none_or(|answered_ns| time_ns <= answered_ns);
        let open = open.map(|open| (!self.is_mixed && is_open(open), Served::Open(open.key)));
        let over = self.past.iter().filter(|past| (past.from_ns..=past.until_ns).contains(&time_ns));
        let mut all = open.chain(over.map(|past| (past.is_clear, Served::Over(past.ids))));
        let (is_clear, served) = all.next()?;
        (is_clear && all.next().is_none()).then_some(served)
    }

    fn forget(&mut self, time_ns: u64) {
        while self.past.front().is_some_and(|past| past.until_ns < time_ns) {
            self.past.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(request: u64) -> ExchangeKey {
        ExchangeKey { connection: 1, request }
    }

    fn ids(number: u8) -> SpanContext {
        SpanContext { trace_id: [number; 16], span_id: [number; 8] }
    }

    fn trusted() -> Process {
        let mut process = Process::default();
        (0..TRUSTED_AFTER).for_each(|_| process.answer(7, 7));
        process
    }

    #[test]
    fn a_thread_that_serves_one_request_is_clear() {
        let mut process = trusted();
        process.start(key(1), 7, 10);
        process.start(key(2), 8, 11);
        assert_eq!(process.now(7), Serves::One(key(1)));
        assert_eq!(process.now(8), Serves::One(key(2)));
        assert_eq!(process.now(9), Serves::None);
        process.end(key(1), 7, 20, Some(ids(1)));
        assert_eq!(process.now(7), Serves::None);
        assert_eq!(process.at(7, 15), Some(Served::Over(ids(1))));
        assert_eq!(process.at(8, 15), Some(Served::Open(key(2))));
        assert_eq!(process.at(7, 21), None);
    }

    #[test]
    fn from_its_response_on_a_request_may_be_over() {
        let mut process = trusted();
        process.start(key(1), 7, 10);
        process.answered(key(1), 7, 15);
        assert_eq!(process.at(7, 15), Some(Served::Open(key(1))));
        assert_eq!(process.at(7, 16), None);
        process.end(key(1), 7, 20, Some(ids(1)));
        assert_eq!((process.at(7, 16), process.at(7, 21)), (Some(Served::Over(ids(1))), None));
    }

    #[test]
    fn before_there_is_trust_the_process_counts_too() {
        let mut process = Process::default();
        process.start(key(1), 7, 10);
        assert_eq!((process.now(7), process.now(9)), (Serves::One(key(1)), Serves::None));
        process.start(key(2), 8, 11);
        assert_eq!((process.now(7), process.at(7, 12)), (Serves::Unclear, None));
    }

    #[test]
    fn where_work_wanders_nothing_is_clear() {
        let mut process = trusted();
        process.answer(7, 8);
        assert_eq!(process.now(7), Serves::None);
        process.start(key(1), 7, 10);
        assert_eq!((process.now(7), process.at(7, 12)), (Serves::Unclear, None));
    }

    #[test]
    fn an_event_loop_is_unclear_until_it_rests() {
        let mut process = trusted();
        process.start(key(1), 7, 10);
        process.start(key(2), 7, 11);
        process.end(key(1), 7, 20, Some(ids(1)));
        // What is done now may be the first one's.
        assert_eq!(process.now(7), Serves::Unclear);
        assert_eq!(process.at(7, 15), None);
        process.end(key(2), 7, 30, Some(ids(2)));
        process.start(key(3), 7, 31);
        assert_eq!(process.now(7), Serves::One(key(3)));
    }

    #[test]
    fn what_is_past_is_forgotten() {
        let mut process = trusted();
        process.start(key(1), 7, 10);
        process.end(key(1), 7, 20, Some(ids(1)));
        process.forget(21);
        assert_eq!(process.at(7, 15), None);
        assert!(process.threads.is_empty());
        (0..100).for_each(|n| {
            process.start(key(n), 7, n);
            process.end(key(n), 7, n, Some(ids(1)));
        });
        assert_eq!(process.whole.past.len(), PAST);
    }
}
