//! Which files with OpenSSL's functions a process uses.

use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A file, whatever its names: an inode that is used again for another has other times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl fmt::Display for Id {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "inode {} of device {}", self.inode, self.device)
    }
}

impl Id {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// Threads of a process that are asked for what it maps, where its first has ended.
const THREADS: usize = 64;

/// Whether a file of this name may be a library with OpenSSL's functions: `libssl.so.3`, `libssl-1a2b.so.1.1`,
/// `libnetty_tcnative_….so`, `_ssl.cpython-….so`.
pub(super) fn may_be_library(name: &[u8]) -> bool {
    let name = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let has = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
    has(b"ssl") || has(b"tcnative")
}

/// All processes.
pub(super) fn all() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Opens the files of which a process maps code, and that are its program or may be a library with the functions. None when it
/// has ended.
pub(super) fn files(pid: u32) -> Vec<(Id, File)> {
    let directory = PathBuf::from(format!("/proc/{pid}"));
    let (of, maps) = maps(&directory);
    let program = fs::read_link(of.join("exe")).ok();
    let mut files: Vec<(Id, File)> = Vec::new();
    for line in maps.lines() {
        let Some(mapping) = Mapping::parse(line) else { continue };
        let is_program = program.as_deref() == Some(Path::new(mapping.path));
        if !mapping.is_code || !(is_program || may_be_library(mapping.path.as_bytes())) {
            continue;
        }
        if let Ok((id, file)) = mapping.open(&of)
            && files.iter().all(|(known, _)| *known != id)
        {
            files.push((id, file));
        }
    }
    files
}

/// What a process maps, and whose word it is: a process whose first thread has ended tells by another.
fn maps(process: &Path) -> (PathBuf, String) {
    let read = |of: PathBuf| match fs::read(of.join("maps")) {
        Ok(maps) if !maps.is_empty() => Some((of, String::from_utf8_lossy(&maps).into_owned())),
        _ => None,
    };
    let threads = || {
        let threads = fs::read_dir(process.join("task")).into_iter().flatten().take(THREADS);
        threads.filter_map(Result::ok).find_map(|thread| read(thread.path()))
    };
    read(process.to_owned()).or_else(threads).unwrap_or_default()
}

/// A line of `/proc/PID/maps` with a file.
#[derive(Debug, PartialEq, Eq)]
struct Mapping<'a> {
    range: &'a str,
    is_code: bool,
    inode: u64,
    path: &'a str,
}

impl<'a> Mapping<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (range, rest) = line.split_once(' ')?;
        let (permissions, rest) = rest.split_once(' ')?;
        let (_offset, rest) = rest.split_once(' ')?;
        let (_device, rest) = rest.split_once(' ')?;
        let (inode, path) = rest.split_once(' ')?;
        let inode = inode.parse().ok().filter(|inode| *inode != 0)?;
        let path = path.trim_start_matches(' ');
        path.starts_with('/').then_some(Self { range, is_code: permissions.contains('x'), inode, path })
    }

    /// The file behind the mapping itself, where this process may follow that; else the one of that name in the process's
    /// file system, if it is the same.
    fn open(&self, process: &Path) -> io::Result<(Id, File)> {
        let read = |path: &Path| -> io::Result<(Id, File)> {
            let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_file() {
                Ok((Id::of(&metadata), file))
            } else {
                Err(io::ErrorKind::InvalidInput.into())
            }
        };
        read(&process.join("map_files").join(self.range)).or_else(|_| {
            let path = process.join("root").join(self.path.trim_start_matches('/'));
            match read(&path)? {
                (id, file) if id.inode == self.inode => Ok((id, file)),
                _ => Err(io::ErrorKind::NotFound.into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps_are_read() {
        let line = "7f00-7f01 r-xp 00001000 08:01 123                        /usr/lib/lib ssl.so.3";
        let expected =
            Mapping { range: "7f00-7f01", is_code: true, inode: 123, path: "/usr/lib/lib ssl.so.3" };
        assert_eq!(Mapping::parse(line), Some(expected));
        for line in ["", "7f00-7f01 rw-p 00000000 00:00 0", "7f00-7f01 r-xp 0 00:00 0      [vdso]"] {
            assert_eq!(Mapping::parse(line), None, "{line}");
        }
    }

    #[test]
    fn libraries_are_known_by_their_names() {
        for name in [
            "/usr/lib/libssl.so.3",
            "/a/libssl-e3ab.so.1.1",
            "_ssl.cpython-311.so",
            "/x/libnetty_tcnative.so",
        ] {
            assert!(may_be_library(name.as_bytes()), "{name}");
        }
        for name in ["/usr/lib/libc.so.6", "/ssl/libz.so", ""] {
            assert!(!may_be_library(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn the_own_program_is_found() {
        let own = File::open(std::env::current_exe().expect("the test's own path")).expect("open it");
        let id = Id::of(&own.metadata().expect("metadata"));
        let found = files(std::process::id());
        assert!(found.iter().any(|(there, _)| *there == id));
        assert!(all().any(|pid| pid == std::process::id()));
        assert!(files(u32::MAX).is_empty());
    }
}
