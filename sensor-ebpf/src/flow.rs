//! What is told of a TCP connection below HTTP: maps of its own, and the making of its records.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::generated::bpf_ringbuf_output,
    macros::map,
    maps::{HashMap, PerCpuArray, RingBuf},
};
use sensor_common::{
    cause::Counter,
    flow::{Flow, FlowCounter, FlowKind, FlowOffsets, Totals},
    record::{Prefix, Task, Tuple},
};

use crate::{
    emit::now,
    globals::offset,
    kernel::{self, Memory, Probed, Reads},
    socket, task,
};

/// Size of the ring buffer. What is mapped of it counts twice, as ring buffers are mapped.
const RING_BYTES: u32 = 1 << 20;
/// The daemon is woken when this much waits, and reads on a timer else.
const WAKE_BYTES: u64 = RING_BYTES as u64 / 4;

/// Records for the daemon, apart from those of HTTP. Full: the record is dropped and counted by what it was.
#[map]
static FLOW_EVENTS: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

/// Connections that processes are opening, by the address of their `struct sock`; gone when that has succeeded or
/// failed. Full: who opened it and when is not known, and counted.
#[map]
static CONNECTING: HashMap<u64, Connecting> = HashMap::with_max_entries(16_384, 0);

/// One slot a [`FlowCounter`].
#[map]
static FLOW_COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(FlowCounter::LEN, 0);

/// Where members lie in the running kernel's structures.
#[unsafe(no_mangle)]
pub(crate) static FLOW_OFFSETS: FlowOffsets = FlowOffsets::ZERO;

/// One member of [`FLOW_OFFSETS`], as the daemon wrote it.
macro_rules! flow_offset {
    ($member:ident) => {
        // SAFETY: the static is initialised; the read is volatile because the daemon writes it before loading.
        u64::from(unsafe { core::ptr::read_volatile(&raw const $crate::flow::FLOW_OFFSETS.$member) })
    };
}
pub(crate) use flow_offset;

const IPPROTO_TCP: u16 = 6;
const NOBODY: Task = Task { tgid: 0, tid: 0, comm: [0; 16] };

/// Who is opening a connection, since when.
#[derive(Clone, Copy)]
#[repr(C)]
struct Connecting {
    started_ns: u64,
    task: Task,
}

/// Adds one to `counter` on this processor.
#[inline(always)]
pub(crate) fn count(counter: FlowCounter) {
    if let Some(slot) = FLOW_COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the map returned a live slot of this processor.
        unsafe { *slot += 1 };
    }
}

/// Whether the socket is one of TCP: the state tracepoint fires for other protocols as well.
#[inline(always)]
pub(crate) fn is_tcp(sock: u64) -> Result<bool, Counter> {
    let protocol: u16 = kernel::read(sock + offset!(sk_protocol))?;
    Ok(protocol == IPPROTO_TCP)
}

/// The same socket as one of TCP, all of whose members can be loaded; `None` when it is none.
#[inline(always)]
pub(crate) fn as_tcp(sock: u64) -> Option<u64> {
    // SAFETY: the kernel vouches for the argument of a typed tracepoint, and checks what it is.
    let tcp = unsafe { aya_ebpf::helpers::generated::bpf_skc_to_tcp_sock(sock as *mut _) } as u64;
    if tcp == 0 { None } else { Some(tcp) }
}

/// The state that a socket of any kind is in.
#[inline(always)]
pub(crate) fn state(sock: u64) -> Result<u8, Counter> {
    kernel::read(sock + flow_offset!(skc_state))
}

/// The current process starts to connect.
#[inline(always)]
pub(crate) fn connects(sock: u64) -> Result<(), Counter> {
    let connecting = Connecting { started_ns: now(), task: current_task()? };
    if CONNECTING.insert(sock, connecting, 0).is_err() {
        count(FlowCounter::ConnectingFull);
    }
    Ok(())
}

/// A connection is established: opened when a process was seen to start it, else a listener's.
#[inline(always)]
pub(crate) fn established<R: Reads>(sock: u64, from_listener: bool) -> Result<(), Counter> {
    match take(sock) {
        Some(connecting) => {
            told::<R>(sock, FlowKind::Opened, FlowCounter::OpenedLost, connecting.started_ns, connecting.task)
        }
        None if from_listener => told::<R>(sock, FlowKind::Accepted, FlowCounter::AcceptedLost, 0, NOBODY),
        None => told::<R>(sock, FlowKind::Opened, FlowCounter::OpenedLost, 0, NOBODY),
    }
}

/// A connection was not established. One that may be a listener's, and that no process was seen to start, was dropped
/// before it was any.
#[inline(always)]
pub(crate) fn failed<R: Reads>(sock: u64, from_listener: bool) -> Result<(), Counter> {
    match take(sock) {
        Some(connecting) => {
            told::<R>(sock, FlowKind::Failed, FlowCounter::FailedLost, connecting.started_ns, connecting.task)
        }
        None if from_listener => Ok(()),
        None => told::<R>(sock, FlowKind::Failed, FlowCounter::FailedLost, 0, NOBODY),
    }
}

/// Whether a `connect` failed because no way leads there. Then the socket has never been `SYN_SENT`, and no state tells.
#[inline(always)]
pub(crate) fn has_no_way(returned: i32) -> bool {
    const ENETDOWN: i32 = 100;
    const ENETUNREACH: i32 = 101;
    const EHOSTUNREACH: i32 = 113;
    matches!(-returned, ENETDOWN | ENETUNREACH | EHOSTUNREACH)
}

