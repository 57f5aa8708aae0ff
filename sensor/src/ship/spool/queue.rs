//! The queue of one signal.

mod write;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::cursor::{self, Cursor};
use super::medium::{Disk, Medium};
use super::reader::Reader;
use super::segment::{self, HEAD, Head, Segment};
use super::{ASIDE_MAX, Cause, Limits, Lost, SpoolError};

/// A batch as it is read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Its number in the queue, for the acknowledgement.
    pub number: u64,
    /// When it was accepted, in milliseconds of the Unix epoch.
    pub time_ms: u64,
    /// How many samples, lines or spans it holds.
    pub items: u32,
    /// What was pushed.
    pub payload: Vec<u8>,
}

/// A durable, bounded queue with several readers. See the [module](super) for what it promises.
///
/// All calls block on the disk.
#[derive(Debug)]
pub struct Queue<M = Disk> {
    directory: PathBuf,
    limits: Limits,
    medium: M,
    segments: VecDeque<Segment>,
    /// The last segment, open for writing; `None` until the next batch comes.
    active: Option<File>,
    next: u64,
    readers: Vec<Reader>,
    torn: u64,
    _lock: File,
}

impl Queue {
    /// Opens a queue, or makes it, with readers of these names. A reader that is new gets all that is there.
    ///
    /// # Errors
    /// When the directory can't be made or read, or is in use. Damaged content is no error.
    pub fn open(directory: &Path, readers: &[&str], limits: Limits) -> Result<Self, SpoolError> {
        Self::open_on(Disk, directory, readers, limits)
    }
}

impl<M: Medium> Queue<M> {
    pub(super) fn open_on(
        medium: M,
        directory: &Path,
        readers: &[&str],
        limits: Limits,
    ) -> Result<Self, SpoolError> {
        fs::create_dir_all(directory).map_err(SpoolError::io("make", directory))?;
        let lock = lock(directory)?;
        let readers = open_readers(directory, readers)?;
        // No number that a cursor knows is given out again, or a new batch would count as delivered.
        let next = readers.iter().map(|reader| reader.cursor.end()).max().unwrap_or(1).max(1);
        let mut queue = Self {
            directory: directory.to_owned(),
            limits,
            medium,
            segments: VecDeque::new(),
            active: None,
            next,
            readers,
            torn: 0,
            _lock: lock,
        };
        queue.recover()?;
        Ok(queue)
    }

    fn recover(&mut self) -> Result<(), SpoolError> {
        let entries = fs::read_dir(&self.directory).map_err(SpoolError::io("list", &self.directory))?;
        let mut paths: Vec<(u64, PathBuf)> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter_map(|path| segment::first_of(&path).map(|first| (first, path)))
            .collect();
        paths.sort_unstable();
        let firsts: Vec<u64> = paths.iter().map(|(first, _)| *first).collect();
        for (place, (first, path)) in paths.into_iter().enumerate() {
            let following = firsts.get(place + 1).copied();
            self.recover_segment(first, &path, following);
        }
        if let Some(last) = self.segments.back() {
            self.next = self.next.max(last.end);
        }
        let oldest = self.segments.front().map_or(self.next, |segment| segment.first);
        for reader in &mut self.readers {
            reader.skip_to(oldest);
            reader.at = reader.cursor.next;
        }
        self.remove_delivered();
        Ok(())
    }

