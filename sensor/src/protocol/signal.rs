//! What is told of a request while it is open, before its exchange is whole.

use super::{Endpoints, Role, Task};

/// A request, unique while the sensor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExchangeKey {
    /// [`super::Connection::id`].
    pub connection: u64,
    /// Which request of the connection.
    pub request: u64,
}

/// One thing that happened to a request. Signals come in the order of the events, over all connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Its head was seen.
    Started(Box<Started>),
    /// Its response's head was seen.
    Answered {
        /// Which request.
        key: ExchangeKey,
        /// The thread that sent or received the response's first bytes.
        tid: u32,
        /// When they moved; nanoseconds of `CLOCK_MONOTONIC`.
        time_ns: u64,
    },
    /// It is over.
    Ended {
        /// Which request.
        key: ExchangeKey,
        /// When its last byte moved, or its connection ended; nanoseconds of `CLOCK_MONOTONIC`.
        time_ns: u64,
        /// Its exchange is told, now or later.
        is_told: bool,
    },
}

/// A request that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// Which request.
    pub key: ExchangeKey,
    /// Which side the local process is.
    pub role: Role,
    /// The thread that received or sent its first bytes.
    pub task: Task,
    /// Both ends.
    pub endpoints: Endpoints,
    /// When its first byte moved.
    pub time_ns: u64,
    /// The header fields that tell of a trace.
    pub headers: Vec<(&'static str, String)>,
}

impl Started {
    /// Whether a kept header field tells of a trace.
    pub(super) fn tells_of_trace(name: &str) -> bool {
        name != "user-agent"
    }
}
