//! Putting records together and handing them to the daemon.

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use sensor_common::{
    cause::Counter,
    connection::{Connection, Stream},
    record::{self, CONTINUATION, Close, Kind, Prefix, SEND, Tuple},
};

use crate::{
    buffers::{bounded, shifted_in},
    globals,
    maps::{COUNTERS, EVENTS, HeadScratch, SCRATCH},
    mask::mask_head,
    message::{Beginning, beginning},
    observe::Operation,
    task,
};

/// The ring buffer is asked how full it is once for so many records of a processor: far less than fit between the mark
/// at which the daemon is woken and its end.
const RECORDS_A_QUERY: u64 = 16;

/// What a head record says.
pub(crate) struct Head<'a> {
    /// The operation.
    pub(crate) operation: &'a Operation,
    /// The stream in before it.
    pub(crate) received: Stream,
    /// The stream out before it.
    pub(crate) sent: Stream,
    /// How many bytes to carry, all copied.
    pub(crate) captured: u32,
    /// Whether it continues an earlier head.
    pub(crate) continues: bool,
}

/// Copies the first `want` bytes of the operation to where its record is put together; how many came, fewer where
/// the vector is longer than is followed.
#[inline(always)]
pub(crate) fn copy(scratch: &mut HeadScratch, want: u32) -> Result<u32, Counter> {
    // SAFETY: the payload has room for three times the capacity.
    unsafe { scratch.buffers.copy(scratch.payload.as_mut_ptr(), bounded(want)) }
}

/// How an operation whose `length` bytes were all copied begins, and the last eight bytes of its stream after it,
/// given those before it.
#[inline(always)]
pub(crate) fn ends_of(scratch: &HeadScratch, length: u32, before: u64) -> (Beginning, u64) {
    let payload = scratch.payload.as_ptr();
    // SAFETY: the payload is longer than a word, and aligned to eight bytes.
    let first = unsafe { payload.cast::<u64>().read_volatile() };
    let begins = beginning(first, if length < 8 { length } else { 8 });
    if length < 8 {
        return (begins, shifted_in(before, first, length));
    }
    // SAFETY: the offset is below twice the capacity, and the payload three times as long.
    (begins, unsafe { payload.add(bounded(length - 8) as usize).cast::<u64>().read_unaligned() })
}

/// Whether an operation whose first bytes were copied begins with TLS application data.
#[inline(always)]
pub(crate) fn is_tls_data(scratch: &HeadScratch) -> bool {
    // SAFETY: the payload is longer than that.
    unsafe { scratch.payload.as_ptr().cast::<u16>().read_volatile() == u16::from_le_bytes([23, 3]) }
}

/// Puts together the record of a head whose bytes were copied.
#[inline(always)]
pub(crate) fn head(
    head: &Head<'_>,
    connection: &mut Connection,
    scratch: &mut HeadScratch,
) -> Result<(), Counter> {
    let operation = head.operation;
    let captured = bounded(head.captured);
    let mut flags = 0;
    if operation.direction as u32 == record::SEND as u32 {
        flags |= SEND;
    }
    if head.continues {
        flags |= CONTINUATION;
    }
    let record = &mut scratch.head;
    record.prefix = Prefix { kind: Kind::Head as u16, flags, payload: captured };
    record.key = operation.sock;
    record.connection = connection.id;
    record.time_ns = operation.time_ns;
    record.received = head.received;
    record.sent = head.sent;
    record.operation_len = operation.length;
    record.padding = 0;
    task::update_current(&mut connection.task)?;
    record.task = connection.task;
    // SAFETY: both are whole `Tuple`s, aligned to eight bytes.
    unsafe { copy_tuple(&connection.tuple, &mut record.tuple) };
    Ok(())
}

/// Masks the head that was put together in this slot of [`SCRATCH`], and writes its record.
#[inline(always)]
pub(crate) fn tell(slot: u32) -> Result<(), Counter> {
    let found = SCRATCH.get_ptr_mut(slot).ok_or(Counter::KernelMemory)?;
    // SAFETY: the slot is this processor's, and what calls this leaves it to it.
    let scratch = unsafe { &mut *found };
    let captured = scratch.head.prefix.payload;
    mask_head(slot, captured, 0);
    let size = size_of::<record::Head>() as u32 + bounded(captured);
    // SAFETY: the scratch slot holds the record and at least `captured` bytes behind it.
    if unsafe { output(core::ptr::from_ref(&scratch.head).cast(), size) } {
        return Ok(());
    }
    Err(match (scratch.head.prefix.flags & CONTINUATION, scratch.look.beginning()) {
        (0, Beginning::Request) => Counter::RingFullRequest,
        (0, Beginning::Response) => Counter::RingFullResponse,
        _ => Counter::RingFullOther,
    })
}

/// Copies word by word.
// VERIFIER: all kernels: an assignment becomes a call to a loop over bytes.
#[inline(always)]
pub(crate) unsafe fn copy_tuple(from: &Tuple, to: &mut Tuple) {
    const WORDS: usize = size_of::<Tuple>() / size_of::<u64>();
    let from = core::ptr::from_ref(from).cast::<u64>();
    let to = core::ptr::from_mut(to).cast::<u64>();
    for word in 0..WORDS {
        // SAFETY: the caller vouches for both, and `word` is within them.
        unsafe { to.add(word).write_volatile(from.add(word).read_volatile()) };
    }
}

/// Writes a close record.
#[inline(always)]
pub(crate) fn close(sock: u64, connection: &Connection, time_ns: u64, flags: u16) -> Result<(), Counter> {
    let record = Close {
        prefix: Prefix { kind: Kind::Close as u16, flags, payload: 0 },
        key: sock,
        connection: connection.id,
        time_ns,
        received: connection.received,
        sent: connection.sent,
    };
    // SAFETY: the record is on the stack and whole.
    let written = unsafe { output(core::ptr::from_ref(&record).cast(), size_of::<Close>() as u32) };
    if written { Ok(()) } else { Err(Counter::RingFullOther) }
}

/// Copies `size` bytes to the ring buffer; `false` when there is no room.
///
/// A wake-up costs more than the record, so the daemon reads on a timer and is woken only when much waits; it is seldom asked
/// whether that is so.
///
/// # Safety
/// `size` bytes at `data` can be read, and the verifier can prove it.
#[inline(always)]
pub(crate) unsafe fn output(data: *const u8, size: u32) -> bool {
    let Some(records) = COUNTERS.get_ptr_mut(Counter::Records as u32) else { return false };
    // SAFETY: the map returned a live slot of this processor.
    let is_asked = unsafe { *records }.is_multiple_of(RECORDS_A_QUERY);
    let is_full = is_asked && EVENTS.query(u64::from(BPF_RB_AVAIL_DATA)) >= globals::wake_bytes();
    let wake = if is_full { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    // SAFETY: the caller vouches for `data`; the map is a ring buffer.
    let result = unsafe {
        aya_ebpf::helpers::generated::bpf_ringbuf_output(
            (&raw const EVENTS).cast_mut().cast(),
            data.cast_mut().cast(),
            u64::from(size),
            u64::from(wake),
        )
    };
    if result == 0 {
        // SAFETY: as above.
        unsafe { *records += 1 };
    }
    result == 0
}

/// The time now, in nanoseconds of `CLOCK_MONOTONIC`.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { aya_ebpf::helpers::bpf_ktime_get_ns() }
}
