//! One connection: its two lanes, and the requests that wait on it.
//!
//! The bytes of an event are read in [`super::reading`]. What messages mean for each other is in
//! [`super::pairing`], what ends mean in [`super::ending`].

use std::collections::VecDeque;

use super::{
    handover::HandedOver,
    held::{Held, HeldHead},
    lane::{Lane, State},
    pending::Pending,
    start_line::{self, StartLine},
};
use crate::protocol::{Connection, Direction, Exchange, Head, LossCounts, Role, Signal, Stream, ask::Ask};

/// The limits that a connection keeps.
#[derive(Clone, Copy, Debug)]
pub(in crate::protocol) struct Limits {
    /// Bytes of a head that are gathered.
    pub(in crate::protocol) head: usize,
    /// Requests that wait.
    pub(in crate::protocol) pending: usize,
    /// Whether what happens to open requests is told.
    pub(in crate::protocol) has_signals: bool,
}

impl Context<'_> {
    /// Tells what happened to an open request, if that is wanted.
    pub(in crate::protocol) fn signal(&mut self, signal: impl FnOnce() -> Signal) {
        if self.limits.has_signals {
            self.signals.push(signal());
        }
    }
}

/// Where results go.
pub(in crate::protocol) struct Context<'a> {
    pub(in crate::protocol) limits: Limits,
    pub(in crate::protocol) out: &'a mut Vec<Exchange>,
    pub(in crate::protocol) losses: &'a mut LossCounts,
    pub(in crate::protocol) signals: &'a mut Vec<Signal>,
}

/// An HTTP/1 connection.
#[derive(Debug)]
pub(in crate::protocol) struct Http1 {
    pub(super) connection: Connection,
    /// Known with the first message.
    pub(super) role: Option<Role>,
    /// By direction: in, out.
    pub(super) lanes: [Lane; 2],
    /// Requests without the end of their response, the oldest first; only the first can have an answer.
    pub(super) queue: VecDeque<Box<Pending>>,
    /// An exchange whose response ended before its request: it is told when the rest of the body has come, or does
    /// not come. It belongs to the message that the request lane is in.
    pub(super) early: Option<Box<Exchange>>,
    /// Requests seen so far.
    pub(super) requests: u64,
    /// A request was paired on this connection, so what is known of it is sound.
    pub(super) is_settled: bool,
    /// A request came before the response of the one before had ended.
    pub(super) is_pipelined: bool,
    /// What comes after the requests in the queue cannot be assigned, until a request shows the way again.
    pub(super) is_lost: bool,
    /// The connection belongs to another protocol.
    pub(super) is_upgraded: bool,
    /// A request that is answered in HTTP/2.
    pub(super) handed_over: Option<Box<HandedOver>>,
    /// The event being handled shows bytes of a response that is not known.
    pub(super) is_response_missed: bool,
    /// The event being handled is the first bytes of an operation in the requests' direction.
    pub(super) is_request_event: bool,
    /// When a response last came for which no request was known.
    pub(super) orphan_ns: Option<u64>,
    pub(super) held: Held,
    /// Bytes in and out at the kernel's last answer, if no event came since.
    pub(super) progress: Option<(u64, u64)>,
    /// The kernel's last answer was that it does not know the connection.
    pub(super) is_gone: bool,
    pub(super) ask: Ask,
}

impl Http1 {
    /// A connection of which `head` is the first that is known.
    pub(in crate::protocol) fn new(head: &Head<'_>) -> Self {
        let lane = |stream: Stream| Lane::new(stream.bytes, stream.tail);
        Self {
            connection: head.connection,
            role: None,
            lanes: [lane(head.received), lane(head.sent)],
            queue: VecDeque::new(),
            early: None,
            requests: 0,
            is_settled: false,
            is_pipelined: false,
            is_lost: false,
            is_upgraded: false,
            handed_over: None,
            is_response_missed: false,
            is_request_event: false,
            orphan_ns: None,
            held: Held::default(),
            progress: None,
            is_gone: false,
            ask: Ask::default(),
        }
    }

