//! One write to a followed pipe: its bytes in chunks to the ring buffer.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use sensor_common::{
    cause::Counter,
    log::{
        CHUNK_CAPACITY, CUT, CUT_AT_LINE, Chunk, GAP, LAST, LOST_AT_LINE, LogCounter, LogKind, NO_DESCRIPTOR,
        WRITE_CAPACITY, Writer,
    },
    mask::HELD_BACK,
    record::Prefix,
};

use super::maps::{LOG_HAS_LOST, LOG_LOST, LOG_SCRATCH, Scratch, count, output};
use crate::{
    buffers::{Buffers, SEGMENTS},
    emit::now,
    kernel,
    mask::mask_log,
};

/// Copies that the longest write takes: one a chunk, of which some bytes may be left to the next one, and one more a
/// segment that ends within a chunk.
const STEPS: u32 = WRITE_CAPACITY.div_ceil(CHUNK_CAPACITY as u32 - HELD_BACK) + SEGMENTS;
/// Words that are searched for line feeds between two looks at the end.
const BLOCK: usize = 32;
/// Eight line feeds.
const FEEDS: u64 = 0x0a0a_0a0a_0a0a_0a0a;
const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// A write that has returned.
pub(crate) struct Write {
    /// Number of the pipe.
    pub(crate) pipe: u64,
    /// Bytes that it moved, not 0.
    pub(crate) length: u32,
    /// Where they are.
    pub(crate) buffers: Buffers,
    /// Descriptor that was written to.
    pub(crate) descriptor: u32,
}

/// Hands the write to the daemon, in chunks that are put together in a `slot` of the scratch map.
#[inline(always)]
pub(crate) fn capture(slot: u32, write: &Write) -> Result<(), Counter> {
    count(LogCounter::Writes, 1);
    count(LogCounter::Bytes, u64::from(write.length));
    let scratch = LOG_SCRATCH.get_ptr_mut(slot).ok_or(Counter::KernelMemory)?;
    // SAFETY: the slot is this processor's and this program's, which is not run within itself.
    let scratch = unsafe { &mut *scratch };
    begin(write, scratch);
    for _ in 0..STEPS {
        if reread(&scratch.done) >= reread(&scratch.total) {
            break;
        }
        if step(slot) != 0 {
            tell(slot);
        }
    }
    if reread(&scratch.failed) != 0 {
        lost(slot);
    }
    Ok(())
}

/// Bytes went into a followed pipe from no user memory: the daemon is told of the gap.
// VERIFIER: before 6.8: a global function, so that the record is on no stack that the masking's functions are called from.
#[unsafe(export_name = "log_spliced")]
#[inline(never)]
pub(crate) extern "C" fn spliced(pipe: u64, length: u32) -> u32 {
    count(LogCounter::Spliced, 1);
    count(LogCounter::SplicedBytes, u64::from(length));
    let ids = bpf_get_current_pid_tgid();
    let tgid = (ids >> 32) as u32;
    let chunk = Chunk {
        prefix: Prefix { kind: LogKind::Chunk as u16, flags: GAP | LAST, payload: 0 },
        pipe,
        time_ns: now(),
        tgid,
        tid: ids as u32,
        at: 0,
        written: length,
        descriptor: NO_DESCRIPTOR,
        lost: losses(pipe, tgid),
    };
    // SAFETY: the record is on the stack.
    if !unsafe { output((&raw const chunk).cast(), size_of::<Chunk>() as u32) } {
        note_loss(&chunk, false);
    }
    0
}

/// What the writer's next chunk tells of its losses.
#[inline(always)]
fn losses(pipe: u64, tgid: u32) -> u32 {
    // Where nothing is ever lost, this is all that it costs.
    if LOG_HAS_LOST.get(0).is_none_or(|lost| reread(lost) == 0) {
        return 0;
    }
    // SAFETY: the value is copied out at once.
    unsafe { LOG_LOST.get(Writer { pipe, tgid, padding: 0 }) }.copied().unwrap_or(0)
}

