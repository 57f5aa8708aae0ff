//! Where the bytes of an operation are in user memory, and reading them from there.
//!
//! The first segments are looked up when the place is found, because all operations begin in the first, and most end
//! in it or in the second.

use core::{hint::black_box, mem::MaybeUninit};

use sensor_common::{cause::Counter, record::HEAD_CAPACITY};

use crate::{globals::offset, kernel};

/// The most segments of a vector that are followed. Servers write a head in the first few.
pub(crate) const SEGMENTS: u32 = 8;

/// A `struct iovec`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Segment {
    pub(crate) address: u64,
    pub(crate) length: u64,
}

impl Segment {
    const NONE: Self = Self { address: 0, length: 0 };
    const SIZE: u64 = size_of::<Self>() as u64;
}

/// The bytes of an operation. A plain structure, because it also rests in a map.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Buffers {
    /// The first segment that is not empty.
    pub(crate) first: Segment,
    /// The one behind it, where the array is in user memory and holds one.
    pub(crate) second: Segment,
    /// Address of the array that holds the first segment.
    pub(crate) vector: u64,
    /// Segments, with the first; 0 when the bytes are not in user memory, or not known.
    pub(crate) segments: u32,
    /// 1 when the array is in kernel memory, 0 when it is in user memory.
    pub(crate) kernel_vector: u32,
}

impl Buffers {
    /// No bytes to read.
    pub(crate) const NONE: Self =
        Self { first: Segment::NONE, second: Segment::NONE, vector: 0, segments: 0, kernel_vector: 0 };

    /// One range, as long as the operation.
    #[inline(always)]
    pub(crate) fn range(address: u64) -> Self {
        let first = Segment { address, length: u32::MAX as u64 };
        Self { first, segments: 1, ..Self::NONE }
    }

    /// A vector in user memory. Programs leave at most its first segment empty.
    #[inline(always)]
    pub(crate) fn user_vector(vector: u64, segments: u64) -> Result<Self, Counter> {
        if segments == 0 {
            return Ok(Self::NONE);
        }
        if segments == 1 {
            return Ok(Self { first: kernel::read_user(vector)?, vector, segments: 1, ..Self::NONE });
        }
        let [first, second]: [Segment; 2] = kernel::read_user(vector)?;
        let segments = if segments > u64::from(SEGMENTS) { SEGMENTS + 1 } else { segments as u32 };
        if first.length > 0 {
            return Ok(Self { first, second, vector, segments, kernel_vector: 0 });
        }
        let vector = vector + Segment::SIZE;
        let third = if segments > 2 { kernel::read_user(vector + Segment::SIZE)? } else { Segment::NONE };
        Ok(Self { first: second, second: third, vector, segments: segments - 1, kernel_vector: 0 })
    }

    /// The bytes that an operation of `length` has consumed from a `struct iov_iter`, after it has: the iterator
    /// stands behind them, so their start is found by going back. An iterator over anything but user
    /// memory (pages of a file, registered buffers) gives [`Buffers::NONE`].
    #[inline(always)]
    pub(crate) fn consumed(iter: u64, length: u32) -> Result<Self, Counter> {
        let kind = kind(iter);
        let used: u64 = kernel::load(iter + offset!(iter_offset));
        let length = u64::from(length);
        if kind == offset!(iter_is_ubuf) {
            let start: u64 = kernel::read(iter + offset!(iter_ubuf))?;
            return Ok(Self::range(start + used - length));
        }
        if kind != offset!(iter_iovec) {
            return Ok(Self::NONE);
        }
        let mut vector: u64 = kernel::read(iter + offset!(iter_iov))?;
        let mut left = length;
        let mut reach = used;
        for back in 0..SEGMENTS {
            if reach >= left {
                let mut first: Segment = kernel::read(vector)?;
                first.address += reach - left;
                first.length = first.length.saturating_sub(reach - left);
                return Ok(Self { first, vector, segments: back + 1, kernel_vector: 1, ..Self::NONE });
            }
            left -= reach;
            vector -= Segment::SIZE;
            let segment: Segment = kernel::read(vector)?;
            reach = segment.length;
        }
        Err(Counter::VectorTooLong)
    }