/// The current process tried in vain to connect to the `struct sockaddr` at `to`, as [`has_no_way`] says.
#[inline(always)]
pub(crate) fn unroutable(sock: u64, to: u64, memory: Memory, returned: i32) -> Result<(), Counter> {
    // An attempt that timed out in the network is told by its states, and leaves its error to this call.
    if !is_tcp(sock)? || take(sock).is_some() || socket::remote_port(sock)? != 0 {
        return Ok(());
    }
    let Some((address, port)) = socket::address(to, memory)? else { return Ok(()) };
    let mut record = Flow {
        prefix: Prefix { kind: FlowKind::Failed as u16, flags: 0, payload: 0 },
        time_ns: now(),
        started_ns: 0,
        error: -returned as u32,
        padding: 0,
        totals: NOTHING,
        task: current_task()?,
        tuple: NOWHERE,
    };
    socket::read_tuple(sock, &mut record.tuple)?;
    record.tuple.remote_address = address;
    record.tuple.remote_port = port;
    // SAFETY: the record is on the stack and whole.
    unsafe { output(core::ptr::from_ref(&record).cast(), size_of::<Flow>() as u32, FlowCounter::FailedLost) };
    Ok(())
}

/// The current process listens.
#[inline(always)]
pub(crate) fn listens<R: Reads>(sock: u64) -> Result<(), Counter> {
    told::<R>(sock, FlowKind::Listen, FlowCounter::OtherLost, 0, current_task()?)
}

/// A reset was sent or received on a connection.
#[inline(always)]
pub(crate) fn reset(sock: u64, kind: FlowKind) -> Result<(), Counter> {
    told::<Probed>(sock, kind, FlowCounter::OtherLost, 0, NOBODY)
}

/// An established connection is over.
#[inline(always)]
pub(crate) fn closed<R: Reads>(sock: u64) -> Result<(), Counter> {
    told::<R>(sock, FlowKind::Closed, FlowCounter::ClosedLost, 0, NOBODY)
}

/// Who the current thread is.
#[inline(always)]
fn current_task() -> Result<Task, Counter> {
    let mut task = NOBODY;
    task::update_current(&mut task)?;
    Ok(task)
}

#[inline(always)]
fn take(sock: u64) -> Option<Connecting> {
    // SAFETY: the value is copied out at once, and only this socket's own transitions write it.
    let connecting = unsafe { CONNECTING.get(sock) }.copied();
    if connecting.is_some() {
        let _ = CONNECTING.remove(sock);
    }
    connecting
}

#[inline(always)]
fn told<R: Reads>(
    sock: u64,
    kind: FlowKind,
    lost: FlowCounter,
    started_ns: u64,
    task: Task,
) -> Result<(), Counter> {
    let has_totals = matches!(kind, FlowKind::Closed);
    let error: u32 = R::member(sock + flow_offset!(sk_err))?;
    let mut record = Flow {
        prefix: Prefix { kind: kind as u16, flags: 0, payload: 0 },
        time_ns: now(),
        started_ns,
        error,
        padding: 0,
        totals: if has_totals { totals::<R>(sock)? } else { NOTHING },
        task,
        tuple: NOWHERE,
    };
    socket::read_tuple_by::<R>(sock, &mut record.tuple)?;
    // On its way to `CLOSE` the socket has given its port back already (`inet_put_port`), which leaves this copy.
    let port: u16 = R::member(sock + flow_offset!(inet_sport))?;
    if port != 0 {
        record.tuple.local_port = u16::from_be(port);
    }
    // SAFETY: the record is on the stack and whole.
    unsafe { output(core::ptr::from_ref(&record).cast(), size_of::<Flow>() as u32, lost) };
    Ok(())
}

/// Copies `size` bytes to the ring buffer, or counts what is lost.
///
/// # Safety
/// `size` bytes at `data` can be read, and the verifier can prove it.
#[inline(always)]
pub(crate) unsafe fn output(data: *const u8, size: u32, lost: FlowCounter) {
    let is_filling = FLOW_EVENTS.query(u64::from(BPF_RB_AVAIL_DATA)) >= WAKE_BYTES;
    let wake = if is_filling { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    // SAFETY: the caller vouches for `data`; the map is a ring buffer.
    let result = unsafe {
        bpf_ringbuf_output(
            (&raw const FLOW_EVENTS).cast_mut().cast(),
            data.cast_mut().cast(),
            u64::from(size),
            u64::from(wake),
        )
    };
    count(if result == 0 { FlowCounter::Records } else { lost });
}

const NOTHING: Totals = Totals {
    bytes_sent: 0,
    bytes_retransmitted: 0,
    bytes_received: 0,
    segments_sent: 0,
    segments_received: 0,
    retransmits: 0,
    rtt_us: 0,
};

const NOWHERE: Tuple = Tuple {
    local_address: [0; 16],
    remote_address: [0; 16],
    local_port: 0,
    remote_port: 0,
    netns: 0,
    cookie: 0,
};

#[inline(always)]
fn totals<R: Reads>(sock: u64) -> Result<Totals, Counter> {
    let eighths: u32 = R::member(sock + flow_offset!(srtt_us))?;
    Ok(Totals {
        bytes_sent: R::member(sock + flow_offset!(bytes_sent))?,
        bytes_retransmitted: R::member(sock + flow_offset!(bytes_retrans))?,
        bytes_received: R::member(sock + flow_offset!(bytes_received))?,
        segments_sent: R::member(sock + flow_offset!(segs_out))?,
        segments_received: R::member(sock + flow_offset!(segs_in))?,
        retransmits: R::member(sock + flow_offset!(total_retrans))?,
        rtt_us: eighths >> 3,
    })
}
