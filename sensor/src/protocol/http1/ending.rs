//! What ends a connection, and what tells the end of a message that its own bytes did not tell.

use super::{
    body::{Body, Tail},
    connection::{Context, Http1},
    lane::State,
    start_line::{self, StartLine},
};
use crate::protocol::{Close, Direction, End, Loss, Role, Stream};

/// What is to become of a connection's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocol) enum Class {
    /// Nothing is known that would be missed.
    Blank,
    /// Nothing waits; what is known helps to find losses.
    Idle,
    /// A request waits, or a head is incomplete.
    Active,
    /// It must not be taken for a fresh connection: it is upgraded or desynchronized.
    Kept,
}

impl Http1 {
    /// What is to become of this connection's state.
    pub(in crate::protocol) fn class(&self) -> Class {
        let is_within_head = self.lanes.iter().any(|lane| matches!(lane.state, State::Head(_)));
        if self.is_upgraded {
            Class::Kept
        } else if !self.queue.is_empty() || is_within_head || !self.held.is_empty() || self.early.is_some() {
            Class::Active
        } else if self.role.is_none() {
            Class::Blank
        } else if self.is_lost && self.is_pipelined {
            Class::Kept
        } else {
            Class::Idle
        }
    }

    /// Takes an end.
    pub(in crate::protocol) fn on_close(&mut self, close: &Close, context: &mut Context<'_>) {
        self.progress = None;
        self.is_gone = false;
        if self.is_upgraded {
            return;
        }
        self.is_request_event = false;
        self.release_held(context);
        self.advance(close.received, close.sent, context);
        self.tell_early(context);
        // The end of the requests says nothing about the responses.
        if !close.end_of_file || self.role == Some(Role::Client) {
            self.finish_all(close.time_ns, context);
        }
    }

    /// Takes the kernel's answer; `false` when the connection is over.
    ///
    /// An answer may be ahead of events that are still on their way. So a single one only completes what it
    /// cannot be wrong about; two that agree, with no event in between, are the present state.
    pub(in crate::protocol) fn on_progress(
        &mut self,
        streams: Option<(Stream, Stream)>,
        context: &mut Context<'_>,
    ) -> bool {
        let Some((received, sent)) = streams else {
            if self.is_upgraded {
                return false;
            }
            if self.is_gone {
                self.finish_unseen(context);
                return false;
            }
            self.is_gone = true;
            self.ask.again_soon();
            return true;
        };
        self.is_gone = false;
        if self.is_upgraded {
            return true;
        }
        let answer = (received.bytes, sent.bytes);
        let is_same = self.progress.replace(answer) == Some(answer);
        if is_same {
            self.is_request_event = false;
            self.release_held(context);
            self.advance(received, sent, context);
            // Nothing moves: the rest of the body does not come for now.
            self.tell_early(context);
        } else {
            self.advance_within_body(Direction::Receive, received, context);
            self.advance_within_body(Direction::Send, sent, context);
        }
        if is_same && self.is_at_last_chunk() {
            self.response_lane().end();
            self.complete(End::Complete, 0, context);
        } else if !is_same && self.may_be_at_last_chunk(received, sent) {
            self.ask.again_soon();
        }
        true
    }

    /// Nothing moved for too long, or the connection's state must go: everything that waits is lost.
    pub(in crate::protocol) fn give_up(&mut self, cause: Loss, context: &mut Context<'_>) {
        self.tell_early(context);
        self.release_held(context);
        if let Some(is_request) = self.waiting_head() {
            context.losses.add(if is_request { cause } else { Loss::Unparsed });
        }
        for lane in &mut self.lanes {
            if matches!(lane.state, State::Head(_)) {
                lane.state = State::Unknown;
            }
        }
        self.abandon(cause, context);
        self.is_lost = true;
    }

    /// The sensor stops.
    pub(in crate::protocol) fn shut_down(&mut self, context: &mut Context<'_>) {
        if self.is_at_last_chunk() {
            self.response_lane().end();
            self.complete(End::Complete, 0, context);
        }
        self.give_up(Loss::Shutdown, context);
    }

