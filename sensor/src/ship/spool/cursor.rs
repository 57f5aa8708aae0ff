//! How far a reader has come, on disk.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The ending of a cursor's name.
pub(super) const SUFFIX: &str = "cursor";
const VERSION: &str = "1";
/// The length bound of a cursor's file; the window of a sender is far smaller than what fits.
const BYTES_MAX: u64 = 1024 * 1024;

/// What is acknowledged: all below `next`, and `done`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) next: u64,
    pub(super) done: BTreeSet<u64>,
}

impl Cursor {
    pub(super) fn is_done(&self, number: u64) -> bool {
        number < self.next || self.done.contains(&number)
    }

    /// One more than the highest number it knows of.
    pub(super) fn end(&self) -> u64 {
        self.done.last().map_or(self.next, |last| last + 1)
    }

    /// Notes an acknowledgement; says whether it is news.
    pub(super) fn acknowledge(&mut self, number: u64) -> bool {
        if self.is_done(number) {
            return false;
        }
        self.done.insert(number);
        self.close_up();
        true
    }

    /// Everything below `number` is gone.
    pub(super) fn skip_to(&mut self, number: u64) {
        self.next = self.next.max(number);
        self.done = self.done.split_off(&self.next);
        self.close_up();
    }

    fn close_up(&mut self) {
        while self.done.remove(&self.next) {
            self.next += 1;
        }
    }

    pub(super) fn path(directory: &Path, reader: &str) -> PathBuf {
        directory.join(format!("{reader}.{SUFFIX}"))
    }

    /// Reads a cursor; `None` when there is none. A damaged one is an error of kind `InvalidData`.
    pub(super) fn load(path: &Path) -> io::Result<Option<Self>> {
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
            Ok(metadata) if metadata.len() > BYTES_MAX => return Err(io::ErrorKind::InvalidData.into()),
            Ok(_) => {}
        }
        let text = fs::read_to_string(path)?;
        Self::parse(&text).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn parse(text: &str) -> Option<Self> {
        let (content, checksum) = text.strip_suffix('\n')?.rsplit_once(' ')?;
        if u32::from_str_radix(checksum, 16).ok()? != crc32fast::hash(content.as_bytes()) {
            return None;
        }
        let mut fields = content.split(' ');
        if fields.next()? != VERSION {
            return None;
        }
        let next = fields.next()?.parse().ok()?;
        let done = fields.next()?.split(',').filter(|number| !number.is_empty());
        Some(Self { next, done: done.map(|number| number.parse().ok()).collect::<Option<_>>()? })
    }

    fn text(&self) -> String {
        let done: Vec<String> = self.done.iter().map(u64::to_string).collect();
        let content = format!("{VERSION} {} {}", self.next, done.join(","));
        let checksum = crc32fast::hash(content.as_bytes());
        format!("{content} {checksum:08x}\n")
    }

    /// Replaces the file.
    pub(super) fn store(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("new");
        fs::write(&new, self.text())?;
        fs::rename(&new, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_damage_is_seen() {
        let mut cursor = Cursor { next: 7, done: BTreeSet::new() };
        assert!(cursor.acknowledge(9) && cursor.acknowledge(12) && !cursor.acknowledge(9));
        assert!(!cursor.acknowledge(3), "long done");
        let text = cursor.text();
        assert_eq!(Cursor::parse(&text), Some(cursor.clone()));
        for place in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[place] ^= 1;
            assert_ne!(Cursor::parse(&String::from_utf8(damaged).unwrap()), Some(cursor.clone()), "{place}");
        }
        assert_eq!(Cursor::parse(""), None);
        assert!(cursor.acknowledge(7));
        assert_eq!(cursor.next, 8);
        assert!(cursor.acknowledge(8));
        assert_eq!((cursor.next, cursor.done.len()), (10, 1));
        cursor.skip_to(12);
        assert_eq!((cursor.next, cursor.done.len()), (13, 0));
    }
}
