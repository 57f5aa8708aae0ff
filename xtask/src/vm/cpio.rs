//! The archive format of an initramfs: cpio "newc", without compression.
//!
//! Each entry is a header of ASCII hexadecimal fields, the name with its NUL, and the data, both padded to four
//! bytes; `TRAILER!!!` ends the archive (kernel: Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;
use std::io::{self, Write};

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

/// Writes one archive. Parent folders are added by themselves, before what is in them.
pub(super) struct Cpio<W: Write> {
    out: W,
    inode: u32,
    folders: BTreeSet<String>,
}

impl<W: Write> Cpio<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, inode: 0, folders: BTreeSet::new() }
    }

    /// Adds a folder and its parents. Names have no leading slash.
    pub(super) fn folder(&mut self, name: &str) -> io::Result<()> {
        let ends = name.match_indices('/').map(|(at, _)| at).chain([name.len()]);
        for end in ends.collect::<Vec<_>>() {
            if end > 0 && self.folders.insert(name[..end].to_owned()) {
                self.entry(&name[..end], DIRECTORY | 0o755, &[])?;
            }
        }
        Ok(())
    }

    /// Adds a file with its permission bits.
    pub(super) fn file(&mut self, name: &str, mode: u32, data: &[u8]) -> io::Result<()> {
        self.parent(name)?;
        self.entry(name, FILE | (mode & 0o7777), data)
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn parent(&mut self, name: &str) -> io::Result<()> {
        name.rsplit_once('/').map_or(Ok(()), |(parent, _)| self.folder(parent))
    }

    fn entry(&mut self, name: &str, mode: u32, data: &[u8]) -> io::Result<()> {
        let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "a cpio field has 32 bits");
        let size = u32::try_from(data.len()).map_err(too_long)?;
        let name_size = u32::try_from(name.len() + 1).map_err(too_long)?;
        self.inode += 1;
        let links = if mode & DIRECTORY != 0 { 2 } else { 1 };
        // inode, mode, uid, gid, links, mtime, size, device (2), special device (2), name size, checksum
        let fields = [self.inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        let mut header = String::from("070701");
        for field in fields {
            header.push_str(&format!("{field:08X}"));
        }
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(name.as_bytes())?;
        self.out.write_all(&[0])?;
        self.pad(header.len() + name.len() + 1)?;
        self.out.write_all(data)?;
        self.pad(data.len())
    }

    fn pad(&mut self, written: usize) -> io::Result<()> {
        self.out.write_all(&[0; 3][..(4 - written % 4) % 4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_parents_come_first() {
        let mut cpio = Cpio::new(Vec::new());
        cpio.file("a/b/c", 0o755, b"hello").unwrap();
        let bytes = cpio.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let mut names = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            assert_eq!(&bytes[at..at + 6], b"070701", "an entry starts at {at}");
            let field = |n: usize| {
                let start = at + 6 + 8 * n;
                let text = std::str::from_utf8(&bytes[start..start + 8]).unwrap();
                usize::from_str_radix(text, 16).unwrap()
            };
            let (mode, size, name_size) = (field(1), field(6), field(11));
            let name = at + 110;
            let data = (name + name_size).next_multiple_of(4);
            names.push((String::from_utf8_lossy(&bytes[name..name + name_size - 1]).into_owned(), mode));
            if names.len() == 3 {
                assert_eq!(&bytes[data..data + size], b"hello");
            }
            at = (data + size).next_multiple_of(4);
        }
        let expected = [("a", 0o040_755), ("a/b", 0o040_755), ("a/b/c", 0o100_755), ("TRAILER!!!", 0)];
        assert_eq!(names, expected.map(|(n, m)| (n.to_owned(), m)));
    }
}
