//! One direction of a connection: in which message it is, by stream offset.

use super::{body::Body, framing::Framing};
use crate::protocol::{Endpoints, Task};

/// Where a message lies in time, and how long it is as far as it came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    /// Which request this is the message of, counted on the connection; 0 for none.
    pub(super) request: u64,
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
    pub(super) head_bytes: Option<u64>,
    pub(super) body_bytes: Option<u64>,
}

/// A head that is not yet whole.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) bytes: Vec<u8>,
    pub(super) origin: Origin,
    pub(super) last_ns: u64,
    /// Whether the message boundary before it is certain.
    pub(super) is_certain: bool,
}

/// The operation in which a message began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) first_ns: u64,
    pub(super) task: Task,
    pub(super) endpoints: Endpoints,
}

/// What the lane is in.
#[derive(Debug)]
pub(super) enum State {
    /// Between two messages; the next byte begins one.
    Between,
    /// In a head of which everything so far was seen.
    Head(Box<Partial>),
    /// In a body.
    Body(Body),
    /// In something whose end cannot be told: a message with a cut head, or no message that is known.
    Unknown,
}

/// What happened while unseen bytes passed.
#[derive(Debug)]
pub(super) enum Passed {
    /// All of them belong to what the lane is in.
    All,
    /// The message ended.
    Ended,
    /// A head was not seen to its end.
    Cut,
    /// So many bytes passed where a message should have begun.
    Hole(u64),
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Lane {
    /// The stream offset up to which everything has been taken.
    pub(super) position: u64,
    /// The last bytes before an operation, as the kernel told them last; zeros for unknown ones.
    pub(super) tail: [u8; 8],
    /// The message that the lane is in, or was in last.
    pub(super) span: Span,
    pub(super) state: State,
    /// Whether `position` is known to be a message boundary, when the lane is between messages.
    pub(super) is_certain: bool,
}

impl Lane {
    /// A lane of which nothing is known before `position`.
    pub(super) fn new(position: u64, tail: [u8; 8]) -> Self {
        let certain = position == 0;
        Self { position, tail, span: Span::default(), state: State::Between, is_certain: certain }
    }

    /// Lets up to `left` unseen bytes pass, the last of which moved at `time_ns`, until something happens.
    ///
    /// When they go beyond the end of a body, `time_ns` is only an upper bound of that end's time; nothing
    /// closer is known then.
    pub(super) fn pass(&mut self, left: &mut u64, time_ns: u64) -> Passed {
        let (used, passed) = match &mut self.state {
            State::Between => (*left, Passed::Hole(*left)),
            State::Head(_) => (0, Passed::Cut),
            State::Body(body) => {
                let (used, ended) = body.skip(*left);
                (used, if ended { Passed::Ended } else { Passed::All })
            }
            State::Unknown => (*left, Passed::All),
        };
        if matches!(self.state, State::Between) {
            self.is_certain = false;
            self.position = self.position.saturating_add(used);
        } else {
            self.take(used, time_ns);
        }
        *left -= used;
        if matches!(passed, Passed::Ended) {
            self.end();
        }
        passed
    }

    /// Takes seen bytes of the body: how many belong to it, and whether it ended.
    pub(super) fn feed(&mut self, bytes: &[u8], time_ns: u64) -> (usize, bool) {
        let State::Body(body) = &mut self.state else { return (0, false) };
        let (used, ended) = body.feed(bytes);
        self.take(used as u64, time_ns);
        if ended {
            self.end();
        }
        (used, ended)
    }

    /// The lane comes into the body that a head announced.
    pub(super) fn enter(&mut self, framing: Framing) {
        match Body::new(framing) {
            Ok(None) => self.end(),
            Ok(Some(body)) => self.state = State::Body(body),
            Err(()) => self.state = State::Unknown,
        }
    }

    /// An operation's bytes are behind the stream now, or some that were not seen.
    pub(super) fn add_to_tail(&mut self, bytes: &[u8], is_unseen_behind: bool) {
        if is_unseen_behind {
            self.tail = [0; 8];
            return;
        }
        let added = bytes.len().min(8);
        self.tail.rotate_left(added);
        self.tail[8 - added..].copy_from_slice(&bytes[bytes.len() - added..]);
    }

    /// Whether the last bytes before an operation may be the beginning of a method that goes on in it.
    pub(super) fn ends_in_letter(&self) -> bool {
        matches!(self.tail[7], b'A'..=b'Z' | b'-' | b'_')
    }

    /// The message ends at the present position.
    pub(super) fn end(&mut self) {
        self.state = State::Between;
        self.is_certain = true;
    }

    fn take(&mut self, used: u64, time_ns: u64) {
        self.position = self.position.saturating_add(used);
        if used > 0 {
            self.span.last_ns = self.span.last_ns.max(time_ns);
            self.span.body_bytes = self.span.body_bytes.map(|bytes| bytes.saturating_add(used));
        }
    }
}
