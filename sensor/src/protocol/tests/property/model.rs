//! Random HTTP/1 connections, played on a bench, with what is to be told of them.

use super::super::{Bench, Direction, MS, Recorded, Role};

/// Random numbers, or zeros when they are used up.
pub(super) struct Entropy(std::vec::IntoIter<u16>);

/// What a connection is like.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    /// Some requests are chunked.
    pub(super) has_chunked_requests: bool,
    /// Some responses are chunked.
    pub(super) has_chunked_responses: bool,
    pub(super) is_pipelined: bool,
    /// Length-delimited bodies hold messages, and operations begin with them.
    pub(super) has_traps: bool,
    /// Heads are split, too.
    pub(super) splits_heads: bool,
}

/// What is to be told of one exchange.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) status: u16,
    pub(super) request_body: u64,
    pub(super) response_body: u64,
    /// First and last byte.
    pub(super) request_ns: (u64, u64),
    pub(super) response_ns: (u64, u64),
    /// The response began before the request's end.
    pub(super) is_early: bool,
    /// The event with the request's first bytes was not lost.
    pub(super) is_seen: bool,
}

/// A message as operations.
struct Message {
    exchange: usize,
    is_request: bool,
    /// Head, and what is in the same operation with it.
    bytes: Vec<u8>,
    head: usize,
    /// Where operations may end.
    traps: Vec<usize>,
    sent: usize,
}

struct Player<'a, Lose> {
    bench: &'a mut Bench,
    entropy: &'a mut Entropy,
    plan: Plan,
    lose: Lose,
    now_ms: u64,
    events: usize,
    expected: Vec<Expected>,
}

/// Plays a random connection to its close; `lose` says which events are lost, by their number.
pub(super) fn play(
    bench: &mut Bench,
    plan: Plan,
    entropy: &mut Entropy,
    lose: impl FnMut(usize) -> bool,
) -> Vec<Expected> {
    let mut player = Player { bench, entropy, plan, lose, now_ms: 1, events: 0, expected: Vec::new() };
    if plan.is_pipelined {
        player.play_pipelined();
    } else {
        player.play_in_turn();
    }
    player.finish();
    player.expected
}

impl Entropy {
    pub(super) fn new(numbers: Vec<u16>) -> Self {
        Self(numbers.into_iter())
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.0.next().unwrap_or(0)) % bound
    }

    fn is_used_up(&self) -> bool {
        self.0.len() == 0
    }
}

