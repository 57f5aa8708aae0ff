//! Which response answers which request.
//!
//! The rules:
//! 1. Responses answer requests in order. Requests wait in a queue; a response answers the first that has none.
//! 2. When bytes of the response stream went by where a response should have begun, the first request is lost
//!    ([`Loss::LostResponse`]), and those behind it are, too ([`Loss::Desynchronized`]): how many responses went
//!    by is not known.
//! 3. When bytes of the request stream went by where a request should have begun, the requests before them are
//!    sound, and those behind are not.
//! 4. After either, the next request finds the way again, if this connection was never seen to send a request
//!    before the response of the one before had ended: such a client has received everything by then.
//!    On a connection that did pipeline nothing proves that, and its further requests count as
//!    [`Loss::Desynchronized`] until it closes.
//! 5. Where the end of a message is not known from its own bytes (chunked beyond the capture, or a cut head),
//!    what was lost behind it cannot be seen either. Then only a connection with a single request open, and no
//!    bytes of an unknown one, is sound; on others rule 4 applies.
//!
//! A pipelining connection on which requests wait when the sensor first sees it cannot be told from one on which
//! none does.

use std::borrow::Cow;

use super::{
    body::{Body, Tail},
    connection::{Context, Http1},
    framing::Framing,
    head::{COMMON_METHODS, RequestHead, ResponseHead},
    held::HOLD_NS,
    lane::{Origin, Span, State},
    pending::{Answer, Pending},
};
use crate::protocol::{Direction, End, ExchangeKey, Loss, Role, Signal, Started};

/// What is known of the beginning of a message beside its head.
pub(super) struct Arrival {
    pub(super) origin: Origin,
    /// When the last byte of the head was seen.
    pub(super) last_ns: u64,
    /// Bytes of the head; `None` when it was cut.
    pub(super) size: Option<u64>,
    /// Whether the head was cut by the capture, and not by the connection's end.
    pub(super) is_truncated: bool,
    /// Whether the bytes before it are known to be another message's.
    pub(super) is_certain: bool,
}

impl Http1 {
    /// A request began.
    pub(super) fn request_started(
        &mut self,
        mut head: RequestHead,
        arrival: Arrival,
        context: &mut Context<'_>,
    ) {
        self.store_request_span();
        self.imply_response_end(context);
        self.tell_early(context);
        let is_admitted = self.admit(context);
        self.requests += 1;
        let framing = if arrival.size.is_none() || head.is_malformed {
            Framing::Unknown
        } else {
            head.framing.of_request(head.version)
        };
        let span = Span { request: self.requests, ..Span::new(&arrival, framing) };
        let lane = self.request_lane();
        lane.span = span;
        lane.enter(framing);
        if head.version.is_some() {
            count_head(head.is_malformed, arrival.is_truncated, context);
        }
        if !arrival.is_certain && !COMMON_METHODS.contains(&&*head.method) {
            // The first bytes may belong to a method whose beginning was lost.
            head.method = Cow::default();
        }
        if !is_admitted {
            return;
        }
        let first_ns = arrival.origin.first_ns;
        let is_suspect = self.role == Some(Role::Client)
            && self.orphan_ns.take().is_some_and(|orphan| first_ns.saturating_sub(orphan) < HOLD_NS);
        if self.queue.is_empty() {
            self.ask.restart(first_ns);
        }
        let Arrival { origin, is_truncated, .. } = arrival;
        let pending = Pending { head, origin, span, answer: None, is_truncated, is_suspect };
        self.signal_start(&pending, context);
        self.queue.push_back(Box::new(pending));
    }

