//! What is told of a connection.

use std::net::SocketAddr;

use crate::protocol::Task;

/// Both ends of a connection as one of its sockets sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// Inode number of the socket's network namespace.
    pub netns: u32,
    /// The socket's own address.
    pub local: SocketAddr,
    /// The other end's address, as this socket knows it.
    pub remote: SocketAddr,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A process connected.
    Opened,
    /// A listener's connection was established.
    Accepted,
    /// A process tried to connect in vain.
    Failed,
    /// An established connection is over.
    Closed,
    /// A process listens.
    Listen,
    /// A reset was sent.
    ResetSent,
    /// A reset was received.
    ResetReceived,
}

/// A change of a connection, as the kernel's programs tell it.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// What happened.
    pub what: What,
    /// When, in nanoseconds of `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// When the process started to connect.
    pub started_ns: Option<u64>,
    /// The socket's error, a number of `errno.h`; 0 when there is none.
    pub error: i32,
    /// What has passed, where the connection is over.
    pub totals: Totals,
    /// Who connected or listens.
    pub task: Option<Task>,
    /// Between whom.
    pub ends: Ends,
    /// The kernel's number of the socket, where it has been given one.
    pub cookie: Option<u64>,
}

/// What has passed on a connection, by the kernel's own figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Payload sent, each byte once.
    pub sent_bytes: u64,
    /// Payload received; the end of the stream counts as one byte more.
    pub received_bytes: u64,
    /// Segments sent, without payload too.
    pub sent_segments: u32,
    /// Segments received, without payload too.
    pub received_segments: u32,
    /// Segments sent again.
    pub retransmits: u32,
    /// Smoothed round-trip time in microseconds; 0 when none was measured.
    pub rtt_us: u32,
}

impl Totals {
    /// What has passed since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            sent_bytes: self.sent_bytes.saturating_sub(before.sent_bytes),
            received_bytes: self.received_bytes.saturating_sub(before.received_bytes),
            sent_segments: self.sent_segments.wrapping_sub(before.sent_segments),
            received_segments: self.received_segments.wrapping_sub(before.received_segments),
            retransmits: self.retransmits.wrapping_sub(before.retransmits),
            rtt_us: self.rtt_us,
        }
    }
}

impl From<sensor_common::flow::Totals> for Totals {
    fn from(totals: sensor_common::flow::Totals) -> Self {
        Self {
            sent_bytes: totals.bytes_sent.saturating_sub(totals.bytes_retransmitted),
            received_bytes: totals.bytes_received,
            sent_segments: totals.segments_sent,
            received_segments: totals.segments_received,
            retransmits: totals.retransmits,
            rtt_us: totals.rtt_us,
        }
    }
}
