//! Bringing the bytes of an event into the lanes, and recognising the messages in them.

use super::{
    body::{Body, Tail},
    connection::{Context, Http1},
    head::{RequestHead, ResponseHead},
    lane::{Origin, Partial, Passed, State},
    pairing::Arrival,
    start_line::{self, StartLine},
};
use crate::protocol::{Direction, Head, Loss, Role};

/// Fewer bytes than the shortest message (`HTTP/1.1 200`, two line ends) are no message that was missed: some
/// clients send an empty line behind a body.
const SHORTEST_MESSAGE: u64 = 16;

impl Http1 {
    /// Takes an operation.
    pub(super) fn process(&mut self, head: &Head<'_>, context: &mut Context<'_>) {
        let way = head.direction;
        self.is_request_event = self.request_way() == Some(way);
        self.advance(head.received, head.sent, context);
        let start = if way == Direction::Receive { head.received.bytes } else { head.sent.bytes };
        let length = u64::from(head.operation_len);
        let seen = head.bytes.len().min(head.operation_len as usize);
        let known = self.lane(way).position.saturating_sub(start);
        let skipped = usize::try_from(known).unwrap_or(seen).min(seen);
        let mut bytes = &head.bytes[..seen];
        bytes = &bytes[skipped..];
        let unseen = length.saturating_sub(known.max(seen as u64));
        if known == 0 {
            self.accept_start(way, bytes, context);
        }
        while !bytes.is_empty() && !self.is_upgraded {
            let used = match &mut self.lane(way).state {
                State::Between => self.begin(way, bytes, unseen > 0, head, context),
                State::Head(_) => self.resume(way, bytes, unseen > 0, head.time_ns, context),
                State::Body(_) => {
                    let (used, ended) = self.lane(way).feed(bytes, head.time_ns);
                    if ended {
                        self.ended(way, context);
                    }
                    used
                }
                State::Unknown => {
                    self.pass(way, bytes.len() as u64, head.time_ns, context);
                    bytes.len()
                }
            };
            bytes = bytes.get(used..).unwrap_or_default();
        }
        self.pass(way, unseen, head.time_ns, context);
        self.lane(way).add_to_tail(&head.bytes[..seen], unseen > 0 || known > 0);
        self.doubt(context);
    }

    /// Lets `left` unseen bytes pass.
    pub(super) fn pass(&mut self, way: Direction, mut left: u64, time_ns: u64, context: &mut Context<'_>) {
        while left > 0 && !self.is_upgraded {
            match self.lane(way).pass(&mut left, time_ns) {
                Passed::All => {}
                Passed::Ended => self.ended(way, context),
                Passed::Cut => self.cut(way, true, context),
                Passed::Hole(bytes) if bytes >= SHORTEST_MESSAGE => self.hole(way, context),
                Passed::Hole(_) => {}
            }
        }
    }

    /// Where the end of the present message cannot be told, an operation that begins with a whole start line
    /// may be the next message. The rules are strict, for a body may hold the same bytes.
    fn accept_start(&mut self, way: Direction, bytes: &[u8], context: &mut Context<'_>) {
        let lane = self.lane(way);
        let tail = Tail::new(lane.tail);
        let is_empty_line = matches!(tail, Tail::LastChunk | Tail::EmptyLine);
        let is_blind = match lane.state {
            State::Body(Body::Blind) => true,
            State::Body(Body::UntilClose) | State::Unknown => false,
            _ => return,
        };
        let line = start_line::read(bytes);
        let accepts = if self.request_way() == Some(way) {
            match (line, is_blind) {
                (StartLine::Request(_), true) if tail == Tail::Unknown => self.is_request_answered(),
                (StartLine::Request(_) | StartLine::Partial, true) => is_empty_line,
                (StartLine::Request(_) | StartLine::Partial, false) => self.is_request_answered(),
                _ => false,
            }
        } else {
            match (line, is_blind) {
                (StartLine::Response { .. }, true) => tail != Tail::Other && !self.is_answering(),
                (StartLine::Partial, true) => is_empty_line && !self.is_answering(),
                (StartLine::Response { .. }, false) => !self.is_answering(),
                _ => false,
            }
        };
        if accepts {
            if is_blind && !self.is_request_answered() && self.request_way() == Some(way) {
                self.is_pipelined = true;
                self.is_lost = true;
            }
            self.lane(way).end();
            self.lane(way).is_certain = is_empty_line && is_blind;
            self.ended(way, context);
        }
    }

    /// Reads the beginning of a message; how many bytes were used.
    fn begin(
        &mut self,
        way: Direction,
        bytes: &[u8],
        is_more: bool,
        head: &Head<'_>,
        context: &mut Context<'_>,
    ) -> usize {
        let is_request_way = self.request_way() == Some(way);
        let lane = self.lane(way);
        // RFC 9112 section 2.2: empty lines before a request line are ignored.
        let blank = bytes.iter().take_while(|&&byte| byte == b'\r' || byte == b'\n').count();
        if is_request_way && blank > 0 {
            lane.position += blank as u64;
            return blank;
        }
        let is_certain = lane.is_certain || !lane.ends_in_letter();
        let origin = Origin { first_ns: head.time_ns, task: head.task, endpoints: head.endpoints };
        let line = start_line::read(bytes);
        let end = match line {
            StartLine::Foreign => {
                self.junk(way, bytes.len() as u64, context);
                return bytes.len();
            }
            StartLine::Partial => None,
            StartLine::Request(_) | StartLine::Response { .. } => start_line::head_end(bytes, 0),
        };
        if let Some(end) = end {
            lane.position += end as u64;
            let size = Some(end as u64);
            let arrival = Arrival { origin, last_ns: head.time_ns, size, is_truncated: false, is_certain };
            self.start(way, line, &bytes[..end], arrival, context);
            return end;
        }
        lane.position += bytes.len() as u64;
        let partial = Partial { bytes: bytes.to_vec(), origin, last_ns: head.time_ns, is_certain };
        lane.state = State::Head(Box::new(partial));
        if is_more || bytes.len() >= context.limits.head {
            self.cut(way, true, context);
        }
        bytes.len()
    }