    /// A response began.
    pub(super) fn response_started(
        &mut self,
        head: &ResponseHead,
        arrival: Arrival,
        context: &mut Context<'_>,
    ) {
        let is_cut = arrival.size.is_none();
        count_head(head.is_malformed, arrival.is_truncated, context);
        if matches!(head.status, 100 | 102..=199) {
            // Interim: the final response is still to come.
            if is_cut {
                self.response_missed(Loss::LostResponse, context);
            } else {
                self.response_lane().end();
            }
            return;
        }
        if self.queue.is_empty()
            && !self.is_lost
            && let Some(way) = self.request_way()
            && matches!(self.lane(way).state, State::Head(_))
        {
            // The server answers a request whose head it does not want to see whole.
            self.cut(way, false, context);
        }
        if head.status == 101 && head.is_http2 && self.hand_over(context) {
            return;
        }
        let answer = Answer { status: head.status, version: head.version };
        let front = self.queue.front_mut().filter(|pending| pending.answer.is_none());
        let (is_head, is_connect, request) = front.as_ref().map_or((false, false, 0), |pending| {
            let method = &*pending.head.method;
            (method == "HEAD", method == "CONNECT", pending.span.request)
        });
        // Without the method it is not known whether there is a body.
        let is_method_known = front.as_ref().is_none_or(|pending| !pending.head.method.is_empty());
        let is_answer = if let Some(pending) = front {
            if !pending.is_http() && pending.is_truncated {
                context.losses.add(Loss::TruncatedHead);
            }
            pending.answer = Some(answer);
            let key = ExchangeKey { connection: self.connection.id, request };
            let (tid, time_ns) = (arrival.origin.task.tid, arrival.origin.first_ns);
            context.signal(|| Signal::Answered { key, tid, time_ns });
            true
        } else {
            context.losses.add(Loss::UnmatchedResponse);
            // Unless bytes of an unknown request explain it, its own request may be told later.
            let is_orphan = !self.is_pipelined && self.request_lane().is_certain;
            self.orphan_ns = is_orphan.then_some(arrival.origin.first_ns);
            false
        };
        self.ask.restart(arrival.origin.first_ns);
        let framing = if is_cut || head.is_malformed || !is_method_known {
            Framing::Unknown
        } else {
            head.framing.of_response(head.version, head.status, is_head)
        };
        let span = Span { request, ..Span::new(&arrival, framing) };
        self.response_lane().span = span;
        if head.status == 101 || is_connect && matches!(head.status, 200..=299) {
            self.response_lane().span.body_bytes = span.head_bytes.map(|_| 0);
            if is_answer {
                self.complete(End::Upgraded, 0, context);
            }
            self.abandon(Loss::Desynchronized, context);
            self.is_upgraded = true;
            return;
        }
        self.response_lane().enter(framing);
        if is_answer && framing == Framing::Length(0) {
            self.complete(End::Complete, 0, context);
        }
    }

    /// The message in this direction ended.
    pub(super) fn ended(&mut self, way: Direction, context: &mut Context<'_>) {
        if self.request_way() == Some(way) {
            self.tell_early(context);
        } else if self.is_answering() {
            self.complete(End::Complete, 0, context);
        }
    }

    /// Tells the exchange whose response ended before its request, with the request as far as it came.
    pub(super) fn tell_early(&mut self, context: &mut Context<'_>) {
        if let Some(mut exchange) = self.early.take() {
            let span = self.request_lane().span;
            exchange.request.last_ns = span.last_ns;
            exchange.request.body_bytes = span.body_bytes;
            context.out.push(*exchange);
        }
    }

    /// Bytes went by where a message should have begun.
    pub(super) fn hole(&mut self, way: Direction, context: &mut Context<'_>) {
        if self.role.is_none() {
        } else if self.request_way() == Some(way) {
            self.request_missed(context);
        } else {
            self.response_missed(Loss::LostResponse, context);
        }
    }

    /// At least one response is not known; the first request that waits is lost for this cause.
    pub(super) fn response_missed(&mut self, cause: Loss, context: &mut Context<'_>) {
        self.is_response_missed = true;
        self.is_pipelined |= self.queue.len() > 1;
        if let Some(first) = self.queue.pop_front() {
            self.lose(&first, cause, context);
        }
        self.abandon(Loss::Desynchronized, context);
        self.is_lost = true;
        self.response_lane().state = State::Unknown;
    }

