//! The maps, each with its bound and what happens there.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, HashMap, PerCpuArray, ProgramArray, RingBuf},
};
use sensor_common::{
    cause::Counter,
    connection::Connection,
    http2::{Way, Ways},
    mask::{PATH_WORDS, State},
    record::{Frames, HEAD_CAPACITY, Head, PATH_CAPACITY, Path},
    target,
};

use crate::{buffers::Buffers, message::Look, started::Started};

/// Records for the daemon. Full: the record is dropped and counted by what it was.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

/// Followed connections by the address of their `struct sock`; dropped when the socket is destroyed. Full: a
/// new connection is not followed, and counted.
#[map]
pub(crate) static CONNECTIONS: HashMap<u64, Connection> = HashMap::with_max_entries(32_768, 0);

/// Where the frames of followed HTTP/2 connections are, keyed as [`CONNECTIONS`]. Full: a new connection is not followed,
/// and counted.
#[map]
pub(crate) static FRAMES: HashMap<u64, Ways> = HashMap::with_max_entries(8192, 0);

/// The programs that finish an operation, at [`crate::next::Next::place`]: for the socket and syscall routes, whose
/// hooks are raw tracepoints.
#[map]
pub(crate) static NEXT: ProgramArray = ProgramArray::with_max_entries(6, 0);
/// The same for the fentry route: a program at a function's return can only call another of that function.
#[map]
pub(crate) static NEXT_SENDMSG: ProgramArray = ProgramArray::with_max_entries(6, 0);
#[map]
pub(crate) static NEXT_RECVMSG: ProgramArray = ProgramArray::with_max_entries(6, 0);
#[map]
pub(crate) static NEXT_SENDMSG_ENTRY: ProgramArray = ProgramArray::with_max_entries(6, 0);

/// The same for Unix-domain sockets.
#[map]
pub(crate) static NEXT_UNIX_SENDMSG: ProgramArray = ProgramArray::with_max_entries(4, 0);
#[map]
pub(crate) static NEXT_UNIX_RECVMSG: ProgramArray = ProgramArray::with_max_entries(4, 0);

/// The same for the programs at OpenSSL's functions: that which walks frames, and that which tells a head.
#[map]
pub(crate) static NEXT_TLS: ProgramArray = ProgramArray::with_max_entries(2, 0);

/// Where frames are walked, one slot a direction, and behind them those of plaintext.
#[map]
pub(crate) static FRAME_SCRATCH: PerCpuArray<FrameScratch> =
    PerCpuArray::with_max_entries(2 + PLAINTEXT_SLOTS, 0);

/// The chosen processes, as [`target`] says; one value where all are targets. The daemon maps it into its memory.
#[map]
pub(crate) static TARGETS: Array<u64> =
    Array::with_max_entries(target::PROCESSES / target::ENTRIES_A_VALUE, BPF_F_MMAPABLE);

/// What a call in progress was given, by thread (`pid_tgid`): written at its entry, taken at its return. Full:
/// the call is not seen, and counted.
#[map]
pub(crate) static IN_FLIGHT: HashMap<u64, InFlight> = HashMap::with_max_entries(16_384, 0);

/// One slot a [`Counter`], and one more for the number of the next connection.
#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::LEN + 1, 0);

/// Where a head record is put together, one slot a direction, one for entries of sends, one a direction for
/// datagrams of functions, and those of plaintext: each may interrupt the others.
#[map]
pub(crate) static SCRATCH: PerCpuArray<HeadScratch> = PerCpuArray::with_max_entries(5 + PLAINTEXT_SLOTS, 0);

/// Calls with plaintext that one processor can be in at a time: the kernel may preempt a program in one by another.
pub(crate) const PLAINTEXT_SLOTS: u32 = 2;
/// The first slots of [`SCRATCH`] and [`FRAME_SCRATCH`] for them.
pub(crate) const PLAINTEXT_HEAD_SLOT: u32 = 5;
pub(crate) const PLAINTEXT_FRAME_SLOT: u32 = 2;

/// The slot of [`SCRATCH`] for entries of sends.
pub(crate) const ENTRY_SLOT: u32 = 2;
/// The first slot of [`SCRATCH`] for datagrams of functions.
pub(crate) const DATAGRAM_SLOT: u32 = 3;

/// Where a record of a program that starts is put together.
#[map]
pub(crate) static STARTED_SCRATCH: PerCpuArray<Started> = PerCpuArray::with_max_entries(1, 0);

/// A call in progress.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct InFlight {
    /// Address of the `struct sock`.
    pub(crate) sock: u64,
    /// Time of the entry, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) time_ns: u64,
    /// Where the bytes are.
    pub(crate) buffers: Buffers,
    /// User address of the `struct mmsghdr` array of a call whose result is a number of messages, else 0.
    pub(crate) messages: u64,
    /// A `Direction`.
    pub(crate) direction: u32,
    /// Explicit padding.
    pub(crate) padding: u32,
}

/// A head record and more room than its payload needs: the verifier knows of an offset that it is below the
/// capacity, and of a length that it is below twice of it.
#[repr(C)]
pub(crate) struct HeadScratch {
    /// Where the operation's bytes are: here and not on the stack for the verifier's sake.
    pub(crate) buffers: Buffers,
    /// What was seen of them.
    pub(crate) look: Look,
    /// A new connection's entry. Only its number and addresses stay written, so all else is zero.
    pub(crate) connection: Connection,
    /// Where it was made to, if it is one of a Unix-domain socket.
    pub(crate) path: PathScratch,
    /// The masking's memory.
    pub(crate) mask: State,
    pub(crate) head: Head,
    pub(crate) payload: [u8; 3 * HEAD_CAPACITY],
}

const _: () = assert!(core::mem::offset_of!(HeadScratch, payload) % 8 == 0);
const _: () = assert!(core::mem::offset_of!(FrameScratch, payload) % 8 == 0);

/// Room for a path: a power of two, so that a mask bounds a length.
pub(crate) const PATH_ROOM: usize = PATH_WORDS * size_of::<u64>();

/// A record of a path and its bytes.
#[repr(C)]
pub(crate) struct PathScratch {
    pub(crate) record: Path,
    pub(crate) path: [u64; PATH_WORDS],
}

const _: () = assert!(PATH_ROOM.is_power_of_two() && PATH_CAPACITY < PATH_ROOM);

/// An operation whose frames are being walked.
#[repr(C)]
pub(crate) struct FrameScratch {
    /// Where the operation's bytes are.
    pub(crate) buffers: Buffers,
    /// User address of the next byte.
    pub(crate) address: u64,
    /// Bytes left of the segment that it is in.
    pub(crate) segment_left: u64,
    /// Bytes left of the operation.
    pub(crate) left: u32,
    /// The next segment.
    pub(crate) index: u32,
    /// Bytes of the record's payload.
    pub(crate) out: u32,
    /// Flags of the record.
    pub(crate) flags: u16,
    /// Explicit padding.
    pub(crate) padding: u16,
    /// Where the walk is.
    pub(crate) way: Way,
    /// A new connection's entry: never written.
    pub(crate) nothing: Ways,
    /// The masking's memory.
    pub(crate) mask: State,
    pub(crate) record: Frames,
    pub(crate) payload: [u8; 3 * HEAD_CAPACITY],
}
