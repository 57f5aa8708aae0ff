//! What the eBPF programs do with operations, for one connection.

use crate::protocol::{Close, Connection, Direction, Endpoints, Event, Head, Progress, Stream, Task};

/// The state of one connection.
pub(super) struct Kernel {
    connection: Connection,
    capture: u32,
    received: Stream,
    sent: Stream,
    head_left: [u32; 2],
    is_known: bool,
    is_closed: bool,
    is_end_told: bool,
    /// Direction and kind of the last message that began.
    last: Option<(Direction, Beginning)>,
}

/// An event with bytes of its own.
#[derive(Clone, Debug)]
pub(super) enum Recorded {
    Head { head: Head<'static>, bytes: Vec<u8> },
    Close(Close),
    Progress(Progress),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beginning {
    Request,
    Response,
    Other,
}

impl Recorded {
    pub(super) fn event(&self) -> Event<'_> {
        match self {
            Self::Head { head, bytes } => Event::Head(Head { bytes, ..*head }),
            Self::Close(close) => Event::Close(*close),
            Self::Progress(progress) => Event::Progress(*progress),
        }
    }
}

impl Kernel {
    pub(super) fn new(id: u64, capture: u32) -> Self {
        Self {
            connection: Connection { id, key: id },
            capture,
            received: Stream::default(),
            sent: Stream::default(),
            head_left: [0; 2],
            is_known: false,
            is_closed: false,
            is_end_told: false,
            last: None,
        }
    }

    pub(super) fn operation(&mut self, way: Direction, bytes: &[u8], time_ns: u64) -> Option<Recorded> {
        assert!(!bytes.is_empty(), "an operation moves bytes");
        let begins = beginning(bytes);
        if !self.is_known && begins == Beginning::Other {
            return None;
        }
        self.is_known = true;
        let (received, sent) = (self.received, self.sent);
        let length = u32::try_from(bytes.len()).unwrap();
        let left = &mut self.head_left[way as usize];
        let continues = *left > 0 && (begins == Beginning::Other || length < 8);
        let capture = match (continues, begins) {
            (true, _) => *left,
            (false, Beginning::Other) => 0,
            (false, _) => self.capture,
        };
        let captured = length.min(capture);
        let stream = if way == Direction::Receive { &mut self.received } else { &mut self.sent };
        stream.bytes += u64::from(length);
        stream.last_ns = time_ns;
        for &byte in bytes.iter().skip(bytes.len().saturating_sub(8)) {
            stream.tail.rotate_left(1);
            stream.tail[7] = byte;
        }
        *left = if stream.tail.ends_with(b"\r\n\r\n") { 0 } else { capture - captured };
        if captured == 0 {
            return None;
        }
        if !continues {
            self.is_end_told = false;
            self.last = Some((way, begins));
        }
        let head = Head {
            connection: self.connection,
            direction: way,
            continuation: continues,
            time_ns,
            bytes: &[],
            operation_len: length,
            received,
            sent,
            task: TASK,
            endpoints: endpoints(),
        };
        Some(Recorded::Head { head, bytes: bytes[..captured as usize].to_vec() })
    }

    /// Whether an operation that begins a message is taken for one however short it is.
    pub(super) fn is_fresh(&self, way: Direction) -> bool {
        self.head_left[way as usize] == 0
    }

    /// `count` body bytes in one operation whose last bytes are unknown.
    pub(super) fn bulk(&mut self, way: Direction, count: u64, time_ns: u64) {
        assert!(self.is_known && self.head_left[way as usize] == 0, "body bytes behind a head");
        let stream = if way == Direction::Receive { &mut self.received } else { &mut self.sent };
        *stream = Stream { bytes: stream.bytes + count, last_ns: time_ns, tail: [0; 8] };
    }

    pub(super) fn close(&mut self, time_ns: u64) -> Option<Recorded> {
        let is_told = self.is_known && !self.is_closed;
        self.is_closed = true;
        is_told.then(|| self.closed(time_ns, false))
    }

    pub(super) fn end_of_file(&mut self, time_ns: u64) -> Option<Recorded> {
        let is_client = self.last == Some((Direction::Receive, Beginning::Response));
        let is_told = is_client && !self.is_end_told;
        self.is_end_told |= is_told;
        is_told.then(|| self.closed(time_ns, true))
    }

    pub(super) fn progress(&self) -> Recorded {
        let streams = (self.is_known && !self.is_closed).then_some((self.received, self.sent));
        Recorded::Progress(Progress { connection: self.connection, streams })
    }

    fn closed(&self, time_ns: u64, end_of_file: bool) -> Recorded {
        let Self { connection, received, sent, .. } = *self;
        Recorded::Close(Close { connection, time_ns, end_of_file, received, sent })
    }
}

pub(super) const TASK: Task = Task { tgid: 7, tid: 8, comm: *b"server\0\0\0\0\0\0\0\0\0\0" };

pub(super) fn endpoints() -> Endpoints {
    Endpoints {
        local: ([127, 0, 0, 1], 8080).into(),
        remote: ([127, 0, 0, 1], 40_000).into(),
        netns: 1,
        cookie: None,
        path: None,
    }
}

fn beginning(bytes: &[u8]) -> Beginning {
    let word = &bytes[..bytes.len().min(8)];
    if word.len() >= 5 && word[..word.len().min(7)] == b"HTTP/1."[..word.len().min(7)] {
        return Beginning::Response;
    }
    if !word[0].is_ascii_uppercase() {
        return Beginning::Other;
    }
    match word.iter().position(|byte| !matches!(byte, b'A'..=b'Z' | b'-')) {
        None => Beginning::Request,
        Some(first) if first >= 2 && word[first] == b' ' => Beginning::Request,
        Some(_) => Beginning::Other,
    }
}