    /// At least one request is not known.
    fn request_missed(&mut self, context: &mut Context<'_>) {
        self.leave_request();
        if self.is_answering() && self.is_response_end_unknown() {
            // The unknown request's response may be in what counts as this one's body.
            self.response_missed(Loss::LostResponse, context);
            return;
        }
        // If nothing was sent back since, the unknown request still waits, and the next one overtakes it. (When
        // this comes to light with a response, that is the unknown request's, and counts as unmatched.)
        let is_overtaken = self.is_request_event && !self.is_response_missed;
        if self.is_pipelined || is_overtaken || !self.queue.is_empty() {
            self.is_pipelined = true;
            self.is_lost = true;
        }
    }

    /// A request comes, so a client that does not pipeline has received the response before. Where the
    /// response's own framing tells its end, that counts, and not this.
    fn imply_response_end(&mut self, context: &mut Context<'_>) {
        if self.queue.is_empty() {
            return;
        }
        if !self.is_answering() {
            return;
        }
        let is_pipelined = self.is_pipelined;
        let lane = self.response_lane();
        let ends = match &lane.state {
            State::Body(Body::Blind) => match Tail::new(lane.tail) {
                Tail::LastChunk | Tail::EmptyLine => true,
                Tail::Unknown => !is_pipelined,
                Tail::Other => false,
            },
            State::Unknown => !is_pipelined,
            _ => false,
        };
        if ends {
            lane.end();
            self.complete(End::Complete, 0, context);
        }
    }

    /// Whether a new request can wait for its response; else it is counted.
    fn admit(&mut self, context: &mut Context<'_>) -> bool {
        if self.queue.len() == 1 && !self.is_answering() && self.queue[0].is_suspect {
            // The response that had no request was this one's after all.
            self.abandon(Loss::Desynchronized, context);
        }
        self.is_pipelined |= !self.queue.is_empty();
        if self.is_lost {
            if self.is_pipelined {
                context.losses.add(Loss::Desynchronized);
                return false;
            }
            self.is_lost = false;
        }
        if self.queue.len() >= context.limits.pending {
            context.losses.add(Loss::PipelineOverflow);
            self.is_lost = true;
            return false;
        }
        if self.queue.is_empty() {
            self.response_lane().end();
        }
        true
    }

    /// Tells the first request and its response.
    pub(super) fn complete(&mut self, end: End, closed_ns: u64, context: &mut Context<'_>) {
        let Some(pending) = self.queue.pop_front() else { return };
        let Some(role) = self.role else { return };
        let request = self.request_lane().span;
        let request = if request.request == pending.span.request { request } else { pending.span };
        let response = self.response_lane().span;
        self.is_settled |= pending.answer.is_some();
        let is_early = end == End::Complete
            && self.request_lane().span.request == pending.span.request
            && matches!(self.request_lane().state, State::Body(Body::Length(_)));
        let is_http = pending.is_http();
        let number = pending.span.request;
        let exchange = pending
            .into_exchange(self.connection, role, &request, &response, end, closed_ns)
            .filter(|_| is_http);
        let end_ns = exchange.as_ref().map_or(closed_ns, |exchange| exchange.end_ns);
        self.signal_end(number, end_ns, exchange.is_some(), context);
        match exchange {
            Some(exchange) if is_early => self.early = Some(Box::new(exchange)),
            Some(exchange) => context.out.push(exchange),
            None => context.losses.add(if is_http { Loss::CutStartLine } else { Loss::Unparsed }),
        }
        if let Some(next) = self.queue.front() {
            let first_ns = next.origin.first_ns;
            self.ask.restart(first_ns.max(response.last_ns));
        }
    }

