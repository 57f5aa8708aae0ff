//! What containers write to their standard streams: the records of the ring buffer `LOGS`, the keys and values of
//! the maps `PIPES` and `LOG_LOST`, and the causes for which log bytes can be lost.

use crate::record::{EXECUTABLE_CAPACITY, Prefix, Record};

/// What a record of the ring buffer `LOGS` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum LogKind {
    /// A [`Chunk`], followed by [`Prefix::payload`] bytes of the write.
    Chunk = 1,
    /// An [`Opened`], followed by the start of the program's argument vector, NUL-separated.
    Opened = 2,
}

/// A pipe or a terminal, as `stat(2)` and the kernel know it: the key of the map `PIPES`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct PipeKey {
    /// `inode.i_ino`
    pub inode: u64,
    /// `super_block.s_dev` in the kernel's form: the major number from bit 20 on, the minor number below.
    pub device: u32,
    /// Explicit padding.
    pub padding: u32,
}

/// Part of one write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Chunk {
    /// Kind [`LogKind::Chunk`]; flags [`LAST`], [`CUT`], [`CUT_AT_LINE`], [`GAP`].
    pub prefix: Prefix,
    /// The pipe's number, the value in the map `PIPES`.
    pub pipe: u64,
    /// When the write returned, in nanoseconds of `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// The writing process.
    pub tgid: u32,
    /// The writing thread.
    pub tid: u32,
    /// Where in the write these bytes are.
    pub at: u32,
    /// Bytes that the whole write moved.
    pub written: u32,
    /// Descriptor that was written to; [`NO_DESCRIPTOR`] where it is not known.
    pub descriptor: u32,
    /// Changes when chunks of this writer on this pipe are lost before this one; with [`LOST_AT_LINE`].
    pub lost: u32,
}

/// In [`Chunk::prefix`]: the last chunk of its write.
pub const LAST: u16 = 1;
/// In [`Chunk::prefix`]: more bytes of the write follow that are not told.
pub const CUT: u16 = 2;
/// In [`Chunk::prefix`], beside [`CUT`]: the bytes that are not told end in a line feed.
pub const CUT_AT_LINE: u16 = 4;
/// In [`Chunk::prefix`]: bytes that are not in user memory were moved; there are none in this record.
pub const GAP: u16 = 8;
/// In [`Chunk::lost`]: the last chunk that was lost ended in a line feed.
pub const LOST_AT_LINE: u32 = 1;
/// [`Chunk::descriptor`] where it is not known.
pub const NO_DESCRIPTOR: u32 = u32::MAX;

/// A process replaced its program: which pipes it holds as standard streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Opened {
    /// Kind [`LogKind::Opened`].
    pub prefix: Prefix,
    /// The process.
    pub tgid: u32,
    /// The process that made it.
    pub parent: u32,
    /// Number of its control group of version 2 (`cgroup_id`).
    pub cgroup: u64,
    /// Numbers of the pipes at descriptors 1 and 2; 0 where there is another file, or none.
    pub numbers: [u64; 2],
    /// What the pipes are.
    pub keys: [PipeKey; 2],
    /// File name of the executable, without its folders, NUL-padded and cut.
    pub executable: [u8; EXECUTABLE_CAPACITY],
}

/// A writer on a pipe: the key of the map `LOG_LOST`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Writer {
    /// [`Chunk::pipe`]
    pub pipe: u64,
    /// The process.
    pub tgid: u32,
    /// Explicit padding.
    pub padding: u32,
}

/// Bytes of a write that one record carries.
pub const CHUNK_CAPACITY: usize = 4096;
/// Bytes of a write that are told; the rest is counted.
pub const WRITE_CAPACITY: u32 = 16 * 1024;

/// One slot of the per-CPU counter array `LOG_COUNTERS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum LogCounter {
    /// Writes to registered pipes that moved bytes.
    Writes = 0,
    /// Bytes of them.
    Bytes = 1,
    /// The ring buffer had no room for a chunk.
    RingFull = 2,
    /// Bytes of the chunks for which there was no room.
    RingFullBytes = 3,
    /// Line feeds in the chunks for which there was no room.
    RingFullLines = 4,
    /// Writes that were longer than [`WRITE_CAPACITY`], or whose vector was longer than is followed.
    Cut = 5,
    /// Bytes of those writes that are not told.
    CutBytes = 6,
    /// Operations that moved bytes into a registered pipe from no user memory (`sendfile`, `splice`, `tee`).
    Spliced = 7,
    /// Bytes of those.
    SplicedBytes = 8,
    /// User memory of a write could not be read.
    UserMemory = 9,
    /// Kernel memory at an offset that the BTF named could not be read.
    KernelMemory = 10,
    /// The map of pipes was full, so a new process's streams are not followed.
    PipesFull = 11,
    /// The ring buffer had no room for the start of a program, or that could not be read: its streams are followed when the
    /// daemon next looks at the processes that run.
    StartLost = 12,
}

impl LogCounter {
    /// All slots, in order.
    pub const ALL: [Self; Self::LEN as usize] = [
        Self::Writes,
        Self::Bytes,
        Self::RingFull,
        Self::RingFullBytes,
        Self::RingFullLines,
        Self::Cut,
        Self::CutBytes,
        Self::Spliced,
        Self::SplicedBytes,
        Self::UserMemory,
        Self::KernelMemory,
        Self::PipesFull,
        Self::StartLost,
    ];

    /// How many slots there are.
    pub const LEN: u32 = 13;

    /// The name of the cause in metrics; `None` for what is no cause of its own.
    #[must_use]
    pub const fn cause(self) -> Option<&'static str> {
        match self {
            Self::Writes
            | Self::Bytes
            | Self::RingFullBytes
            | Self::RingFullLines
            | Self::CutBytes
            | Self::SplicedBytes => None,
            Self::RingFull => Some("log_ring_full"),
            Self::Cut => Some("log_cut_write"),
            Self::Spliced => Some("log_spliced"),
            Self::UserMemory => Some("log_user_memory"),
            Self::KernelMemory => Some("log_kernel_memory"),
            Self::PipesFull => Some("log_pipes_full"),
            Self::StartLost => Some("log_start_lost"),
        }
    }
}

const _: () = assert!(size_of::<PipeKey>() == 16);
const _: () = assert!(size_of::<Chunk>() == 48);
const _: () = assert!(size_of::<Opened>() == 136);
const _: () = assert!(size_of::<Writer>() == 16);

// SAFETY: integers and byte arrays only, and the size asserts above leave no room for implicit padding.
unsafe impl Record for Chunk {}
// SAFETY: as above.
unsafe impl Record for Opened {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_survives_the_way_through_bytes() {
        let chunk = Chunk { pipe: 7, tgid: 1, at: 4096, written: 9000, lost: 3, ..Chunk::default() };
        let (read, rest) = Chunk::read(chunk.bytes()).unwrap();
        assert_eq!((read, rest.len()), (chunk, 0));
        assert!(Chunk::read(&chunk.bytes()[1..]).is_none());
    }

    #[test]
    fn slots_are_in_order() {
        for (index, counter) in LogCounter::ALL.into_iter().enumerate() {
            assert_eq!(counter as usize, index);
        }
    }
}