    /// Takes in one segment; `following` is the first number of the next one.
    fn recover_segment(&mut self, first: u64, path: &Path, following: Option<u64>) {
        let Self { readers, .. } = self;
        let limit = following.unwrap_or(u64::MAX);
        let scanned = Segment::scan(path, limit, |head| {
            for reader in readers.iter_mut() {
                if reader.cursor.is_done(head.number) {
                    reader.settle(first, u64::from(head.items));
                }
            }
        });
        let (segment, length) = match scanned {
            Ok(Some(scanned)) => scanned,
            // The process ended, or the disk was full, while it started the segment: nothing was accepted in it.
            Ok(None) if following.is_none() && segment::is_started(path) => {
                self.torn += 1;
                let _ = fs::remove_file(path);
                return;
            }
            unreadable => {
                let reason = unreadable.err().map_or_else(|| "no segment".to_owned(), |e| e.to_string());
                self.set_aside(path, &reason);
                if let Some(end) = following {
                    self.gone(first, end);
                } else {
                    self.next = self.next.max(first + 1);
                    self.gone(first, first + 1);
                }
                return;
            }
        };
        let end = segment.end;
        if length > segment.bytes {
            self.torn += 1;
            tracing::warn!(
                segment = %path.display(), bytes = length - segment.bytes,
                "the spool's segment ends in what is no whole record"
            );
            let cut = OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(segment.bytes));
            if let Err(error) = cut {
                tracing::warn!(segment = %path.display(), %error, "it can't be cut off");
            }
        }
        self.segments.push_back(segment);
        if let Some(following) = following.filter(|following| *following > end) {
            self.gone(end, following);
        }
    }

    /// The records `first..end` can't be read.
    fn gone(&mut self, first: u64, end: u64) {
        for reader in &mut self.readers {
            let batches = (first..end).filter(|number| !reader.cursor.is_done(*number)).count() as u64;
            if batches > 0 {
                reader.lost.add(Cause::Damaged, batches, batches);
            }
        }
    }

    /// Renames a segment that can't be read, and removes the oldest of those that were renamed before.
    fn set_aside(&mut self, path: &Path, reason: &str) {
        tracing::warn!(segment = %path.display(), reason, "a segment of the spool can't be read: set aside");
        let aside = path.with_extension("bad");
        if fs::rename(path, &aside).is_err() {
            let _ = fs::remove_file(path);
        }
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        let mut bad: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "bad"))
            .collect();
        bad.sort_unstable();
        for old in bad.iter().rev().skip(ASIDE_MAX) {
            let _ = fs::remove_file(old);
        }
    }

    /// The next batch for a reader, by its place in the list that the queue was opened with; `None` when it has all.
    pub fn read(&mut self, reader: usize, now_ms: u64) -> Option<Batch> {
        self.expire(now_ms);
        loop {
            let place = self.readers.get(reader)?.at;
            let index = self.segments.iter().position(|segment| place < segment.end)?;
            match self.read_record(reader, index) {
                Ok(Some((head, payload))) => {
                    let known = self.readers.get(reader)?.cursor.is_done(head.number);
                    if known {
                        continue;
                    }
                    let (number, time_ms, items) = (head.number, head.time_ms, head.items);
                    return Some(Batch { number, time_ms, items, payload });
                }
                Ok(None) => self.damaged(index, "a record is damaged"),
                Err(error) => self.damaged(index, &error.to_string()),
            }
        }
    }

    /// The record at the reader's place, which moves on.
    fn read_record(&mut self, reader: usize, index: usize) -> io::Result<Option<(Head, Vec<u8>)>> {
        let (Some(segment), Some(reader)) = (self.segments.get(index), self.readers.get_mut(reader)) else {
            return Ok(None);
        };
        reader.at = reader.at.max(segment.first);
        let (file, mut offset, mut number) = match reader.open.take() {
            Some((first, file, offset)) if first == segment.first => (file, offset, reader.at),
            _ => (File::open(&segment.path)?, HEAD, segment.first),
        };
        loop {
            let Some((head, payload)) = segment::read(&file, offset, segment.bytes, number)? else {
                return Ok(None);
            };
            offset += head.size();
            number += 1;
            if head.number == reader.at {
                reader.at = number;
                reader.open = Some((segment.first, file, offset));
                return Ok(Some((head, payload)));
            }
        }
    }

    /// A segment turned out to be unreadable: what is not yet delivered of it is lost.
    fn damaged(&mut self, index: usize, reason: &str) {
        let Some(segment) = self.segments.remove(index) else { return };
        if index == self.segments.len() {
            self.active = None;
        }
        self.set_aside(&segment.path, reason);
        self.segment_gone(&segment, index, Cause::Damaged);
    }

    /// A batch is delivered, or refused for good: this reader does not get it again.
    pub fn acknowledge(&mut self, reader: usize, number: u64, items: u32) {
        let Some(segment) = self.segments.iter().find(|segment| number < segment.end).map(|s| s.first) else {
            return;
        };
        let Some(reader) = self.readers.get_mut(reader) else { return };
        if reader.cursor.acknowledge(number) {
            reader.settle(segment, u64::from(items));
            reader.store();
            self.remove_delivered();
        }
    }

    /// Whether a batch is neither acknowledged nor dropped.
    #[must_use]
    pub fn is_pending(&self, reader: usize, number: u64) -> bool {
        self.readers.get(reader).is_some_and(|reader| !reader.cursor.is_done(number))
    }

    /// A reader starts again at the first batch that is not acknowledged.
    pub fn rewind(&mut self, reader: usize) {
        if let Some(reader) = self.readers.get_mut(reader) {
            reader.at = reader.cursor.next;
            reader.open = None;
        }
    }

    fn max_age_ms(&self) -> u64 {
        u64::try_from(self.limits.max_age.as_millis()).unwrap_or(u64::MAX)
    }

    /// Drops segments in which everything is older than the bound.
    pub fn expire(&mut self, now_ms: u64) {
        let before = now_ms.saturating_sub(self.max_age_ms());
        let is_old = |segment: &Segment| segment.bytes > HEAD && segment.newest_ms < before;
        while self.segments.front().is_some_and(is_old) {
            self.drop_oldest(Cause::Age);
        }
    }

    fn drop_oldest(&mut self, cause: Cause) {
        let Some(segment) = self.segments.pop_front() else { return };
        if self.segments.is_empty() {
            self.active = None;
        }
        let _ = fs::remove_file(&segment.path);
        self.segment_gone(&segment, 0, cause);
    }

    fn segment_gone(&mut self, segment: &Segment, index: usize, cause: Cause) {
        for reader in &mut self.readers {
            reader.segment_gone(segment, index == 0, cause);
            reader.store();
        }
    }

    /// Removes the segments that every reader has, but not the one that is written.
    fn remove_delivered(&mut self) {
        let needed = self.readers.iter().map(|reader| reader.cursor.next).min().unwrap_or(u64::MAX);
        while self.segments.len() > 1 && self.segments.front().is_some_and(|first| first.end <= needed) {
            let Some(segment) = self.segments.pop_front() else { return };
            let _ = fs::remove_file(&segment.path);
            for reader in &mut self.readers {
                reader.settled.retain(|(first, _)| *first != segment.first);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn medium_mut(&mut self) -> &mut M {
        &mut self.medium
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Batches that a reader has not acknowledged.
    #[must_use]
    pub fn waiting(&self, reader: usize) -> u64 {
        let Some(reader) = self.readers.get(reader) else { return 0 };
        self.next.saturating_sub(reader.cursor.next).saturating_sub(reader.cursor.done.len() as u64)
    }

    /// The number that the next accepted batch gets.
    #[must_use]
    pub const fn next_number(&self) -> u64 {
        self.next
    }

    /// When the oldest segment that a reader still needs was last written, in milliseconds of the Unix epoch.
    #[must_use]
    pub fn oldest_ms(&self, reader: usize) -> Option<u64> {
        let next = self.readers.get(reader)?.cursor.next;
        self.segments.iter().find(|segment| next < segment.end).map(|segment| segment.newest_ms)
    }

    /// What a reader lost since the queue was opened.
    #[must_use]
    pub fn lost(&self, reader: usize) -> Lost {
        self.readers.get(reader).map(|reader| reader.lost).unwrap_or_default()
    }

    /// Segments that ended in a write that was cut off.
    #[must_use]
    pub const fn torn(&self) -> u64 {
        self.torn
    }
}

fn lock(directory: &Path) -> Result<File, SpoolError> {
    let path = directory.join("lock");
    let file = File::create(&path).map_err(SpoolError::io("make", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::Locked { path: directory.to_owned() }),
        Err(TryLockError::Error(error)) => Err(SpoolError::io("lock", &path)(error)),
    }
}

/// Loads the cursors, and removes those of readers that are no more.
fn open_readers(directory: &Path, names: &[&str]) -> Result<Vec<Reader>, SpoolError> {
    let entries = fs::read_dir(directory).map_err(SpoolError::io("list", directory))?;
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let is_cursor = path.extension().is_some_and(|extension| extension == cursor::SUFFIX);
        let known = path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| names.contains(&stem));
        if is_cursor && !known {
            let _ = fs::remove_file(&path);
        }
    }
    let open = |name: &&str| {
        let path = Cursor::path(directory, name);
        let cursor = Cursor::load(&path).unwrap_or_else(|error| {
            tracing::warn!(cursor = %path.display(), %error, "a cursor of the spool can't be read: all is sent again");
            None
        });
        let cursor = cursor.unwrap_or_default();
        let at = cursor.next;
        Reader {
            name: (*name).to_owned(),
            path,
            cursor,
            at,
            open: None,
            settled: Vec::new(),
            lost: Lost::default(),
        }
    };
    Ok(names.iter().map(open).collect())
}
