//! Responses held back because their request may be told after them.
//!
//! On the socket route a send is told when it returns. A response to it can be received by another thread, and be
//! told, before that.

use crate::protocol::{Connection, Direction, Endpoints, Head, Stream, Task};

/// How much later than its response a request can be told: far longer than a thread waits for a processor.
pub(super) const HOLD_NS: u64 = 1_000_000_000;
/// How many operations are held back.
const LIMIT: usize = 4;

/// What is held back, in order; usually nothing.
#[derive(Debug, Default)]
pub(super) struct Held(Vec<HeldHead>);

/// A [`Head`] with bytes of its own.
#[derive(Debug)]
pub(super) struct HeldHead {
    connection: Connection,
    direction: Direction,
    is_continuation: bool,
    time_ns: u64,
    bytes: Vec<u8>,
    operation_len: u32,
    received: Stream,
    sent: Stream,
    task: Task,
    endpoints: Endpoints,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Holds one more back; `false` when there is no room.
    pub(super) fn push(&mut self, head: &Head<'_>) -> bool {
        let has_room = self.0.len() < LIMIT;
        if has_room {
            self.0.push(HeldHead {
                connection: head.connection,
                direction: head.direction,
                is_continuation: head.continuation,
                time_ns: head.time_ns,
                bytes: head.bytes.to_vec(),
                operation_len: head.operation_len,
                received: head.received,
                sent: head.sent,
                task: head.task,
                endpoints: head.endpoints,
            });
        }
        has_room
    }

    pub(super) fn take(&mut self) -> Vec<HeldHead> {
        std::mem::take(&mut self.0)
    }

    /// Whether `head` is the request that was waited for: the next bytes sent, told when the held response had
    /// been received already.
    pub(super) fn is_request(&self, head: &Head<'_>, sent_so_far: u64) -> bool {
        self.0.first().is_some_and(|first| {
            head.direction == Direction::Send
                && head.sent.bytes == sent_so_far
                && head.received.bytes > first.received.bytes
                && head.time_ns.saturating_sub(first.time_ns) < HOLD_NS
        })
    }
}

impl HeldHead {
    pub(super) fn received(&self) -> Stream {
        self.received
    }

    pub(super) fn head(&self) -> Head<'_> {
        Head {
            connection: self.connection,
            direction: self.direction,
            continuation: self.is_continuation,
            time_ns: self.time_ns,
            bytes: &self.bytes,
            operation_len: self.operation_len,
            received: self.received,
            sent: self.sent,
            task: self.task,
            endpoints: self.endpoints,
        }
    }
}
