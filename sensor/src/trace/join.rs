//! Spans that form traces, while their requests are still open.
//!
//! Ids are given when a request's head is seen, so that what happens in its course can be told to be of it. Whose
//! trace a span belongs to, the first that applies:
//! 1. Server: a valid trace header makes it part of that trace, under the caller's span.
//! 2. Client: a trace header that equals that of exactly one request the process serves was passed on; the call is
//!    that request's. Any other header names the span that the application itself opened around the call.
//! 3. Client: without a header, the request that the thread serves (see [`super::serving`]).
//! 4. Server: the caller's span, where the sensor sees both ends of the connection and exactly one call on it is open.
//!    A header must agree.
//! 5. A trace of its own.
//!
//! Where more than one could be meant, none is taken, and that is counted.

use std::num::NonZeroUsize;

use hashbrown::HashMap;
use lru::LruCache;

use super::{
    context::{TraceParent, trace_state},
    ends::{Ends, Route},
    ids::{Ids, Parent, SpanIds},
    serving::{At, Process, Serves, SpanContext},
};
use crate::protocol::{ExchangeKey, Handshake, Role, Signal, Started};

/// The most requests whose ids are kept; beyond, a request gets a trace of its own when it is told.
const REQUESTS: usize = 131_072;
/// The most processes of which is known how they serve; beyond, the one longest unused is forgotten.
const PROCESSES: NonZeroUsize = NonZeroUsize::new(8192).unwrap();
/// So long it is remembered which request a thread served.
const REMEMBER_NS: u64 = 10_000_000_000;

/// Gives each request its ids.
#[derive(Debug)]
pub struct Joiner {
    ids: Ids,
    requests: HashMap<ExchangeKey, Request>,
    processes: LruCache<u32, Process>,
    ends: Ends,
    left_out: [u64; LeftOut::ALL.len()],
}

/// Why a span has no parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// More than one request could be a call's.
    Ambiguous,
    /// A call's process serves requests, but its thread received none of them.
    OtherThread,
    /// A call's process serves no request, so that there is none to leave out: a trace begins here.
    NoRequest,
    /// Threads of a call's process serve more requests at once than can be told apart.
    TooManyThreads,
    /// Too many requests and calls were open.
    TooManyRequests,
}

impl LeftOut {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Ambiguous, Self::OtherThread, Self::NoRequest, Self::TooManyThreads, Self::TooManyRequests];

    /// As a label's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ambiguous => "ambiguous",
            Self::OtherThread => "other_thread",
            Self::NoRequest => "no_request",
            Self::TooManyThreads => "too_many_threads",
            Self::TooManyRequests => "too_many_requests",
        }
    }
}

/// What a thread did at a time, as [`Joiner::serving`] knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// It served no request that is known.
    None,
    /// It may have served any of several.
    Unclear,
    /// The response of a request had begun, and whether it was over is not known yet.
    Pending,
    /// It served this one.
    Span(SpanContext),
}

/// A request between its head and its exchange.
#[derive(Debug)]
struct Request {
    role: Role,
    tgid: u32,
    tid: u32,
    route: Route,
    /// What its header said.
    header: Option<TraceParent>,
    span: SpanIds,
    /// The request of which it is a child by what the sensor saw.
    cause: Option<ExchangeKey>,
    /// Its trace has been told to someone: of it, of a child of its, or of what was written in its course.
    is_told: bool,
}

impl Request {
    fn context(&self) -> SpanContext {
        SpanContext { trace_id: self.span.trace_id, span_id: self.span.span_id }
    }
}

impl Default for Joiner {
    fn default() -> Self {
        Self::new()
    }
}

impl Joiner {
    /// A joiner that knows no request.
    #[must_use]
    pub fn new() -> Self {
        Self {
            ids: Ids::new(),
            requests: HashMap::new(),
            processes: LruCache::new(PROCESSES),
            ends: Ends::default(),
            left_out: [0; LeftOut::ALL.len()],
        }
    }

    /// Takes what happened, in order.
    pub fn on_signal(&mut self, signal: &Signal) {
        match signal {
            Signal::Started(started) => self.start(started),
            Signal::Answered { key, tid, time_ns } => self.answer(*key, *tid, *time_ns),
            Signal::Ended { key, time_ns, is_told } => self.end(*key, *time_ns, *is_told),
        }
    }