    /// Adds to a head; how many bytes were used.
    fn resume(
        &mut self,
        way: Direction,
        bytes: &[u8],
        is_more: bool,
        time_ns: u64,
        context: &mut Context<'_>,
    ) -> usize {
        let lane = self.lane(way);
        let State::Head(partial) = &mut lane.state else { return bytes.len() };
        let before = partial.bytes.len();
        let taken = context.limits.head.saturating_sub(before).min(bytes.len());
        partial.bytes.extend_from_slice(&bytes[..taken]);
        partial.last_ns = time_ns;
        let Some(end) = start_line::head_end(&partial.bytes, before.saturating_sub(3)) else {
            lane.position += bytes.len() as u64;
            let is_full = is_more || taken < bytes.len() || partial.bytes.len() >= context.limits.head;
            if start_line::read(&partial.bytes) == StartLine::Foreign {
                let length = partial.bytes.len() as u64;
                lane.position -= length.min(lane.position);
                self.junk(way, length, context);
            } else if is_full {
                self.cut(way, true, context);
            }
            return bytes.len();
        };
        let used = end - before;
        lane.position += used as u64;
        let State::Head(partial) = std::mem::replace(&mut lane.state, State::Unknown) else { return used };
        let Partial { bytes: head, origin, last_ns, is_certain } = *partial;
        let size = Some(end as u64);
        let arrival = Arrival { origin, last_ns, size, is_truncated: false, is_certain };
        self.start(way, start_line::read(&head), &head[..end], arrival, context);
        used
    }

    /// A whole head was seen.
    fn start(
        &mut self,
        way: Direction,
        line: StartLine<'_>,
        head: &[u8],
        arrival: Arrival,
        context: &mut Context<'_>,
    ) {
        match line {
            StartLine::Request(line) if self.take_role(way, true, context) => {
                let head = RequestHead::read(&line, head);
                self.request_started(head, arrival, context);
            }
            StartLine::Response { status, version } if self.take_role(way, false, context) => {
                let head = ResponseHead::read(status, version, head);
                self.response_started(&head, arrival, context);
            }
            _ => self.junk(way, 0, context),
        }
    }

    /// A head will not be seen to its end, because the capture (`is_truncated`) or the connection ended before.
    pub(super) fn cut(&mut self, way: Direction, is_truncated: bool, context: &mut Context<'_>) {
        let State::Head(partial) = std::mem::replace(&mut self.lane(way).state, State::Unknown) else {
            return;
        };
        let Partial { bytes, origin, last_ns, is_certain } = *partial;
        let arrival = Arrival { origin, last_ns, size: None, is_truncated, is_certain };
        let line = start_line::read(&bytes);
        let is_response = match line {
            StartLine::Response { .. } => true,
            StartLine::Request(_) => false,
            _ => bytes.starts_with(b"HTTP/") || self.role.is_some() && self.request_way() != Some(way),
        };
        if !self.take_role(way, !is_response, context) {
            self.junk(way, 0, context);
        } else if let StartLine::Response { status, version } = line {
            let head = ResponseHead { status, version, ..ResponseHead::default() };
            self.response_started(&head, arrival, context);
        } else if is_response {
            self.response_missed(Loss::CutStartLine, context);
        } else {
            self.request_started(RequestHead::read_cut(&bytes), arrival, context);
        }
    }

    /// Bytes where a message should begin are none.
    fn junk(&mut self, way: Direction, length: u64, context: &mut Context<'_>) {
        context.losses.add(Loss::Unparsed);
        let is_request_way = self.request_way() == Some(way);
        let is_known = self.role.is_some();
        if is_request_way {
            self.leave_request();
        }
        let lane = self.lane(way);
        let is_certain = std::mem::take(&mut lane.is_certain);
        lane.position = lane.position.saturating_add(length);
        lane.state = if is_known { State::Unknown } else { State::Between };
        if is_known && (!is_request_way || is_certain && length >= SHORTEST_MESSAGE) {
            self.hole(way, context);
        }
    }

    /// Whether a message of this kind in this direction fits the connection's role. As long as nothing was
    /// paired, a message may correct what the ones before made believe.
    fn take_role(&mut self, way: Direction, is_request: bool, context: &mut Context<'_>) -> bool {
        let role = if (way == Direction::Receive) == is_request { Role::Server } else { Role::Client };
        match self.role {
            Some(known) if known == role => true,
            Some(_) if self.is_settled || self.queue.iter().any(|pending| pending.is_http()) => false,
            Some(_) => {
                self.abandon(Loss::Unparsed, context);
                for lane in &mut self.lanes {
                    lane.state = State::Between;
                    lane.is_certain = false;
                }
                self.is_lost = false;
                self.is_pipelined = false;
                self.role = Some(role);
                true
            }
            None => {
                self.role = Some(role);
                true
            }
        }
    }
}