    /// Takes body bytes that moved, where they are sure to be body bytes.
    fn advance_within_body(&mut self, way: Direction, stream: Stream, context: &mut Context<'_>) {
        let lane = self.lane(way);
        let left = stream.bytes.saturating_sub(lane.position);
        if let State::Body(body) = &lane.state
            && left > 0
            && left <= body.certain()
        {
            self.pass(way, left, stream.last_ns, context);
        }
        let lane = self.lane(way);
        if lane.position == stream.bytes {
            lane.tail = stream.tail;
        }
    }

    /// Whether the first response is chunked, with unknown framing, and its last bytes are a last chunk.
    fn is_at_last_chunk(&mut self) -> bool {
        if !self.is_answering() {
            return false;
        }
        let lane = self.response_lane();
        matches!(lane.state, State::Body(Body::Blind)) && Tail::new(lane.tail) == Tail::LastChunk
    }

    /// Whether the first response would end there, if the streams stayed as they are.
    fn may_be_at_last_chunk(&self, received: Stream, sent: Stream) -> bool {
        let (way, tail) = match self.role {
            Some(Role::Server) => (Direction::Send, sent.tail),
            Some(Role::Client) => (Direction::Receive, received.tail),
            None => return false,
        };
        let body = &self.lanes[way as usize].state;
        self.is_answering()
            && matches!(body, State::Body(Body::Blind | Body::Chunked(_)))
            && Tail::new(tail) == Tail::LastChunk
    }

    /// If an incomplete head waits: whether it is a request's, with a whole start line.
    fn waiting_head(&self) -> Option<bool> {
        self.lanes.iter().find_map(|lane| match &lane.state {
            State::Head(partial) => Some(matches!(start_line::read(&partial.bytes), StartLine::Request(_))),
            _ => None,
        })
    }

    /// The connection is over, and its end was not among the events: what came between the last event and the end is
    /// not known, so only a response whose last chunk was seen is sure to be whole.
    fn finish_unseen(&mut self, context: &mut Context<'_>) {
        if self.is_at_last_chunk() {
            self.response_lane().end();
            self.complete(End::Complete, 0, context);
        }
        self.give_up(Loss::LostClose, context);
    }

    /// Nothing more will come: every exchange ends as it stands.
    fn finish_all(&mut self, closed_ns: u64, context: &mut Context<'_>) {
        self.finish_heads(context);
        if self.role.is_none() {
            return;
        }
        if self.is_answering() {
            let end = self.response_end();
            self.complete(end, 0, context);
        }
        while let Some(first) = self.queue.front() {
            if first.is_suspect {
                if let Some(first) = self.queue.pop_front() {
                    self.lose(&first, Loss::Desynchronized, context);
                }
            } else {
                self.complete(End::NoResponse, closed_ns, context);
            }
        }
    }

    /// Takes incomplete heads for what they are; nothing was left out of them, they just did not go on.
    fn finish_heads(&mut self, context: &mut Context<'_>) {
        let ways = match self.request_way() {
            Some(way) => [way, way.opposite()],
            None => [Direction::Receive, Direction::Send],
        };
        for way in ways {
            let is_response_way = self.request_way().is_some_and(|request| request != way);
            let is_waited_for = is_response_way && !self.queue.is_empty();
            let State::Head(partial) = &self.lane(way).state else { continue };
            match start_line::read(&partial.bytes) {
                StartLine::Request(_) => self.cut(way, false, context),
                StartLine::Response { status: 100 | 102..=199, .. } => self.lane(way).state = State::Unknown,
                StartLine::Response { .. } => {
                    self.cut(way, false, context);
                    if self.is_answering() {
                        self.complete(End::ResponseCut, 0, context);
                    }
                }
                _ if is_waited_for => self.cut(way, false, context),
                _ => {
                    self.lane(way).state = State::Unknown;
                    context.losses.add(Loss::Unparsed);
                }
            }
        }
    }

    /// How the first response ended, when the connection ended now.
    fn response_end(&mut self) -> End {
        let lane = self.response_lane();
        match &lane.state {
            State::Body(Body::Length(_) | Body::Chunked(_)) => End::ResponseCut,
            State::Body(Body::Blind) if Tail::new(lane.tail) == Tail::Other => End::ResponseCut,
            _ => End::Complete,
        }
    }
}