    /// The ids of an exchange, which are then no longer kept.
    pub fn take(&mut self, key: ExchangeKey) -> SpanIds {
        match self.requests.remove(&key) {
            Some(request) => {
                self.told(request.cause);
                request.span
            }
            None => self.ids.root(),
        }
    }

    /// The server span that a thread was in at a time (nanoseconds of `CLOCK_MONOTONIC`), now or in the last ten
    /// seconds.
    pub fn serving(&mut self, tgid: u32, tid: u32, time_ns: u64) -> Serving {
        let at = self.processes.peek(&tgid).map_or(At::None, |process| process.at(tid, time_ns));
        match at {
            At::None => Serving::None,
            At::Unclear => Serving::Unclear,
            At::Pending => Serving::Pending,
            At::Over(context) => Serving::Span(context),
            At::Open(key) => {
                self.told(Some(key));
                self.requests.get(&key).map_or(Serving::None, |request| Serving::Span(request.context()))
            }
        }
    }

    /// The ids of a handshake: a client's is a child of the request that its thread served all the while, if it is clear
    /// which; any other is a trace of its own.
    pub fn handshake(&mut self, handshake: &Handshake) -> SpanIds {
        let mut span = self.ids.root();
        if handshake.role == Role::Client {
            let task = handshake.task;
            let end_ns = handshake.start_ns.saturating_add(handshake.duration_ns);
            let [first, last] =
                [handshake.start_ns, end_ns].map(|time_ns| self.serving(task.tgid, task.tid, time_ns));
            if let (Serving::Span(first), Serving::Span(last)) = (first, last)
                && first == last
            {
                span.trace_id = first.trace_id;
                span.parent = Some(Parent { span_id: first.span_id, is_remote: false });
            }
        }
        span
    }

    /// A process began, or replaced its program: what its predecessor of that number was like does not count.
    pub fn process_started(&mut self, tgid: u32) {
        self.processes.pop(&tgid);
    }

    /// Forgets what is long over.
    pub fn second(&mut self, now_ns: u64) {
        let oldest = now_ns.saturating_sub(REMEMBER_NS);
        self.processes.iter_mut().for_each(|(_, process)| process.forget(oldest));
    }

    /// How many spans have no parent for this reason. Each call that names none itself has a parent or is in here.
    #[must_use]
    pub fn left_out(&self, why: LeftOut) -> u64 {
        self.left_out[why as usize]
    }

    fn start(&mut self, started: &Started) {
        if self.requests.len() >= REQUESTS {
            self.left_out[LeftOut::TooManyRequests as usize] += 1;
            return;
        }
        let header = TraceParent::of(&started.headers);
        let mut span = self.ids.root();
        if let Some(header) = header {
            span.trace_id = header.trace_id;
            span.flags = header.flags;
            span.parent = Some(Parent { span_id: header.parent_id, is_remote: started.role == Role::Server });
            span.trace_state = trace_state(&started.headers);
        }
        let request = Request {
            role: started.role,
            tgid: started.task.tgid,
            tid: started.task.tid,
            route: Route::of(&started.endpoints, started.role),
            header,
            span,
            cause: None,
            is_told: false,
        };
        match started.role {
            Role::Server => self.start_server(started, request),
            Role::Client => self.start_client(started, request),
        }
    }

    fn start_server(&mut self, started: &Started, mut request: Request) {
        let key = started.key;
        if let Some(caller) = self.ends.caller(&request.route)
            && let Some(call) = self.requests.get(&caller)
            && agree(call, &request)
        {
            adopt(&mut request.span, &call.span, true);
            request.cause = Some(caller);
            self.ends.remove(&call.route, Role::Client, caller);
        } else {
            self.ends.add(request.route, Role::Server, key);
        }
        let process = self.processes.get_or_insert_mut(request.tgid, Process::default);
        process.start(key, request.tid, started.time_ns);
        self.requests.insert(key, request);
    }

    fn start_client(&mut self, started: &Started, mut request: Request) {
        let key = started.key;
        match self.cause(&request) {
            Ok(Some(cause)) => {
                if let Some(server) = self.requests.get(&cause) {
                    adopt(&mut request.span, &server.span, false);
                    request.cause = Some(cause);
                }
            }
            Ok(None) => {}
            Err(why) => self.left_out[why as usize] += 1,
        }
        if let Some(callee) = self.ends.callee(&request.route)
            && let Some(server) = self.requests.get(&callee)
            && (!server.is_told || server.span.trace_id == request.span.trace_id)
            && agree(&request, server)
            && !self.causes(request.cause).any(|cause| cause == callee)
        {
            // The send was told after the receive at the other end.
            let route = server.route;
            self.join_late(callee, key, &request.span);
            self.ends.remove(&route, Role::Server, callee);
        } else {
            self.ends.add(request.route, Role::Client, key);
        }
        self.requests.insert(key, request);
    }