    /// Takes the first bytes of an operation.
    pub(in crate::protocol) fn on_head(&mut self, head: &Head<'_>, context: &mut Context<'_>) {
        self.progress = None;
        self.is_gone = false;
        if self.is_upgraded {
            return;
        }
        if !self.held.is_empty() {
            if self.held.is_request(head, self.lanes[Direction::Send as usize].position) {
                let held = self.held.take();
                // The response is told next, so the request must not find its bytes there already.
                let received = held.first().map_or(head.received, HeldHead::received);
                self.process(&Head { received, ..*head }, context);
                held.iter().for_each(|held| self.process(&held.head(), context));
                return;
            }
            if head.direction == Direction::Receive && self.held.push(head) {
                return;
            }
            self.release_held(context);
        }
        if self.is_early_response(head) && self.held.push(head) {
            return;
        }
        self.process(head, context);
    }

    /// The request with which the connection went over to HTTP/2, once.
    pub(in crate::protocol) fn handed_over(&mut self) -> Option<Box<HandedOver>> {
        self.handed_over.take()
    }

    /// Which connection this is.
    pub(in crate::protocol) const fn connection(&self) -> Connection {
        self.connection
    }

    /// When the kernel is to be asked next, as long as something is waited for.
    pub(in crate::protocol) fn ask_at_ns(&self) -> u64 {
        self.ask.at_ns()
    }

    /// Takes note that the kernel is asked.
    pub(in crate::protocol) fn asked(&mut self, now_ns: u64) {
        self.ask.asked(now_ns);
    }

    /// Lets the streams come to where the kernel says they are.
    pub(super) fn advance(&mut self, received: Stream, sent: Stream, context: &mut Context<'_>) {
        self.is_response_missed = false;
        // Responses first: what they end must not look like overtaken by the next request.
        let first = if self.role == Some(Role::Client) { Direction::Receive } else { Direction::Send };
        for way in [first, first.opposite()] {
            let stream = if way == Direction::Receive { received } else { sent };
            let left = stream.bytes.saturating_sub(self.lane(way).position);
            if Some(way) != self.request_way() && matches!(self.lane(way).state, State::Unknown) {
                self.is_response_missed = left > 0;
            }
            self.pass(way, left, stream.last_ns, context);
            let lane = self.lane(way);
            if lane.position == stream.bytes {
                lane.tail = stream.tail;
            }
        }
        self.doubt(context);
    }

    /// Gives what was held back to the parser as it is.
    pub(super) fn release_held(&mut self, context: &mut Context<'_>) {
        let held = self.held.take();
        held.iter().for_each(|held| self.process(&held.head(), context));
    }

    pub(super) fn lane(&mut self, way: Direction) -> &mut Lane {
        &mut self.lanes[way as usize]
    }

    /// The direction of the requests, once it is known.
    pub(super) fn request_way(&self) -> Option<Direction> {
        self.role.map(|role| if role == Role::Server { Direction::Receive } else { Direction::Send })
    }

    /// The lane of the responses; only called when the role is known.
    pub(super) fn response_lane(&mut self) -> &mut Lane {
        let way = self.request_way().unwrap_or(Direction::Receive).opposite();
        self.lane(way)
    }

    /// The lane of the requests; only called when the role is known.
    pub(super) fn request_lane(&mut self) -> &mut Lane {
        let way = self.request_way().unwrap_or(Direction::Receive);
        self.lane(way)
    }

    /// Whether a response came before its own request: a send may be told only when it returns, and by then
    /// another thread may have received the response. Everything else on the connection must be accounted for.
    fn is_early_response(&self, head: &Head<'_>) -> bool {
        let [received, sent] = &self.lanes;
        let is_quiet = |lane: &Lane, stream: Stream| {
            matches!(lane.state, State::Between) && lane.is_certain && lane.position == stream.bytes
        };
        self.is_settled
            && self.role == Some(Role::Client)
            && head.direction == Direction::Receive
            && self.queue.is_empty()
            && !self.is_lost
            && !self.is_pipelined
            && is_quiet(received, head.received)
            && is_quiet(sent, head.sent)
            // A server may send 408 to an idle connection of its own accord (RFC 9110 section 15.5.9).
            && matches!(
                start_line::read(head.bytes),
                StartLine::Response { status, .. } if status != 408 && (status == 101 || status >= 200)
            )
    }
}

impl Direction {
    pub(super) const fn opposite(self) -> Self {
        match self {
            Self::Receive => Self::Send,
            Self::Send => Self::Receive,
        }
    }
}
