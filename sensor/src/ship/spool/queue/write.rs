//! Accepting batches: what comes at once is written and then brought to stable storage at once.

use std::fs::{self, File, OpenOptions};
use std::io;

use super::{Medium, Queue};
use crate::ship::spool::segment::{self, HEAD, RECORD_HEAD, Segment};
use crate::ship::spool::{Cause, PAYLOAD_MAX, SpoolError, Sync};

/// A segment spans at most this share of the age bound.
const SEGMENTS_AN_AGE: u64 = 8;

/// Records that are written into the last segment and not accepted yet.
#[derive(Default)]
struct Group {
    /// Bytes and items of each.
    records: Vec<(u64, u32)>,
    bytes: u64,
}

impl<M: Medium> Queue<M> {
    /// Accepts a batch of `items` samples, lines or spans. `now_ms` is in milliseconds of the Unix epoch.
    ///
    /// # Errors
    /// When it can't be written; then it is not accepted, and the queue is as before.
    pub fn push(&mut self, payload: &[u8], items: u32, now_ms: u64) -> Result<u64, SpoolError> {
        self.push_all(&[(payload, items)], now_ms).swap_remove(0)
    }

    /// Accepts batches, each a payload and how many items it holds. Those that end in one segment share one wait for the
    /// disk, and none is accepted before that. What became of each is told in their order, as [`push`](Self::push) does.
    pub fn push_all(&mut self, batches: &[(&[u8], u32)], now_ms: u64) -> Vec<Result<u64, SpoolError>> {
        self.expire(now_ms);
        let mut results = Vec::with_capacity(batches.len());
        let mut group = Group::default();
        for (payload, items) in batches {
            if let Err(error) = self.append(payload, *items, now_ms, &mut group, &mut results) {
                self.commit(&mut group, now_ms, &mut results);
                self.cut_off();
                results.push(Err(error));
            }
        }
        self.commit(&mut group, now_ms, &mut results);
        results
    }

    /// Writes a record after those of the group, and joins it to them.
    fn append(
        &mut self,
        payload: &[u8],
        items: u32,
        now_ms: u64,
        group: &mut Group,
        results: &mut Vec<Result<u64, SpoolError>>,
    ) -> Result<(), SpoolError> {
        let size = (RECORD_HEAD + payload.len()) as u64;
        if payload.len() > PAYLOAD_MAX || HEAD + size > self.limits.max_bytes {
            let limit = self.limits.max_bytes.min(PAYLOAD_MAX as u64);
            return Err(SpoolError::TooLarge { bytes: payload.len(), limit });
        }
        if self.segments.back().is_none_or(|last| self.is_done(last, group.bytes, size, now_ms)) {
            self.commit(group, now_ms, results);
            self.active = None;
        }
        let head = if self.active.is_some() { 0 } else { HEAD };
        if self.bytes() + group.bytes + size + head > self.limits.max_bytes {
            // The last segment may be among those that go.
            self.commit(group, now_ms, results);
        }
        while self.bytes() + group.bytes + size + head > self.limits.max_bytes && !self.segments.is_empty() {
            self.drop_oldest(Cause::Bytes);
        }
        if self.active.is_none() {
            self.start_segment()?;
        }
        let record = segment::encode(self.next + group.records.len() as u64, now_ms, items, payload);
        let (Some(file), Some(last)) = (&self.active, self.segments.back()) else {
            unreachable!("a segment was started");
        };
        let written = self.medium.write(file, &record, last.bytes + group.bytes);
        written.map_err(SpoolError::io("write", &last.path))?;
        group.records.push((size, items));
        group.bytes += size;
        Ok(())
    }

    /// Brings a group to stable storage: then it is accepted, and only then it can be read.
    fn commit(&mut self, group: &mut Group, now_ms: u64, results: &mut Vec<Result<u64, SpoolError>>) {
        let Group { records, .. } = std::mem::take(group);
        if records.is_empty() {
            return;
        }
        let (Some(file), Some(last)) = (&self.active, self.segments.back_mut()) else {
            unreachable!("it was written into a segment");
        };
        let synced = match self.limits.sync {
            Sync::Always => self.medium.sync(file),
            Sync::Never => Ok(()),
        };
        match synced {
            Ok(()) => {
                for (size, items) in records {
                    last.add(size, items, now_ms);
                    results.push(Ok(self.next));
                    self.next += 1;
                }
            }
            Err(error) => {
                let failed = |_| Err(SpoolError::io("write", &last.path)(again(&error)));
                results.extend(records.into_iter().map(failed));
                self.cut_off();
            }
        }
    }

    /// What is there behind the last accepted record must not be found later. If it can't be cut off, the next segment's
    /// name says that it was never accepted.
    fn cut_off(&mut self) {
        if let (Some(file), Some(last)) = (&self.active, self.segments.back())
            && file.set_len(last.bytes).is_err()
        {
            self.active = None;
        }
    }

    /// Whether a record of this size goes to the next segment: this one, with what is not yet accepted in it, is full, or
    /// spans so much time that its age says little of its records'.
    fn is_done(&self, segment: &Segment, unaccepted: u64, size: u64, now_ms: u64) -> bool {
        let bytes = segment.bytes + unaccepted;
        let is_full = bytes > HEAD && bytes + size > self.limits.segment_bytes.min(self.limits.max_bytes);
        let span = now_ms.saturating_sub(segment.oldest_ms);
        is_full || segment.bytes > HEAD && span > self.max_age_ms() / SEGMENTS_AN_AGE
    }

    fn start_segment(&mut self) -> Result<(), SpoolError> {
        // An empty one under this name may be left of a failed start.
        if self.segments.back().is_some_and(|last| last.first == self.next) {
            self.segments.pop_back();
        }
        let path = segment::path(&self.directory, self.next);
        let mut start = || {
            let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
            self.medium.write(&file, &segment::head(self.next), 0)?;
            if self.limits.sync == Sync::Always {
                self.medium.sync(&File::open(&self.directory)?)?;
            }
            Ok(file)
        };
        let file = start().map_err(|source| {
            let _ = fs::remove_file(&path);
            SpoolError::Io { operation: "start", path: path.clone(), source }
        })?;
        self.active = Some(file);
        self.segments.push_back(Segment::started(path, self.next));
        Ok(())
    }
}

/// The error once more: each batch of a group has the one that the group met.
fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}