#[inline(always)]
fn begin(write: &Write, scratch: &mut Scratch) {
    scratch.buffers = write.buffers;
    scratch.done = 0;
    scratch.segment = 0;
    scratch.used = 0;
    scratch.filled = 0;
    scratch.failed = 0;
    // The write before may have been given up.
    scratch.mask.forget();
    scratch.flags = u32::from(LAST);
    scratch.total = write.length;
    if write.length > WRITE_CAPACITY {
        scratch.total = WRITE_CAPACITY;
        let left = write.length - WRITE_CAPACITY;
        cut(scratch, left);
        if write.buffers.ends_in(write.length, b'\n') {
            scratch.flags |= u32::from(CUT_AT_LINE);
        }
    }
    let ids = bpf_get_current_pid_tgid();
    let tgid = (ids >> 32) as u32;
    let chunk = &mut scratch.chunk;
    chunk.pipe = write.pipe;
    chunk.time_ns = now();
    chunk.tgid = tgid;
    chunk.tid = ids as u32;
    chunk.written = write.length;
    chunk.descriptor = write.descriptor;
    chunk.lost = losses(write.pipe, tgid);
}

/// Copies until the chunk, the segment or the write is at its end; 1 when there is a chunk to tell.
// VERIFIER: all kernels: a global function is looked at once, not in each turn of the loop and on each path to it.
#[unsafe(export_name = "log_step")]
#[inline(never)]
extern "C" fn step(slot: u32) -> u32 {
    let Some(scratch) = LOG_SCRATCH.get_ptr_mut(slot) else { return 0 };
    // SAFETY: the slot is this processor's and the calling program's, which reads it anew after this.
    let scratch = unsafe { &mut *scratch };
    let done = reread(&scratch.done);
    let filled = reread(&scratch.filled);
    let index = reread(&scratch.segment);
    let used = reread(&scratch.used);
    let left = reread(&scratch.total).wrapping_sub(done);
    let copied = match copy(scratch, index, used, filled, left) {
        Ok(copied) => copied,
        Err(cause) => {
            count(
                if cause as u32 == Counter::VectorTooLong as u32 {
                    LogCounter::Cut
                } else {
                    LogCounter::UserMemory
                },
                1,
            );
            scratch.total = done;
            scratch.flags |= u32::from(CUT);
            0
        }
    };
    let done = done + copied;
    let filled = filled + copied;
    scratch.done = done;
    scratch.filled = filled;
    u32::from(filled >= CHUNK_CAPACITY as u32 || done >= reread(&scratch.total))
}

/// Masks what is in the payload and writes the record of the bytes that are done. Where the write goes on, the others
/// are put to the front for the next chunk.
// VERIFIER: all kernels: as above.
#[unsafe(export_name = "log_tell")]
#[inline(never)]
extern "C" fn tell(slot: u32) -> u32 {
    let Some(scratch) = LOG_SCRATCH.get_ptr_mut(slot) else { return 0 };
    // SAFETY: the slot is this processor's and the calling program's, which reads it anew after this.
    let scratch = unsafe { &mut *scratch };
    let done = reread(&scratch.done);
    let filled = reread(&scratch.filled);
    scratch.chunk.at = done.wrapping_sub(filled);
    scratch.filled = 0;
    let more = done < reread(&scratch.total);
    if more {
        hold(scratch);
    }
    let masked = mask_log(slot, filled, more.into());
    emit(scratch, masked, filled);
    if masked < filled && reread(&scratch.failed) == 0 {
        scratch.filled = carry(scratch, filled.wrapping_sub(masked));
    }
    0
}

/// Keeps the last bytes of a full payload as they were written: the masking reads what it leaves to the next chunk anew.
#[inline(always)]
fn hold(scratch: &mut Scratch) {
    const END: usize = (CHUNK_CAPACITY - HELD_BACK as usize) / 8;
    let from = scratch.payload.as_ptr().cast::<u64>();
    let to = scratch.held.as_mut_ptr();
    for word in 0..HELD_BACK as usize / 8 {
        // VERIFIER: all kernels: volatile, because a copy becomes a call to a loop over bytes.
        // SAFETY: both words are within their arrays, and the payload is aligned to eight bytes.
        unsafe { to.add(word).write_volatile(from.add(END + word).read_volatile()) };
    }
}

