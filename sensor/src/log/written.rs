//! What the capture tells of a write.

/// Part of a write, in order within it.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// Number of the pipe.
    pub pipe: u64,
    /// The writing process.
    pub tgid: u32,
    /// The writing thread.
    pub tid: u32,
    /// When the write returned, in nanoseconds of `CLOCK_MONOTONIC`; the same for all parts of a write.
    pub time_ns: u64,
    /// Descriptor that was written to, where it is known.
    pub descriptor: u32,
    /// Where in the write the bytes are.
    pub at: u32,
    /// The bytes.
    pub bytes: &'a [u8],
    /// No part of this write follows.
    pub is_last: bool,
    /// More bytes of the write follow that are not told.
    pub is_cut: bool,
    /// They end in a line feed.
    pub is_cut_at_line: bool,
    /// Bytes that cannot be told went into the pipe.
    pub is_gap: bool,
    /// Changes when parts of this writer's writes were lost before this one.
    pub lost: u32,
    /// The last of those ended in a line feed.
    pub lost_at_line: bool,
}

/// One write of one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WriteId {
    tid: u32,
    time_ns: u64,
}

impl Written<'_> {
    pub(super) fn id(&self) -> WriteId {
        WriteId { tid: self.tid, time_ns: self.time_ns }
    }
}