impl<Lose: FnMut(usize) -> bool> Player<'_, Lose> {
    /// One exchange after the other.
    fn play_in_turn(&mut self) {
        while !self.entropy.is_used_up() {
            let number = self.expected.len();
            let mut request = self.request(number);
            let is_last = self.entropy.below(12) == 0;
            let is_early = self.plan.has_traps && self.entropy.below(8) == 0;
            while request.sent < request.bytes.len() {
                self.send(&mut request);
                if is_early && request.sent >= request.head && request.is_delimited() {
                    break;
                }
            }
            self.expected[number].is_early = request.sent < request.bytes.len();
            for _ in 0..self.entropy.below(8) / 6 {
                let mut interim = Message::new(number, false, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
                while interim.sent < interim.bytes.len() {
                    self.send_part(&mut interim, false);
                }
            }
            let mut response = self.response(number, is_last);
            while response.sent < response.bytes.len() {
                self.send(&mut response);
            }
            while request.sent < request.bytes.len() {
                self.send(&mut request);
            }
            self.now_ms += self.entropy.below(4) as u64 * 40;
            self.poll();
            if is_last {
                break;
            }
        }
    }

    /// Requests that overtake responses. The first operation has two of them, so that this is known.
    fn play_pipelined(&mut self) {
        let mut waiting = std::collections::VecDeque::new();
        let both = [self.small_request(0), self.small_request(1)].concat();
        let is_seen = self.operation(true, &both);
        for number in 0..2 {
            let time = self.now_ms * MS;
            self.expected[number].request_ns = (time, time);
            self.expected[number].is_seen = is_seen;
            waiting.push_back(number);
        }
        let mut current: Option<Message> = None;
        loop {
            let may_ask = !self.entropy.is_used_up() && waiting.len() < 20;
            if may_ask && self.entropy.below(2) == 0 {
                let number = self.expected.len();
                let mut request = self.request(number);
                while request.sent < request.bytes.len() {
                    self.send(&mut request);
                }
                waiting.push_back(number);
            } else if let Some(response) = &mut current {
                let mut response = std::mem::replace(response, Message::new(0, false, b""));
                self.send(&mut response);
                current = (response.sent < response.bytes.len()).then_some(response);
            } else if let Some(number) = waiting.pop_front() {
                let mut response = self.response(number, false);
                while response.sent < response.head {
                    self.send(&mut response);
                }
                current = (response.sent < response.bytes.len()).then_some(response);
            } else if !may_ask {
                return;
            }
        }
    }

    fn finish(&mut self) {
        self.now_ms += 1;
        let event = self.bench.kernel.close(self.now_ms * MS);
        self.tell(event);
        for _ in 0..10 {
            self.now_ms += 10_000;
            self.bench.poll(self.now_ms);
        }
        self.bench.tracker.finish(self.now_ms * MS, &mut self.bench.out);
    }

    fn small_request(&mut self, number: usize) -> Vec<u8> {
        let status = self.status();
        let path = format!("/s/{status}/{number}");
        let bytes = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes();
        self.expected.push(Expected { method: "GET".to_owned(), path, status, ..Expected::default() });
        bytes
    }

    fn status(&mut self) -> u16 {
        loop {
            let status = 200 + u16::try_from(self.entropy.below(400)).unwrap();
            if !matches!(status, 204 | 304 | 408) {
                return status;
            }
        }
    }

    /// Makes a request and what is expected of its exchange.
    fn request(&mut self, number: usize) -> Message {
        let methods = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "M-SEARCH"];
        let method = methods[self.entropy.below(methods.len())];
        let status = match self.entropy.below(8) {
            0 => [204, 304][self.entropy.below(2)],
            _ => self.status(),
        };
        let path = format!("/s/{status}/{number}");
        let start = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n");
        let message = match self.entropy.below(4) {
            0 => self.delimited(number, true, &start),
            1 if self.plan.has_chunked_requests => self.chunked(number, true, &start),
            _ => Message::new(number, true, format!("{start}\r\n").as_bytes()),
        };
        let request_body = (message.bytes.len() - message.head) as u64;
        let method = method.to_owned();
        self.expected.push(Expected { method, path, status, request_body, ..Expected::default() });
        message
    }

    fn response(&mut self, number: usize, is_last: bool) -> Message {
        let Expected { status, method, .. } = self.expected[number].clone();
        let start = format!("HTTP/1.1 {status} Some Reason\r\nServer: y\r\n");
        let message = if method == "HEAD" || matches!(status, 204 | 304) {
            Message::new(number, false, format!("{start}Content-Length: 77\r\n\r\n").as_bytes())
        } else if is_last {
            let mut message = Message::new(number, false, format!("{start}\r\n").as_bytes());
            let length = self.length();
            message.bytes.extend(std::iter::repeat_n(b'u', length));
            message
        } else if !self.plan.has_chunked_responses || self.entropy.below(2) == 0 {
            self.delimited(number, false, &start)
        } else {
            self.chunked(number, false, &start)
        };
        self.expected[number].response_body = (message.bytes.len() - message.head) as u64;
        message
    }

    fn length(&mut self) -> usize {
        let bound = [1, 20, 3000][self.entropy.below(3)];
        self.entropy.below(bound)
    }

    fn delimited(&mut self, exchange: usize, is_request: bool, start: &str) -> Message {
        let length = self.length();
        let head = format!("{start}Content-Length: {length}\r\n\r\n");
        let mut message = Message::new(exchange, is_request, head.as_bytes());
        message.bytes.extend(std::iter::repeat_n(b'b', length));
        let traps = ["GET /trap HTTP/1.1\r\n\r\n", "HTTP/1.1 299 Trap\r\nContent-Length: 0\r\n\r\n"];
        let trap = traps[self.entropy.below(2)].as_bytes();
        if self.plan.has_traps && length > 2 * trap.len() {
            let at = message.head + self.entropy.below(length - trap.len());
            message.bytes[at..at + trap.len()].copy_from_slice(trap);
            message.traps = vec![at, at + trap.len()];
        }
        message
    }

    fn chunked(&mut self, exchange: usize, is_request: bool, start: &str) -> Message {
        let head = format!("{start}Transfer-Encoding: chunked\r\n\r\n");
        let mut message = Message::new(exchange, is_request, head.as_bytes());
        for _ in 0..self.entropy.below(4) {
            let length = self.length() + 1;
            message.bytes.extend_from_slice(format!("{length:x}\r\n").as_bytes());
            message.bytes.extend(std::iter::repeat_n(b'c', length));
            message.bytes.extend_from_slice(b"\r\n");
        }
        let trailers: [&[u8]; 2] = [b"0\r\n\r\n", b"0\r\nX-Sum: 5\r\n\r\n"];
        message.bytes.extend_from_slice(trailers[self.entropy.below(2)]);
        message
    }

    /// Sends the next operation of a message, and notes its time.
    fn send(&mut self, message: &mut Message) {
        self.send_part(message, true);
    }

    fn send_part(&mut self, message: &mut Message, is_noted: bool) {
        let left = message.bytes.len() - message.sent;
        let way = self.way(message.is_request);
        let mut length = match self.entropy.below(3) {
            0 => 1 + self.entropy.below(left),
            1 => 1 + self.entropy.below(left.min(12)),
            _ => left,
        };
        if message.sent == 0 && (!self.plan.splits_heads || !is_noted) {
            length = length.max(message.head);
        } else if message.sent == 0 && !self.bench.kernel.is_fresh(way) {
            length = length.max(8).min(left);
        }
        if let Some(&trap) = message.traps.iter().find(|&&trap| trap > message.sent) {
            length = length.min(trap - message.sent);
        }
        self.now_ms += 1 + self.entropy.below(3) as u64;
        let is_seen = self.operation(message.is_request, &message.bytes[message.sent..message.sent + length]);
        let time = self.now_ms * MS;
        if is_noted {
            let expected = &mut self.expected[message.exchange];
            let span = if message.is_request { &mut expected.request_ns } else { &mut expected.response_ns };
            if message.sent == 0 {
                span.0 = time;
                expected.is_seen |= message.is_request && is_seen;
            }
            let span = if message.is_request { &mut expected.request_ns } else { &mut expected.response_ns };
            span.1 = time;
        }
        message.sent += length;
        if self.entropy.below(20) == 0 {
            self.poll();
        }
    }

    fn way(&self, is_request: bool) -> Direction {
        if is_request == (self.bench.role == Role::Server) { Direction::Receive } else { Direction::Send }
    }

    /// One operation; whether its event was told.
    fn operation(&mut self, is_request: bool, bytes: &[u8]) -> bool {
        let way = self.way(is_request);
        let event = self.bench.kernel.operation(way, bytes, self.now_ms * MS);
        self.tell(event)
    }

    fn tell(&mut self, event: Option<Recorded>) -> bool {
        let Some(event) = event else { return false };
        self.events += 1;
        let is_lost = (self.lose)(self.events - 1);
        if !is_lost {
            self.bench.tell(Some(event));
        }
        !is_lost
    }

    fn poll(&mut self) {
        self.bench.poll(self.now_ms);
    }
}

impl Message {
    fn new(exchange: usize, is_request: bool, head: &[u8]) -> Self {
        Self { exchange, is_request, bytes: head.to_vec(), head: head.len(), traps: Vec::new(), sent: 0 }
    }

    fn is_delimited(&self) -> bool {
        self.bytes[..self.head].windows(15).any(|window| window == b"Content-Length:")
    }
}
