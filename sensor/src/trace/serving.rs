//! Which request a process or a thread serves.
//!
//! A client call belongs to the request that its thread serves, where that is certain:
//! - The same thread received the request.
//! - It serves exactly one, and since it last served none there never were two: on an event loop, what one request left
//!   to do may be done after its response.
//! - No response of the process was sent by another thread than the one that had received its request: else the work
//!   wanders between threads, and what a thread does may be any request's. Until [`TRUSTED_AFTER`] responses have shown
//!   that, the request must be the only one of the whole process.
//!
//! The end of a response often shows only after its thread has taken up the next request. A call must be told at once, so
//! both count as open then. What was written can wait: [`Process::at`] says [`At::Pending`] until the end is known, and
//! looks at the times in which requests were really open.

use std::collections::VecDeque;

use lru::LruCache;

use crate::protocol::ExchangeKey;

/// So many responses must have come from their request's thread before the thread is relied upon.
const TRUSTED_AFTER: u32 = 8;
/// How many requests that are over are remembered of a thread: some tenths of a second of a busy one.
const PAST: usize = 256;
/// How many threads of a process are told apart. Beyond, what is longest unused and serves nothing is forgotten, as a server
/// with a thread a request needs it; while all serve, of one more only its process is known.
const THREADS: usize = 4096;
/// At so many threads it is tried to find one that serves nothing: those that do are then no longer the longest unused.
const TRIES: usize = 16;

/// The answer to "which one".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Serves {
    /// The process serves none that is known.
    None,
    /// Other threads of the process do, this one does not.
    OtherThread,
    /// It may be one for which there was no room among [`THREADS`].
    TooManyThreads,
    /// Exactly this one.
    One(ExchangeKey),
    /// One of several.
    Unclear,
}

/// The requests of one process.
#[derive(Debug)]
pub(super) struct Process {
    whole: Scope,
    threads: LruCache<u32, Scope>,
    /// Open requests of threads that had no room.
    beyond: usize,
    confirmed: u32,
    wanders: bool,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            whole: Scope::default(),
            threads: LruCache::unbounded(),
            beyond: 0,
            confirmed: 0,
            wanders: false,
        }
    }
}

/// Requests of which one at most should be open at a time.
#[derive(Debug, Default)]
struct Scope {
    open: Vec<Open>,
    /// Two were open, or not known to be over, at once since none was.
    is_mixed: bool,
    past: VecDeque<Past>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    key: ExchangeKey,
    from_ns: u64,
    /// When its response began; after that it may be over.
    answered_ns: Option<u64>,
    /// Another was open at the same time.
    is_mixed: bool,
}

/// A request that is over.
#[derive(Clone, Copy, Debug)]
struct Past {
    ids: SpanContext,
    from_ns: u64,
    until_ns: u64,
    is_mixed: bool,
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
        if self.threads.contains(&tid) || self.has_room() {
            self.threads.get_or_insert_mut(tid, Scope::default).start(key, from_ns);
        } else {
            self.beyond += 1;
        }
    }

    /// Whether one more thread can be told apart; one that serves nothing is forgotten for it.
    fn has_room(&mut self) -> bool {
        if self.threads.len() < THREADS {
            return true;
        }
        for _ in 0..TRIES {
            let Some((&tid, thread)) = self.threads.peek_lru() else { return true };
            if thread.open.is_empty() {
                self.threads.pop(&tid);
                return true;
            }
            self.threads.promote(&tid);
        }
        false
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
        let was_open = self.whole.end(key, until_ns, ids);
        let is_known = self.threads.get_mut(&tid).is_some_and(|thread| thread.end(key, until_ns, ids));
        if was_open && !is_known {
            self.beyond = self.beyond.saturating_sub(1);
        }
    }

    /// What the thread serves now.
    pub(super) fn now(&self, tid: u32) -> Serves {
        if self.whole.open.is_empty() {
            return Serves::None;
        }
        if self.wanders {
            return Serves::Unclear;
        }
        match self.threads.peek(&tid).map_or(Serves::None, Scope::now) {
            Serves::One(_) if !self.is_trusted() && self.whole.now() == Serves::Unclear => Serves::Unclear,
            Serves::None if self.beyond > 0 => Serves::TooManyThreads,
            Serves::None => Serves::OtherThread,
            now => now,
        }
    }

    /// The request that the thread served at `time_ns`, open or over.
    pub(super) fn at(&self, tid: u32, time_ns: u64) -> At {
        let Some(thread) = self.threads.peek(&tid).map(|thread| thread.at(time_ns)) else { return At::None };
        if self.wanders {
            return if thread == At::None { At::None } else { At::Unclear };
        }
        if self.is_trusted() || !matches!(thread, At::Open(_) | At::Over(_)) {
            return thread;
        }
        match self.whole.at(time_ns) {
            At::Open(_) | At::Over(_) => thread,
            At::Pending => At::Pending,
            At::Unclear | At::None => At::Unclear,
        }
    }

    /// The open requests of all threads.
    pub(super) fn open(&self) -> impl Iterator<Item = ExchangeKey> + '_ {
        self.whole.open.iter().map(|open| open.key)
    }

    /// Forgets what was over before `time_ns`.
    pub(super) fn forget(&mut self, time_ns: u64) {
        self.whole.forget(time_ns);
        let mut empty = Vec::new();
        for (tid, thread) in &mut self.threads {
            thread.forget(time_ns);
            if thread.open.is_empty() && thread.past.is_empty() {
                empty.push(*tid);
            }
        }
        for tid in empty {
            self.threads.pop(&tid);
        }
    }

    fn is_trusted(&self) -> bool {
        self.confirmed >= TRUSTED_AFTER
    }
}