    /// Counts every request that waits as lost.
    pub(super) fn abandon(&mut self, cause: Loss, context: &mut Context<'_>) {
        while let Some(pending) = self.queue.pop_front() {
            self.lose(&pending, cause, context);
        }
    }

    /// Counts a request that no longer waits as lost.
    pub(super) fn lose(&self, pending: &Pending, cause: Loss, context: &mut Context<'_>) {
        context.losses.add(if pending.is_http() { cause } else { Loss::Unparsed });
        self.signal_end(pending.span.request, pending.span.last_ns, false, context);
    }

    fn signal_start(&self, pending: &Pending, context: &mut Context<'_>) {
        let Some(role) = self.role else { return };
        let headers = pending.head.kept.iter().filter(|(name, _)| Started::tells_of_trace(name));
        context.signal(|| {
            Signal::Started(Box::new(Started {
                key: ExchangeKey { connection: self.connection.id, request: pending.span.request },
                role,
                task: pending.origin.task,
                endpoints: pending.origin.endpoints,
                time_ns: pending.origin.first_ns,
                headers: headers.cloned().collect(),
            }))
        });
    }

    fn signal_end(&self, request: u64, time_ns: u64, is_told: bool, context: &mut Context<'_>) {
        let key = ExchangeKey { connection: self.connection.id, request };
        context.signal(|| Signal::Ended { key, time_ns, is_told });
    }

    /// Gives up assigning anything on this connection.
    fn desynchronize(&mut self, context: &mut Context<'_>) {
        self.abandon(Loss::Desynchronized, context);
        self.is_lost = true;
        self.is_pipelined = true;
        self.response_lane().state = State::Unknown;
    }

    /// Whether the first request's response has begun.
    pub(super) fn is_answering(&self) -> bool {
        self.queue.front().is_some_and(|pending| pending.answer.is_some())
    }

    /// Whether the request that the request lane is in has its response, or is not waited for.
    pub(super) fn is_request_answered(&mut self) -> bool {
        let request = self.request_lane().span.request;
        self.queue.back().is_none_or(|last| last.span.request != request || last.answer.is_some())
    }

    /// Applies rule 5.
    pub(super) fn doubt(&mut self, context: &mut Context<'_>) {
        if self.role.is_none() {
            return;
        }
        let is_more_expected = self.queue.len() > 1 || self.is_lost;
        if is_more_expected && self.is_answering() && self.is_response_end_unknown() {
            self.desynchronize(context);
        }
        let is_request_end_unknown =
            matches!(self.request_lane().state, State::Unknown | State::Body(Body::Blind));
        self.is_lost |= self.is_pipelined && is_request_end_unknown;
    }

    fn is_response_end_unknown(&mut self) -> bool {
        matches!(self.response_lane().state, State::Unknown | State::Body(Body::Blind))
    }

    /// The request lane is no longer in, or behind, the request that it was in.
    pub(super) fn leave_request(&mut self) {
        self.store_request_span();
        self.request_lane().span = Span::default();
    }

    /// Keeps what is known of the request message before the lane takes up the next.
    fn store_request_span(&mut self) {
        let span = self.request_lane().span;
        if let Some(last) = self.queue.back_mut()
            && last.span.request == span.request
        {
            last.span = span;
        }
    }
}

impl Span {
    fn new(arrival: &Arrival, framing: Framing) -> Self {
        Self {
            request: 0,
            first_ns: arrival.origin.first_ns,
            last_ns: arrival.last_ns,
            head_bytes: arrival.size,
            body_bytes: arrival.size.and((framing != Framing::Unknown).then_some(0)),
        }
    }
}

fn count_head(is_malformed: bool, is_cut: bool, context: &mut Context<'_>) {
    if is_malformed {
        context.losses.add(Loss::MalformedHead);
    }
    if is_cut {
        context.losses.add(Loss::TruncatedHead);
    }
}
