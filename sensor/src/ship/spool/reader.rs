//! One reader of a queue: its place, its cursor and its losses.

use std::fs::File;
use std::path::PathBuf;

use super::cursor::Cursor;
use super::segment::Segment;
use super::{Cause, Lost};

/// One receiver's view of the queue.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) cursor: Cursor,
    /// The number of the record that is read next.
    pub(super) at: u64,
    /// The open segment that holds it, by its first number, and the offset in it.
    pub(super) open: Option<(u64, File, u64)>,
    /// What was delivered or lost of each segment that is still there, in the order of the segments: items.
    pub(super) settled: Vec<(u64, u64)>,
    pub(super) lost: Lost,
}

impl Reader {
    /// Adds to what is settled of a segment.
    pub(super) fn settle(&mut self, segment: u64, items: u64) {
        match self.settled.iter_mut().find(|(first, _)| *first == segment) {
            Some((_, settled)) => *settled += items,
            None => self.settled.push((segment, items)),
        }
    }

    fn settled_of(&self, segment: u64) -> u64 {
        self.settled.iter().find(|(first, _)| *first == segment).map_or(0, |(_, items)| *items)
    }

    /// A segment is gone. Older ones may still be there.
    pub(super) fn segment_gone(&mut self, segment: &Segment, is_oldest: bool, cause: Cause) {
        let unread: Vec<u64> =
            (segment.first..segment.end).filter(|number| !self.cursor.is_done(*number)).collect();
        if !unread.is_empty() {
            let items = segment.items.saturating_sub(self.settled_of(segment.first));
            self.lost.add(cause, unread.len() as u64, items);
        }
        self.settled.retain(|(known, _)| *known != segment.first);
        if is_oldest {
            self.cursor.skip_to(segment.end);
        } else {
            for number in unread {
                self.cursor.acknowledge(number);
            }
        }
        if self.at >= segment.first || is_oldest {
            self.at = self.at.max(segment.end);
            self.open = self.open.take_if(|(first, ..)| *first != segment.first);
        }
    }

    /// Nothing below `number` can be read any more.
    pub(super) fn skip_to(&mut self, number: u64) {
        self.cursor.skip_to(number);
        if self.at < number {
            self.at = number;
            self.open = None;
        }
    }

    /// Writes the cursor. A failure costs a batch that is sent twice after a restart, no more.
    pub(super) fn store(&self) {
        if let Err(error) = self.cursor.store(&self.path) {
            tracing::debug!(reader = self.name, %error, "the cursor of the spool is not written");
        }
    }
}
