//! Segment files: names, records, and reading them back.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::PAYLOAD_MAX;

/// The first bytes of a segment; the digit is the format's version.
pub(super) const MAGIC: [u8; 8] = *b"LPSPOOL1";
/// Bytes before the first record.
pub(super) const HEAD: u64 = HEAD_LENGTH as u64;
const HEAD_LENGTH: usize = 16;
/// Bytes of a record before its payload.
pub(super) const RECORD_HEAD: usize = 28;
/// Bytes of a record that its checksum does not cover: the length and the checksum.
const UNCOVERED: usize = 8;
/// The ending of a segment's name.
pub(super) const SUFFIX: &str = "seg";

/// A segment that is on disk.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) first: u64,
    /// One more than the last record's number.
    pub(super) end: u64,
    /// Where the next record would be: all before it is whole.
    pub(super) bytes: u64,
    /// What all its records hold.
    pub(super) items: u64,
    /// When the oldest record was accepted; 0 when there is none.
    pub(super) oldest_ms: u64,
    /// When the newest record was accepted.
    pub(super) newest_ms: u64,
}

/// What stands before a record's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: u32,
    checksum: u32,
    pub(super) number: u64,
    pub(super) time_ms: u64,
    pub(super) items: u32,
}

impl Head {
    /// Bytes of the whole record.
    pub(super) fn size(&self) -> u64 {
        RECORD_HEAD as u64 + u64::from(self.length)
    }

    fn parse(bytes: &[u8; RECORD_HEAD]) -> Self {
        let four = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let eight = |at: usize| u64::from(four(at)) | u64::from(four(at + 4)) << 32;
        Self { length: four(0), checksum: four(4), number: eight(8), time_ms: eight(16), items: four(24) }
    }
}

/// A record's bytes.
#[expect(clippy::cast_possible_truncation, reason = "the queue refuses payloads over PAYLOAD_MAX")]
pub(super) fn encode(number: u64, time_ms: u64, items: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(RECORD_HEAD + payload.len());
    bytes.extend((payload.len() as u32).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(number.to_le_bytes());
    bytes.extend(time_ms.to_le_bytes());
    bytes.extend(items.to_le_bytes());
    bytes.extend(payload);
    let checksum = crc32fast::hash(&bytes[UNCOVERED..]);
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// A segment's first bytes.
pub(super) fn head(first: u64) -> [u8; HEAD_LENGTH] {
    let mut bytes = [0; HEAD_LENGTH];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..].copy_from_slice(&first.to_le_bytes());
    bytes
}

/// Where a segment is.
pub(super) fn path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}.{SUFFIX}"))
}

/// The number in a segment's name.
pub(super) fn first_of(path: &Path) -> Option<u64> {
    (path.extension()? == SUFFIX).then(|| path.file_stem()?.to_str()?.parse().ok())?
}

/// Whether a segment ends before its first record could begin.
pub(super) fn is_started(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.len() < HEAD)
}

/// A whole record at `offset`; `None` where there is none, or a damaged one.
pub(super) fn read(
    file: &File,
    offset: u64,
    length: u64,
    number: u64,
) -> io::Result<Option<(Head, Vec<u8>)>> {
    let mut bytes = [0; RECORD_HEAD];
    if offset.saturating_add(RECORD_HEAD as u64) > length {
        return Ok(None);
    }
    file.read_exact_at(&mut bytes, offset)?;
    let head = Head::parse(&bytes);
    let fits = head.length as usize <= PAYLOAD_MAX && offset.saturating_add(head.size()) <= length;
    if !fits || head.number != number {
        return Ok(None);
    }
    let mut payload = vec![0; head.length as usize];
    file.read_exact_at(&mut payload, offset + RECORD_HEAD as u64)?;
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&bytes[UNCOVERED..]);
    checksum.update(&payload);
    Ok((checksum.finalize() == head.checksum).then_some((head, payload)))
}

impl Segment {
    /// One that has no record yet.
    pub(super) fn started(path: PathBuf, first: u64) -> Self {
        Self { path, first, end: first, bytes: HEAD, items: 0, oldest_ms: 0, newest_ms: 0 }
    }

    /// Reads a segment through, and calls `visit` with each whole record below the number `limit`; `None` when it is
    /// none. Tells the file's length beside it.
    pub(super) fn scan(
        path: &Path,
        limit: u64,
        mut visit: impl FnMut(&Head),
    ) -> io::Result<Option<(Self, u64)>> {
        let Some(first) = first_of(path) else { return Ok(None) };
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut begin = [0; HEAD_LENGTH];
        if length < HEAD {
            return Ok(None);
        }
        file.read_exact_at(&mut begin, 0)?;
        if begin != head(first) {
            return Ok(None);
        }
        let mut segment = Self::started(path.to_owned(), first);
        while segment.end < limit
            && let Some((head, _)) = read(&file, segment.bytes, length, segment.end)?
        {
            visit(&head);
            segment.add(head.size(), head.items, head.time_ms);
        }
        Ok(Some((segment, length)))
    }

    /// Counts a record that is at its end.
    pub(super) fn add(&mut self, size: u64, items: u32, time_ms: u64) {
        if self.end == self.first {
            self.oldest_ms = time_ms;
        }
        self.bytes += size;
        self.end += 1;
        self.items += u64::from(items);
        self.newest_ms = self.newest_ms.max(time_ms);
    }
}