/// What [`Process::at`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// None.
    None,
    /// One of several, or of a process in which work wanders.
    Unclear,
    /// A response had begun, and it is not known yet whether it was over.
    Pending,
    /// A request that is open.
    Open(ExchangeKey),
    /// One that is over.
    Over(SpanContext),
}

impl Scope {
    fn start(&mut self, key: ExchangeKey, from_ns: u64) {
        let mut open = Open { key, from_ns, answered_ns: None, is_mixed: false };
        for other in self.open.iter_mut().filter(|other| other.is_open_at(from_ns)) {
            other.is_mixed = true;
            open.is_mixed = true;
        }
        self.open.push(open);
        self.is_mixed |= self.open.len() > 1;
    }

    fn answered(&mut self, key: ExchangeKey, time_ns: u64) {
        if let Some(open) = self.open.iter_mut().find(|open| open.key == key) {
            open.answered_ns = Some(time_ns);
        }
    }

    /// Whether it was open.
    fn end(&mut self, key: ExchangeKey, until_ns: u64, ids: Option<SpanContext>) -> bool {
        let Some(at) = self.open.iter().position(|open| open.key == key) else { return false };
        let open = self.open.swap_remove(at);
        let is_within = |time_ns: u64| (open.from_ns..until_ns).contains(&time_ns);
        let mut is_mixed = open.is_mixed;
        for other in &mut self.open {
            if is_within(other.from_ns) || other.from_ns < open.from_ns && other.is_open_at(open.from_ns) {
                other.is_mixed = true;
                is_mixed = true;
            }
        }
        for past in &mut self.past {
            if past.from_ns < until_ns && open.from_ns < past.until_ns {
                past.is_mixed = true;
                is_mixed = true;
            }
        }
        if let Some(ids) = ids {
            if self.past.len() == PAST {
                self.past.pop_front();
            }
            self.past.push_back(Past { ids, from_ns: open.from_ns, until_ns, is_mixed });
        }
        if self.open.is_empty() {
            self.is_mixed = false;
        }
        true
    }

    fn now(&self) -> Serves {
        match (&self.open[..], self.is_mixed) {
            ([], _) => Serves::None,
            ([one], false) => Serves::One(one.key),
            _ => Serves::Unclear,
        }
    }

    fn at(&self, time_ns: u64) -> At {
        let begun = || self.open.iter().filter(|open| open.from_ns <= time_ns);
        let is_pending = begun().any(|open| !open.is_open_at(time_ns));
        let open = begun().filter(|open| open.is_open_at(time_ns));
        let open = open.map(|open| (open.is_mixed, At::Open(open.key)));
        let over = self.past.iter().filter(|past| (past.from_ns..=past.until_ns).contains(&time_ns));
        let mut all = open.chain(over.map(|past| (past.is_mixed, At::Over(past.ids))));
        match (all.next(), all.next()) {
            (Some(_), Some(_)) | (Some((true, _)), None) => At::Unclear,
            _ if is_pending => At::Pending,
            (Some((false, served)), None) => served,
            (None, _) => At::None,
        }
    }

    fn forget(&mut self, time_ns: u64) {
        while self.past.front().is_some_and(|past| past.until_ns < time_ns) {
            self.past.pop_front();
        }
    }
}

impl Open {
    /// Whether it is certain that it still was open.
    fn is_open_at(&self, time_ns: u64) -> bool {
        self.answered_ns.is_none_or(|answered_ns| time_ns <= answered_ns)
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
        assert_eq!(process.now(9), Serves::OtherThread);
        process.end(key(1), 7, 20, Some(ids(1)));
        assert_eq!(process.now(7), Serves::OtherThread);
        assert_eq!(process.at(7, 15), At::Over(ids(1)));
        assert_eq!(process.at(8, 15), At::Open(key(2)));
        assert_eq!(process.at(7, 21), At::None);
    }

    #[test]
    fn from_its_response_on_a_request_may_be_over() {
        let mut process = trusted();
        process.start(key(1), 7, 10);
        process.answered(key(1), 7, 15);
        assert_eq!(process.at(7, 15), At::Open(key(1)));
        assert_eq!(process.at(7, 16), At::Pending);
        process.end(key(1), 7, 20, Some(ids(1)));
        assert_eq!((process.at(7, 16), process.at(7, 21)), (At::Over(ids(1)), At::None));
    }

