//! The spool: what leaves the node waits here, on disk, until a receiver has taken it.
//!
//! One [`Queue`] a signal. A batch counts as accepted when [`Queue::push`] or [`Queue::push_all`] returns its number; each receiver of the signal is a
//! reader with a cursor of its own.
//!
//! # Invariants
//! - An accepted batch is delivered to every reader, or is in [`Lost`] of that reader with its cause.
//! - Batches are read in the order in which they were accepted. One is read again only if it was not acknowledged
//!   before the process ended.
//! - A queue never holds more than `max_bytes` in its segments: the oldest segment goes first.
//! - Damage never stops a queue: what can't be read is set aside or passed over, and counted.
//!
//! # What is on disk
//! A directory a queue:
//!
//! | file | content |
//! |---|---|
//! | `<20 digits>.seg` | a segment, named by the number of its first record |
//! | `<reader>.cursor` | how far a reader has come |
//! | `<20 digits>.bad` | a segment that could not be read; at most [`ASIDE_MAX`] are kept |
//! | `lock` | locked by the process that has the queue open |
//!
//! All numbers are little endian. A segment is [`MAGIC`](segment::MAGIC), the number of its first record (`u64`), and
//! records:
//!
//! | bytes | field |
//! |---|---|
//! | 4 | length of the payload |
//! | 4 | CRC-32 (IEEE) of all that follows in the record |
//! | 8 | number: one more than that of the record before |
//! | 8 | when it was accepted, in milliseconds of the Unix epoch |
//! | 4 | how many samples, lines or spans it holds |
//! | … | the payload |
//!
//! A cursor is one line: the version, the number of the first record that is not acknowledged, the numbers of those
//! after it that are, with commas between them, and the CRC-32 of what stands before. It is replaced by a rename.
//!
//! # After a crash
//! A record is one write. What follows the last whole record of the last segment was never accepted and is cut off.
//! Damage elsewhere hides the rest of its segment; how many records that are is told by the next segment's name.
//!
//! With [`Sync::Always`] a batch is on stable storage (`fdatasync`) when it counts as accepted, so it survives a loss
//! of power. Batches that come at once ([`Queue::push_all`]) share one `fdatasync` a segment, and none of them is accepted, or can
//! be read, before it. With [`Sync::Never`] it is in the kernel's page cache: it survives the end of the process, not of the
//! machine. A cursor is never synchronised: after a loss of power, batches that were delivered shortly before can be
//! sent again.
//!
//! # Why an own format
//! Embedded stores (redb, fjall, sled) keep one file or one tree, and refuse to open it, or fail each read of it,
//! once a part is damaged; queues and logs on crates.io (yaque, okaywal) have no bound that drops the oldest and tells
//! how much that was. Here both are the point, and the rest is small.

mod cursor;
mod lost;
mod medium;
mod queue;
mod reader;
mod segment;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use lost::{Cause, Lost};
pub use medium::{Disk, Medium};
pub use queue::{Batch, Queue};

/// Segments that could not be read and are kept for a look at them.
pub const ASIDE_MAX: usize = 2;
/// The longest payload in bytes.
pub const PAYLOAD_MAX: usize = 32 * 1024 * 1024;

/// When a batch reaches stable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before it counts as accepted.
    Always,
    /// When the kernel sees fit.
    Never,
}

/// The bounds of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all segments.
    pub max_bytes: u64,
    /// Bytes after which a segment is followed by the next one.
    pub segment_bytes: u64,
    /// How long a batch is kept.
    pub max_age: Duration,
    /// When a batch reaches stable storage.
    pub sync: Sync,
}

/// Why the spool could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The file system refused.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another process has the queue open.
    #[error("{} is used by another process; hint: one sensor needs one spool directory", path.display())]
    Locked {
        /// The queue's directory.
        path: PathBuf,
    },
    /// The batch alone is larger than the queue may be.
    #[error("a batch of {bytes} bytes is larger than a queue of {limit} bytes takes")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        limit: u64,
    },
}

impl SpoolError {
    fn io(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { operation, path, source }
    }

    /// Whether there was no room on the disk, or in the quota.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}