/// Puts the last `rest` bytes, at most [`HELD_BACK`], to the front of the payload; `rest`.
#[inline(always)]
fn carry(scratch: &mut Scratch, rest: u32) -> u32 {
    let start = core::hint::black_box(HELD_BACK.wrapping_sub(rest)) & (HELD_BACK - 1);
    let from = scratch.held.as_ptr().cast::<u8>();
    let to = scratch.payload.as_mut_ptr();
    for byte in 0..HELD_BACK as usize {
        // VERIFIER: all kernels: as above. More than `rest` are copied; what follows them is written over.
        // SAFETY: the start is below [`HELD_BACK`], and twice as many bytes are held.
        unsafe { to.add(byte).write_volatile(from.add(start as usize + byte).read_volatile()) };
    }
    rest
}

/// Copies from one segment into the payload; how many bytes.
#[inline(always)]
fn copy(scratch: &mut Scratch, index: u32, used: u32, filled: u32, left: u32) -> Result<u32, Counter> {
    let segment = scratch.buffers.at(index)?;
    let rest = segment.length.saturating_sub(u64::from(used));
    let room = (CHUNK_CAPACITY as u32).saturating_sub(filled);
    let want = if left < room { left } else { room };
    if rest <= u64::from(want) {
        scratch.segment = index + 1;
        scratch.used = 0;
    } else {
        scratch.used = used + want;
    }
    let want = if rest < u64::from(want) { rest as u32 } else { want };
    let length = bounded(want);
    let at = core::hint::black_box(filled) & (CHUNK_CAPACITY as u32 - 1);
    // SAFETY: the offset is below the capacity, the length below twice of it, and the payload three times as long.
    let copied = unsafe {
        kernel::copy_user(
            scratch.payload.as_mut_ptr().add(at as usize),
            length,
            segment.address + u64::from(used),
        )
    };
    if copied { Ok(want) } else { Err(Counter::UserMemory) }
}

/// Writes the record with the `masked` bytes at the front of the payload, of the `filled` that are there.
#[inline(always)]
fn emit(scratch: &mut Scratch, masked: u32, filled: u32) {
    let last = scratch.done >= scratch.total;
    let flags = if last { scratch.flags as u16 } else { 0 };
    scratch.chunk.prefix = Prefix { kind: LogKind::Chunk as u16, flags, payload: masked };
    let size = size_of::<Chunk>() as u32 + bounded(masked);
    // SAFETY: the scratch slot holds the record and at least `masked` bytes behind it.
    if !unsafe { output((&raw const scratch.chunk).cast(), size) } {
        // What is left of the write is given up with it.
        scratch.failed = 1;
        scratch.filled = filled;
        scratch.flags = scratch.total;
        scratch.total = scratch.done;
    }
}

/// There was no room for a chunk: it and what follows of the write are lost. Counts them and their line feeds.
// VERIFIER: all kernels: as above.
#[unsafe(export_name = "log_lost")]
#[inline(never)]
extern "C" fn lost(slot: u32) -> u32 {
    let Some(scratch) = LOG_SCRATCH.get_ptr_mut(slot) else { return 0 };
    // SAFETY: as above.
    let scratch = unsafe { &mut *scratch };
    let total = scratch.flags;
    let mut filled = reread(&scratch.filled);
    let mut at_line = false;
    count(LogCounter::RingFullBytes, u64::from(total.wrapping_sub(scratch.done).wrapping_add(filled)));
    for _ in 0..WRITE_CAPACITY / CHUNK_CAPACITY as u32 {
        count(LogCounter::RingFull, 1);
        count(LogCounter::RingFullLines, u64::from(line_feeds(slot, filled)));
        let last = core::hint::black_box(filled.wrapping_sub(1)) & (CHUNK_CAPACITY as u32 - 1);
        at_line = filled > 0 && scratch.payload[last as usize] == b'\n';
        let done = reread(&scratch.done);
        let left = total.wrapping_sub(done);
        if done >= total || scratch.buffers.is_vector() {
            break;
        }
        filled = if left < CHUNK_CAPACITY as u32 { left } else { CHUNK_CAPACITY as u32 };
        let from = scratch.buffers.first.address + u64::from(done);
        // SAFETY: the length is below twice the capacity, and the payload three times as long.
        if !unsafe { kernel::copy_user(scratch.payload.as_mut_ptr(), bounded(filled), from) } {
            at_line = false;
            break;
        }
        scratch.done = done + filled;
    }
    note_loss(&scratch.chunk, at_line);
    0
}

