//! Connections below HTTP: the records of the ring buffer `FLOW_EVENTS`, the offsets they need, and the counters of
//! what was lost.
//!
//! The ring buffer is one of its own, so that a flood of connections and a flood of requests cannot starve each other.

use crate::record::{Prefix, Record, Task, Tuple};

/// What a [`Flow`] record tells: its [`Prefix::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum FlowKind {
    /// A process connected: `SYN_SENT` became `ESTABLISHED`.
    Opened = 1,
    /// A listener's connection was established: `SYN_RECV` became `ESTABLISHED`. Has no task.
    Accepted = 2,
    /// A process tried to connect in vain; [`Flow::error`] says why, 0 when the process gave up itself.
    Failed = 3,
    /// An established connection reached `CLOSE`. Has no task; the totals are final.
    Closed = 4,
    /// A process listens from now on.
    Listen = 5,
    /// A reset was sent on a connection. Has neither task nor totals.
    ResetSent = 6,
    /// A reset was received on a connection. Has neither task nor totals.
    ResetReceived = 7,
    /// A message of the name service that a local client sent or received. The record is a [`Head`](crate::record::Head)
    /// without streams, followed by the first bytes of the message, or of the operation where [`STREAM`] is set.
    Dns = 8,
    /// What is spoken on a connection was seen. The record is a [`Named`].
    Named = 9,
}

/// In the prefix of a [`FlowKind::Dns`]: the bytes are of a TCP stream, where each message has its length before it.
pub const STREAM: u16 = 4;
/// The most bytes of a DNS message that are captured: what fits into one packet everywhere (DNS flag day 2020).
pub const DNS_CAPACITY: u32 = 1232;

/// A change of one TCP connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Flow {
    /// A [`FlowKind`]; no flags, no payload.
    pub prefix: Prefix,
    /// When it happened, in nanoseconds of `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// When the process started to connect, by the same clock; 0 where that is not known or there was no such process.
    pub started_ns: u64,
    /// `sock.sk_err` at that moment, a number of `errno.h`; 0 when there is none.
    pub error: u32,
    /// Explicit padding.
    pub padding: u32,
    /// What has passed.
    pub totals: Totals,
    /// Who connected or listens; zeros where the kind has none or it is not known.
    pub task: Task,
    /// Between whom.
    pub tuple: Tuple,
}

/// What is spoken on a connection, as far as it is not HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Named {
    /// A [`FlowKind::Named`]; flags: a [`crate::protocol::NetworkProtocol`].
    pub prefix: Prefix,
    /// When, in nanoseconds of `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// Between whom.
    pub tuple: Tuple,
}

/// The kernel's own figures of a connection (`struct tcp_sock`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Totals {
    /// `bytes_sent`: payload sent, with what was sent again.
    pub bytes_sent: u64,
    /// `bytes_retrans`: payload that was sent again.
    pub bytes_retransmitted: u64,
    /// `bytes_received`: payload received in order; the end of the stream counts as one byte more.
    pub bytes_received: u64,
    /// `segs_out`
    pub segments_sent: u32,
    /// `segs_in`
    pub segments_received: u32,
    /// `total_retrans`: segments sent again, handshake included.
    pub retransmits: u32,
    /// Smoothed round-trip time in microseconds (`srtt_us`, which holds eight times of it); 0 when none was measured.
    pub rtt_us: u32,
}

const _: () = assert!(size_of::<Totals>() == 40);
const _: () = assert!(size_of::<Flow>() == 144);
const _: () = assert!(size_of::<Named>() == 64);

// SAFETY: integers and byte arrays only, and the size asserts above leave no room for implicit padding.
unsafe impl Record for Flow {}
// SAFETY: as above.
unsafe impl Record for Named {}

/// Byte offsets of members that only these programs read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FlowOffsets {
    /// `sock_common.skc_state`
    pub skc_state: u32,
    /// `sock.sk_err`
    pub sk_err: u32,
    /// `inet_sock.inet_sport`
    pub inet_sport: u32,
    /// `tcp_sock.bytes_sent`
    pub bytes_sent: u32,
    /// `tcp_sock.bytes_retrans`
    pub bytes_retrans: u32,
    /// `tcp_sock.bytes_received`
    pub bytes_received: u32,
    /// `tcp_sock.segs_out`
    pub segs_out: u32,
    /// `tcp_sock.segs_in`
    pub segs_in: u32,
    /// `tcp_sock.total_retrans`
    pub total_retrans: u32,
    /// `tcp_sock.srtt_us`
    pub srtt_us: u32,
    /// `msghdr.msg_name`
    pub msghdr_name: u32,
}

impl FlowOffsets {
    /// All zero: what the programs are compiled with.
    pub const ZERO: Self = Self {
        skc_state: 0,
        sk_err: 0,
        inet_sport: 0,
        bytes_sent: 0,
        bytes_retrans: 0,
        bytes_received: 0,
        segs_out: 0,
        segs_in: 0,
        total_retrans: 0,
        srtt_us: 0,
        msghdr_name: 0,
    };
}

/// One slot of the per-CPU counter array `FLOW_COUNTERS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FlowCounter {
    /// Records written.
    Records = 0,
    /// No room in the ring buffer for [`FlowKind::Opened`].
    OpenedLost = 1,
    /// No room in the ring buffer for [`FlowKind::Accepted`].
    AcceptedLost = 2,
    /// No room in the ring buffer for [`FlowKind::Failed`].
    FailedLost = 3,
    /// No room in the ring buffer for [`FlowKind::Closed`].
    ClosedLost = 4,
    /// No room in the ring buffer for another record.
    OtherLost = 5,
    /// The map of connections that are being opened was full: when and by whom this one was started is not known.
    ConnectingFull = 6,
    /// Kernel memory at an offset that the BTF named could not be read, so a record was not made.
    KernelMemory = 7,
    /// Resets sent for no connection of this host, such as the answer to a closed port.
    ResetsWithoutConnection = 8,
    /// No room in the ring buffer for a [`FlowKind::Dns`].
    DnsLost = 9,
    /// A message of the name service was moved by a call whose buffers are not in user memory, or not known.
    DnsUnread = 10,
}

impl FlowCounter {
    /// All slots, in order.
    pub const ALL: [Self; Self::LEN as usize] = [
        Self::Records,
        Self::OpenedLost,
        Self::AcceptedLost,
        Self::FailedLost,
        Self::ClosedLost,
        Self::OtherLost,
        Self::ConnectingFull,
        Self::KernelMemory,
        Self::ResetsWithoutConnection,
        Self::DnsLost,
        Self::DnsUnread,
    ];

    /// How many slots there are.
    pub const LEN: u32 = 11;

    /// The cause of a loss as metrics name it; `None` for what only tells what was seen.
    #[must_use]
    pub const fn loss(self) -> Option<&'static str> {
        match self {
            Self::Records | Self::ResetsWithoutConnection => None,
            Self::OpenedLost => Some("flow_ring_full_opened"),
            Self::AcceptedLost => Some("flow_ring_full_accepted"),
            Self::FailedLost => Some("flow_ring_full_failed"),
            Self::ClosedLost => Some("flow_ring_full_closed"),
            Self::OtherLost => Some("flow_ring_full_other"),
            Self::ConnectingFull => Some("flow_connecting_full"),
            Self::KernelMemory => Some("flow_kernel_memory"),
            Self::DnsLost => Some("flow_ring_full_dns"),
            Self::DnsUnread => Some("flow_dns_unread"),
        }
    }
}