    /// Where the segments that an operation is about to consume start: address of the first and bytes of it to skip;
    /// zeros when a `struct iov_iter` is no vector.
    #[inline(always)]
    pub(crate) fn vector_start(iter: u64) -> (u64, u64) {
        if kind(iter) != offset!(iter_iovec) {
            return (0, 0);
        }
        (kernel::load(iter + offset!(iter_iov)), kernel::load(iter + offset!(iter_offset)))
    }

    /// A vector in kernel memory from `skip` bytes into its first segment; the operation's length bounds it.
    #[inline(always)]
    pub(crate) fn kernel_vector(vector: u64, skip: u64) -> Result<Self, Counter> {
        let mut first: Segment = kernel::read(vector)?;
        first.address += skip;
        first.length = first.length.saturating_sub(skip);
        let buffers = Self { first, vector, segments: SEGMENTS + 1, kernel_vector: 1, ..Self::NONE };
        if first.length > 0 {
            return Ok(buffers);
        }
        // Programs leave at most the first segment empty.
        let vector = vector + Segment::SIZE;
        Ok(Self { first: kernel::read(vector)?, vector, ..buffers })
    }

    /// The first segment that an operation is about to consume from a `struct iov_iter`.
    #[inline(always)]
    pub(crate) fn ahead(iter: u64) -> Result<Self, Counter> {
        let kind = kind(iter);
        let used: u64 = kernel::load(iter + offset!(iter_offset));
        if kind == offset!(iter_is_ubuf) {
            let start: u64 = kernel::read(iter + offset!(iter_ubuf))?;
            return Ok(Self::range(start + used));
        }
        if kind != offset!(iter_iovec) {
            return Ok(Self::NONE);
        }
        Self::kernel_vector(kernel::read(iter + offset!(iter_iov))?, used)
    }

    /// Whether the bytes can be read.
    #[inline(always)]
    pub(crate) fn are_known(&self) -> bool {
        self.segments() != 0
    }

    /// How many segments there are.
    // VERIFIER: all kernels: read anew from the map each time, so that what one loop learnt about the number does
    // not multiply the states of the next.
    #[inline(always)]
    fn segments(&self) -> u32 {
        // SAFETY: a reference can be read.
        unsafe { core::ptr::read_volatile(&raw const self.segments) }
    }

    /// Whether there are several segments.
    #[inline(always)]
    pub(crate) fn is_vector(&self) -> bool {
        self.segments() != 1
    }

    /// One segment after the other, for as many as are followed.
    #[inline(always)]
    pub(crate) fn at(&self, index: u32) -> Result<Segment, Counter> {
        if index >= SEGMENTS || index >= self.segments() {
            return Err(Counter::VectorTooLong);
        }
        self.segment(index)
    }

    /// Whether the last byte of an operation of `length` is `byte`; `false` where that is not simple to find.
    #[inline(always)]
    pub(crate) fn ends_in(&self, length: u32, byte: u8) -> bool {
        if self.segments() != 1 || length == 0 {
            return false;
        }
        let last = self.first.address + u64::from(length) - 1;
        kernel::read_user::<u8>(last).is_ok_and(|found| found == byte)
    }

    #[inline(always)]
    pub(crate) fn segment(&self, index: u32) -> Result<Segment, Counter> {
        if index == 0 {
            // SAFETY: a reference can be read; volatile for the same reason as above.
            return Ok(unsafe { core::ptr::read_volatile(&raw const self.first) });
        }
        let at = self.vector + u64::from(index) * Segment::SIZE;
        if self.kernel_vector != 0 {
            return kernel::read(at);
        }
        if index == 1 {
            // SAFETY: as above.
            return Ok(unsafe { core::ptr::read_volatile(&raw const self.second) });
        }
        kernel::read_user(at)
    }

    /// The first bytes of an operation of `length`, the first in the lowest byte, and how many they are (0–8).
    #[inline(always)]
    pub(crate) fn peek(&self, length: u32) -> Result<(u64, u32), Counter> {
        let first = self.segment(0)?;
        let known = least(least(first.length, u64::from(length)), 8) as u32;
        Ok((read_short(first.address, known)?, known))
    }

    /// The last eight bytes of the stream after an operation of `length`, given the eight before it; 0 when the
    /// vector is longer than is followed.
    #[inline(always)]
    pub(crate) fn tail(&self, length: u32, before: u64) -> Result<u64, Counter> {
        let mut left = u64::from(length);
        let mut tail = before;
        for index in 0..SEGMENTS {
            if left == 0 || index >= self.segments() {
                break;
            }
            let segment = self.segment(index)?;
            let used = least(segment.length, left);
            tail = moved_on(tail, &segment, used)?;
            left -= used;
        }
        Ok(if left == 0 { tail } else { 0 })
    }