    /// The thread takes up the next request before it is known that the response before was whole.
    #[test]
    fn an_end_that_shows_late_settles_what_came_after() {
        let late = |until_ns| {
            let mut process = trusted();
            process.start(key(1), 7, 10);
            process.answered(key(1), 7, 15);
            process.start(key(2), 7, 20);
            assert_eq!((process.now(7), process.at(7, 25)), (Serves::Unclear, At::Pending));
            process.end(key(1), 7, until_ns, Some(ids(1)));
            process
        };
        let process = late(16);
        assert_eq!(
            (process.at(7, 16), process.at(7, 18), process.at(7, 25)),
            (At::Over(ids(1)), At::None, At::Open(key(2)))
        );
        // The first response went on while the second request was there.
        let mut process = late(22);
        assert_eq!(
            (process.at(7, 18), process.at(7, 21), process.at(7, 25)),
            (At::Unclear, At::Unclear, At::Unclear)
        );
        process.end(key(2), 7, 30, Some(ids(2)));
        assert_eq!(process.at(7, 25), At::Unclear);
    }

    /// The second one's end is known first.
    #[test]
    fn ends_may_show_in_any_order() {
        let late = |until_ns| {
            let mut process = trusted();
            process.start(key(1), 7, 10);
            process.answered(key(1), 7, 15);
            process.start(key(2), 7, 20);
            process.end(key(2), 7, 30, Some(ids(2)));
            assert_eq!(process.at(7, 25), At::Pending);
            process.end(key(1), 7, until_ns, Some(ids(1)));
            process.at(7, 25)
        };
        assert_eq!((late(16), late(22)), (At::Over(ids(2)), At::Unclear));
    }

    #[test]
    fn before_there_is_trust_the_process_counts_too() {
        let mut process = Process::default();
        process.start(key(1), 7, 10);
        assert_eq!((process.now(7), process.now(9)), (Serves::One(key(1)), Serves::OtherThread));
        process.start(key(2), 8, 11);
        assert_eq!((process.now(7), process.at(7, 12)), (Serves::Unclear, At::Unclear));
    }

    #[test]
    fn where_work_wanders_nothing_is_clear() {
        let mut process = trusted();
        process.answer(7, 8);
        assert_eq!(process.now(7), Serves::None);
        process.start(key(1), 7, 10);
        assert_eq!((process.now(7), process.at(7, 12)), (Serves::Unclear, At::Unclear));
    }

    #[test]
    fn an_event_loop_is_unclear_until_it_rests() {
        let mut process = trusted();
        process.start(key(1), 7, 10);
        process.start(key(2), 7, 11);
        process.end(key(1), 7, 20, Some(ids(1)));
        // What is done now may be the first one's.
        assert_eq!(process.now(7), Serves::Unclear);
        assert_eq!((process.at(7, 15), process.at(7, 25)), (At::Unclear, At::Unclear));
        process.end(key(2), 7, 30, Some(ids(2)));
        assert_eq!(process.at(7, 25), At::Unclear);
        process.start(key(3), 7, 31);
        assert_eq!(process.now(7), Serves::One(key(3)));
    }

    /// A server with a thread a request.
    #[test]
    fn threads_that_are_done_make_room() {
        let mut process = trusted();
        process.start(key(1), 1, 1);
        for n in 2..3 * u32::try_from(THREADS).unwrap() {
            let time_ns = u64::from(n);
            process.start(key(time_ns), n, time_ns);
            assert_eq!((process.now(n), process.now(1)), (Serves::One(key(time_ns)), Serves::One(key(1))));
            process.end(key(time_ns), n, time_ns, Some(ids(1)));
        }
        assert_eq!(process.threads.len(), THREADS);
        process.end(key(1), 1, u64::MAX, Some(ids(1)));
        assert_eq!(process.now(1), Serves::None);
    }

    #[test]
    fn where_all_threads_serve_one_more_is_not_known() {
        let mut process = trusted();
        let last = u32::try_from(THREADS).unwrap();
        (0..=last).for_each(|n| process.start(key(u64::from(n)), n, 1));
        assert_eq!((process.now(0), process.now(last)), (Serves::One(key(0)), Serves::TooManyThreads));
        process.end(key(u64::from(last)), last, 2, Some(ids(1)));
        assert_eq!(process.now(last), Serves::OtherThread);
        process.end(key(0), 0, 3, Some(ids(1)));
        // The longest unused serve, but for that one.
        process.start(key(u64::from(last)), last, 4);
        assert_eq!((process.now(last), process.beyond), (Serves::TooManyThreads, 1));
    }

    #[test]
    fn what_is_past_is_forgotten() {
        let mut process = trusted();
        process.start(key(1), 7, 10);
        process.end(key(1), 7, 20, Some(ids(1)));
        process.forget(21);
        assert_eq!(process.at(7, 15), At::None);
        assert!(process.threads.is_empty());
        (0..2 * PAST as u64).for_each(|n| {
            process.start(key(n), 7, n);
            process.end(key(n), 7, n, Some(ids(1)));
        });
        assert_eq!(process.whole.past.len(), PAST);
    }
}
