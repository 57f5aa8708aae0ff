//! Where the bytes of an operation are in user memory, and reading them from there.

use sensor_common::{cause::Counter, record::HEAD_CAPACITY};

use crate::kernel;

/// The most segments of a vector that are followed. Servers write a head in the first few.
const SEGMENTS: u64 = 16;

/// The bytes of an operation. `source` is one of the constants below; a plain integer, because the value also
/// rests in a map.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Buffers {
    /// Kind of the memory.
    pub(crate) source: u32,
    /// Segments of a vector.
    pub(crate) segments: u32,
    /// User address of the bytes, or address of the `struct iovec` array.
    pub(crate) address: u64,
    /// Bytes of the first segment to skip.
    pub(crate) skip: u64,
}

/// Not in user memory, or not known.
pub(crate) const UNKNOWN: u32 = 0;
/// One range of user memory.
pub(crate) const RANGE: u32 = 1;
/// An array of `struct iovec` in user memory.
pub(crate) const USER_VECTOR: u32 = 2;
/// An array of `struct iovec` in kernel memory, pointing to user memory.
pub(crate) const KERNEL_VECTOR: u32 = 3;

#[derive(Clone, Copy)]
#[repr(C)]
struct Segment {
    address: u64,
    length: u64,
}

impl Buffers {
    /// No bytes to read.
    pub(crate) const NONE: Self = Self { source: UNKNOWN, segments: 0, address: 0, skip: 0 };

    /// One range.
    #[inline(always)]
    pub(crate) fn range(address: u64) -> Self {
        Self { source: RANGE, segments: 1, address, skip: 0 }
    }

    /// A vector in user memory.
    #[inline(always)]
    pub(crate) fn user_vector(address: u64, segments: u64) -> Self {
        Self { source: USER_VECTOR, segments: segments as u32, address, skip: 0 }
    }

    /// Whether the bytes can be read.
    #[inline(always)]
    pub(crate) fn are_known(&self) -> bool {
        self.source != UNKNOWN
    }

    #[inline(always)]
    fn segment(&self, index: u64) -> Result<Segment, Counter> {
        let at = self.address + index * size_of::<Segment>() as u64;
        let mut segment: Segment =
            if self.source == KERNEL_VECTOR { kernel::read(at)? } else { kernel::read_user(at)? };
        if index == 0 {
            segment.address += self.skip;
            segment.length = segment.length.saturating_sub(self.skip);
        }
        Ok(segment)
    }

    /// The first segment that is not empty.
    #[inline(always)]
    fn first(&self, length: u32) -> Result<Segment, Counter> {
        if self.source == RANGE {
            return Ok(Segment { address: self.address, length: u64::from(length) });
        }
        // Programs leave at most the first segment empty.
        let first = self.segment(0)?;
        if first.length > 0 || self.segments < 2 { Ok(first) } else { self.segment(1) }
    }

    /// The first bytes of an operation of `length`, the first in the lowest byte, and how many they are (1–8).
    #[inline(always)]
    pub(crate) fn peek(&self, length: u32) -> Result<(u64, u32), Counter> {
        let first = self.first(length)?;
        let known = if first.length < u64::from(length) { first.length as u32 } else { length };
        if known >= 8 {
            return Ok((kernel::read_user(first.address)?, 8));
        }
        Ok((read_short(first.address, known)?, known))
    }

    /// The last eight bytes of the stream after an operation of `length`, given the eight before it.
    #[inline(always)]
    pub(crate) fn tail(&self, length: u32, before: u64) -> Result<u64, Counter> {
        if self.source == RANGE {
            return append(before, self.address, u64::from(length));
        }
        let mut left = u64::from(length);
        let mut tail = before;
        for index in 0..SEGMENTS {
            if left == 0 {
                return Ok(tail);
            }
            if index >= u64::from(self.segments) {
                break;
            }
            let segment = self.segment(index)?;
            let used = if segment.length < left { segment.length } else { left };
            tail = append(tail, segment.address, used)?;
            left -= used;
        }
        if left == 0 { Ok(tail) } else { Err(Counter::VectorTooLong) }
    }

    /// Copies the first bytes of the operation, `want` of them, to `to`; how many came.
    ///
    /// # Safety
    /// `to` has room for three times [`HEAD_CAPACITY`], and `want` is at most [`HEAD_CAPACITY`].
    #[inline(always)]
    pub(crate) unsafe fn copy(&self, to: *mut u8, want: u32) -> Result<u32, Counter> {
        if self.source == RANGE {
            // SAFETY: the caller vouches for the room.
            let copied = unsafe { kernel::copy_user(to, bounded(want), self.address) };
            return if copied { Ok(bounded(want)) } else { Err(Counter::UserMemory) };
        }
        let mut filled = 0_u32;
        for index in 0..SEGMENTS {
            if filled >= want || index >= u64::from(self.segments) {
                break;
            }
            let segment = self.segment(index)?;
            let left = u64::from(want - filled);
            let length = bounded(if segment.length < left { segment.length as u32 } else { left as u32 });
            let at = filled & (HEAD_CAPACITY as u32 - 1);
            // SAFETY: the offset is below the capacity and the length below twice of it.
            if length > 0 && !unsafe { kernel::copy_user(to.add(at as usize), length, segment.address) } {
                return if filled > 0 { Ok(filled) } else { Err(Counter::UserMemory) };
            }
            filled += length;
        }
        Ok(if filled > want { want } else { filled })
    }
}

/// `length`, at most [`HEAD_CAPACITY`], in a form that shows the verifier that it is below twice of that.
// VERIFIER: all kernels: the compiler knows the bound and would drop a plain comparison or mask.
#[inline(always)]
pub(crate) fn bounded(length: u32) -> u32 {
    core::hint::black_box(length) & (2 * HEAD_CAPACITY as u32 - 1)
}

/// Fewer than eight bytes of user memory, the first in the lowest byte.
#[inline(always)]
fn read_short(address: u64, length: u32) -> Result<u64, Counter> {
    let mut bytes = [0_u8; 8];
    if length > 0 {
        // SAFETY: the length is masked to less than the array's.
        let read =
            unsafe { kernel::copy_user(bytes.as_mut_ptr(), core::hint::black_box(length) & 7, address) };
        if !read {
            return Err(Counter::UserMemory);
        }
    }
    Ok(u64::from_le_bytes(bytes))
}

/// The last eight bytes of a stream that ended in `tail`, after `length` bytes at `address`.
#[inline(always)]
fn append(tail: u64, address: u64, length: u64) -> Result<u64, Counter> {
    if length >= 8 {
        return kernel::read_user(address + length - 8);
    }
    let short = length as u32 & 7;
    if short == 0 {
        return Ok(tail);
    }
    let bytes = read_short(address, short)?;
    Ok(tail >> (8 * short) | bytes << (64 - 8 * short))
}