    /// Makes a server's request a child of a call that was told after it, and takes what it caused meanwhile into the call's trace.
    fn join_late(&mut self, callee: ExchangeKey, caller: ExchangeKey, call: &SpanIds) {
        let Some(server) = self.requests.get_mut(&callee) else { return };
        let has_moved = server.span.trace_id != call.trace_id;
        adopt(&mut server.span, call, true);
        server.cause = Some(caller);
        let mut moved = if has_moved { vec![callee] } else { Vec::new() };
        // Seldom, and seldom more than one or two: so it is not kept who caused what.
        while let Some(cause) = moved.pop() {
            for (key, request) in self.requests.iter_mut().filter(|(_, request)| request.cause == Some(cause))
            {
                request.span.trace_id = call.trace_id;
                request.span.flags = call.flags;
                request.span.trace_state.clone_from(&call.trace_state);
                moved.push(*key);
            }
        }
    }

    /// A request, what caused it, and so on.
    fn causes(&self, first: Option<ExchangeKey>) -> impl Iterator<Item = ExchangeKey> {
        std::iter::successors(first, |key| self.requests.get(key)?.cause)
    }

    /// From now on a request stays in its trace, and so does what caused it.
    fn told(&mut self, first: Option<ExchangeKey>) {
        let mut next = first;
        while let Some(request) = next.and_then(|key| self.requests.get_mut(&key)).filter(|one| !one.is_told)
        {
            request.is_told = true;
            next = request.cause;
        }
    }

    /// The request that a call is made for; none where its header names another parent.
    fn cause(&self, call: &Request) -> Result<Option<ExchangeKey>, LeftOut> {
        let process = self.processes.peek(&call.tgid);
        let Some(header) = call.header else {
            return match process.map_or(Serves::None, |process| process.now(call.tid)) {
                Serves::One(key) if self.requests.contains_key(&key) => Ok(Some(key)),
                Serves::One(_) | Serves::None => Err(LeftOut::NoRequest),
                Serves::OtherThread => Err(LeftOut::OtherThread),
                Serves::TooManyThreads => Err(LeftOut::TooManyThreads),
                Serves::Unclear => Err(LeftOut::Ambiguous),
            };
        };
        let is_same = |key: &ExchangeKey| {
            self.requests
                .get(key)
                .is_some_and(|request| request.header.is_some_and(|inbound| inbound.is_same_span(&header)))
        };
        let mut same = process.into_iter().flat_map(Process::open).filter(is_same);
        match (same.next(), same.next()) {
            (one, None) => Ok(one),
            (_, Some(_)) => Err(LeftOut::Ambiguous),
        }
    }

    fn answer(&mut self, key: ExchangeKey, sent: u32, time_ns: u64) {
        let Some(request) = self.requests.get(&key) else { return };
        self.ends.remove(&request.route, request.role, key);
        if request.role == Role::Server
            && let Some(process) = self.processes.get_mut(&request.tgid)
        {
            process.answer(request.tid, sent);
            process.answered(key, request.tid, time_ns);
        }
    }

    fn end(&mut self, key: ExchangeKey, time_ns: u64, is_told: bool) {
        let Some(request) = self.requests.get(&key) else { return };
        self.ends.remove(&request.route, request.role, key);
        if request.role == Role::Server
            && let Some(process) = self.processes.get_mut(&request.tgid)
        {
            let context = request.context();
            process.end(key, request.tid, time_ns, is_told.then_some(context));
        }
        if !is_told {
            self.requests.remove(&key);
        }
    }
}

/// Whether both ends can be of one call: a header must have arrived as it was sent.
fn agree(call: &Request, served: &Request) -> bool {
    match (call.header, served.header) {
        (None, None) => true,
        (Some(sent), Some(received)) => sent.is_same_span(&received),
        _ => false,
    }
}

/// Makes `span` a child of `parent`.
fn adopt(span: &mut SpanIds, parent: &SpanIds, is_remote: bool) {
    span.trace_id = parent.trace_id;
    span.parent = Some(Parent { span_id: parent.span_id, is_remote });
    span.flags = parent.flags;
    span.trace_state.clone_from(&parent.trace_state);
}
