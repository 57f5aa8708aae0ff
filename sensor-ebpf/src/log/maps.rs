//! The maps, each with its bound and what happens there.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use sensor_common::{
    log::{CHUNK_CAPACITY, Chunk, LogCounter, PipeKey, Writer},
    mask::{HELD_BACK, State},
};

use crate::{buffers::Buffers, globals};

/// Records for the daemon, apart from those of connections, so that neither can starve the other. Full: the chunk is
/// dropped and counted, with its bytes and its line feeds.
#[map]
static LOGS: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

/// Followed pipes and terminals, and their numbers. The daemon adds and removes entries; the start of a program adds
/// those of its standard streams until the daemon has decided. Full: the streams are not followed, and counted.
#[map]
pub(crate) static PIPES: HashMap<PipeKey, u64> = HashMap::with_max_entries(8192, 0);

/// Chunks lost, a writer. Full: the writer that lost none for the longest time is forgotten, which its next chunk
/// shows as a change as well.
#[map]
pub(super) static LOG_LOST: LruHashMap<Writer, u32> = LruHashMap::with_max_entries(8192, 0);

/// 1 once a chunk was lost.
#[map]
pub(super) static LOG_HAS_LOST: Array<u32> = Array::with_max_entries(1, 0);

/// One slot a [`LogCounter`].
#[map]
static LOG_COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(LogCounter::LEN, 0);

/// Where a chunk is put together, a slot for each program that may be preempted by another.
#[map]
pub(crate) static LOG_SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(2, 0);

/// A write in the making.
#[repr(C)]
pub(crate) struct Scratch {
    /// Where the write's bytes are.
    pub(super) buffers: Buffers,
    /// Bytes of the write to tell.
    pub(super) total: u32,
    /// Bytes of the write that were copied.
    pub(super) done: u32,
    /// The segment that comes next.
    pub(super) segment: u32,
    /// Bytes of it that were copied.
    pub(super) used: u32,
    /// Bytes in the payload.
    pub(super) filled: u32,
    /// Flags of the last chunk; once one is lost, the bytes that were to be told.
    pub(super) flags: u32,
    /// 1 when there was no room for a chunk.
    pub(super) failed: u32,
    /// Explicit padding.
    pub(super) padding: u32,
    /// The end of the payload before it was masked, with as much room behind it.
    pub(super) held: [u64; 2 * HELD_BACK as usize / size_of::<u64>()],
    /// The masking's memory.
    pub(crate) mask: State,
    /// The record.
    pub(super) chunk: Chunk,
    /// Its bytes, masked in place. The verifier knows of an offset that it is below the capacity, and of a length that it is below
    /// twice of it.
    pub(crate) payload: [u8; 3 * CHUNK_CAPACITY],
}

const _: () = assert!(core::mem::offset_of!(Scratch, payload) % 8 == 0);

/// Adds to a counter on this processor.
#[inline(always)]
pub(crate) fn count(counter: LogCounter, by: u64) {
    if let Some(slot) = LOG_COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the map returned a live slot of this processor.
        unsafe { *slot += by };
    }
}

/// Copies `size` bytes to the ring buffer; `false` when there is no room. The daemon reads on a timer and is woken only
/// when much waits.
///
/// # Safety
/// `size` bytes at `data` can be read, and the verifier can prove it.
#[inline(always)]
pub(crate) unsafe fn output(data: *const u8, size: u32) -> bool {
    let waiting = LOGS.query(u64::from(BPF_RB_AVAIL_DATA));
    let wake = if waiting >= globals::log_wake_bytes() { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    // SAFETY: the caller vouches for `data`; the map is a ring buffer.
    let result = unsafe {
        aya_ebpf::helpers::generated::bpf_ringbuf_output(
            (&raw const LOGS).cast_mut().cast(),
            data.cast_mut().cast(),
            u64::from(size),
            u64::from(wake),
        )
    };
    result == 0
}