/// Lets the writer's next chunk tell of the loss.
#[inline(always)]
fn note_loss(chunk: &Chunk, at_line: bool) {
    let lost = ((chunk.lost | LOST_AT_LINE) + 1) | if at_line { LOST_AT_LINE } else { 0 };
    let writer = Writer { pipe: chunk.pipe, tgid: chunk.tgid, padding: 0 };
    // The map forgets the oldest when it is full.
    let _ = LOG_LOST.insert(writer, lost, 0);
    if let Some(has_lost) = LOG_HAS_LOST.get_ptr_mut(0) {
        // SAFETY: the map returned its live slot; whoever writes to it writes the same.
        unsafe { has_lost.write_volatile(1) };
    }
}

/// Line feeds in the first `filled` bytes of the payload.
// VERIFIER: all kernels: no branch in the inner loop, so that it has one state a turn; a global function as above.
#[unsafe(export_name = "log_line_feeds")]
#[inline(never)]
extern "C" fn line_feeds(slot: u32, filled: u32) -> u32 {
    let Some(scratch) = LOG_SCRATCH.get_ptr(slot) else { return 0 };
    // SAFETY: as above.
    let words = unsafe { &raw const (*scratch).payload }.cast::<u64>();
    let filled = core::hint::black_box(i64::from(filled));
    let mut feeds = 0;
    for block in 0..CHUNK_CAPACITY / 8 / BLOCK {
        // Most chunks are short; an end a block keeps the states few.
        if filled <= (8 * BLOCK * block) as i64 {
            break;
        }
        for word in 0..BLOCK {
            // Not unrolled, which would be a program of its own.
            let word = core::hint::black_box(BLOCK * block + word) & (CHUNK_CAPACITY / 8 - 1);
            // SAFETY: the word is within the first third of the payload, which is aligned to eight bytes.
            let difference = unsafe { words.add(word).read_volatile() } ^ FEEDS;
            let other = ((difference & !HIGH) + !HIGH) | difference;
            // The bytes of this word that are filled, as a mask; shifted in two steps of at most 32 bits each.
            let rest = not_below_zero(filled - 8 * word as i64);
            let unknown = not_below_zero(8 - rest);
            let half = (4 * unknown) as u64 & 63;
            let valid = u64::MAX >> half >> half;
            feeds += ((!other & HIGH & valid) >> 7).wrapping_mul(LOW) >> 56;
        }
    }
    feeds as u32
}

/// `number`, or 0 when it is negative, without a branch.
#[inline(always)]
fn not_below_zero(number: i64) -> i64 {
    number & !(core::hint::black_box(number) >> 63)
}

/// Bytes of a write that are not told.
#[inline(always)]
fn cut(scratch: &mut Scratch, left: u32) {
    count(LogCounter::Cut, 1);
    count(LogCounter::CutBytes, u64::from(left));
    scratch.flags |= u32::from(CUT);
}

/// `length`, at most [`CHUNK_CAPACITY`], in a form that shows the verifier that it is below twice of that.
// VERIFIER: all kernels: see `buffers::bounded`.
#[inline(always)]
fn bounded(length: u32) -> u32 {
    core::hint::black_box(length) & (2 * CHUNK_CAPACITY as u32 - 1)
}

/// A member of the scratch slot, read anew.
// VERIFIER: all kernels: what one turn of the loop learnt of it does not multiply the states of the next.
#[inline(always)]
fn reread(member: &u32) -> u32 {
    // SAFETY: a reference can be read.
    unsafe { core::ptr::from_ref(member).read_volatile() }
}
