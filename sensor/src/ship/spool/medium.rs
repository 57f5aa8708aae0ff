//! Writing, behind a trait so that tests can make it fail.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Where segments are written.
pub trait Medium {
    /// Writes all bytes at an offset; after an error any number of them may be there.
    ///
    /// # Errors
    /// What the file system says.
    fn write(&mut self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Brings what was written to stable storage.
    ///
    /// # Errors
    /// What the file system says.
    fn sync(&mut self, file: &File) -> io::Result<()>;
}

/// The file system itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Medium for Disk {
    fn write(&mut self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}