    /// How long the first segment is, when it is shorter than an operation of `length` and one more holds the rest;
    /// else 0. Servers write a response that way: its head, then its body.
    #[inline(always)]
    pub(crate) fn first_of_two(&self, length: u32) -> u32 {
        let first = self.first.length;
        if self.segments() == 2 && first < u64::from(length) { first as u32 } else { 0 }
    }

    /// [`Self::tail`] of two segments, given that after the first.
    #[inline(always)]
    pub(crate) fn tail_of_second(&self, length: u32, after_first: u64) -> Result<u64, Counter> {
        let rest = u64::from(length).saturating_sub(self.first.length);
        moved_on(after_first, &self.segment(1)?, rest)
    }

    /// Copies the first bytes of the operation, `want` of them, to `to`; how many came.
    ///
    /// # Safety
    /// `to` has room for three times [`HEAD_CAPACITY`], and `want` is at most [`HEAD_CAPACITY`].
    #[inline(always)]
    pub(crate) unsafe fn copy(&self, to: *mut u8, want: u32) -> Result<u32, Counter> {
        let mut filled = 0_u32;
        for index in 0..SEGMENTS {
            if filled >= want || index >= self.segments() {
                break;
            }
            let segment = self.segment(index)?;
            let length = bounded(least(segment.length, u64::from(want - filled)) as u32);
            let at = black_box(filled) & (HEAD_CAPACITY as u32 - 1);
            // SAFETY: the offset is below the capacity and the length below twice of it.
            if !unsafe { kernel::copy_user(to.add(at as usize), length, segment.address) } {
                return Err(Counter::UserMemory);
            }
            filled += length;
        }
        Ok(filled)
    }
}

/// The last eight bytes of a stream after `used` bytes at the start of a segment, given those before it.
#[inline(always)]
fn moved_on(before: u64, segment: &Segment, used: u64) -> Result<u64, Counter> {
    let short = least(used, 8) as u32;
    let bytes = read_short(segment.address + used - u64::from(short), short)?;
    Ok(shifted_in(before, bytes, short))
}

/// The last eight bytes of a stream after `count` (0–8) more, the first of them in the lowest byte of `bytes`.
#[inline(always)]
pub(crate) fn shifted_in(before: u64, bytes: u64, count: u32) -> u64 {
    // In two steps each, because a shift by 64 is none.
    let half = (4 * count) & 63;
    let rest = (32 - half) & 63;
    (before >> half >> half) | (bytes << rest << rest)
}

/// Kind of a `struct iov_iter`.
#[inline(always)]
fn kind(iter: u64) -> u64 {
    let kind: u8 = kernel::load(iter + offset!(iter_type));
    u64::from(kind) & offset!(iter_kind_mask)
}

#[inline(always)]
fn least(a: u64, b: u64) -> u64 {
    if a < b { a } else { b }
}

/// `length`, at most [`HEAD_CAPACITY`], in a form that shows the verifier that it is below twice of that.
// VERIFIER: all kernels: the compiler knows the bound and would drop a plain comparison or mask.
#[inline(always)]
pub(crate) fn bounded(length: u32) -> u32 {
    black_box(length) & (2 * HEAD_CAPACITY as u32 - 1)
}

/// At most eight bytes of user memory, the first in the lowest byte.
// VERIFIER: all kernels: one call with a variable length, because a branch a length multiplies the states.
#[inline(always)]
fn read_short(address: u64, length: u32) -> Result<u64, Counter> {
    let mut bytes = MaybeUninit::<[u64; 2]>::uninit();
    let words = bytes.as_mut_ptr().cast::<u64>();
    // VERIFIER: before 6.3: plain zeroing becomes a call to a loop over bytes, with a stack of its own.
    // SAFETY: both words are within the array.
    unsafe {
        words.write_volatile(0);
        words.add(1).write_volatile(0);
    }
    // SAFETY: the length is masked to less than the array's.
    let read = unsafe { kernel::copy_user(words.cast(), black_box(length) & 15, address) };
    // SAFETY: the word was written above.
    if read { Ok(unsafe { words.read() }) } else { Err(Counter::UserMemory) }
}
