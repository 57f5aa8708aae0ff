//! The processes of this host and their names.
//!
//! A name comes from what the kernel told when the process started its program, so that a process that lives
//! for milliseconds has one; for older processes from `/proc`; and where neither knows, from the
//! kernel's `comm`, which is what the program was called, cut to 15 bytes.

use std::{collections::HashMap, num::NonZeroUsize, sync::Arc};

use lru::LruCache;

use super::name::service_name;

/// The most processes to remember; the one not seen for the longest time is forgotten.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");

/// Names by process id.
#[derive(Debug)]
pub struct Processes {
    names: LruCache<u32, Arc<str>>,
}

impl Default for Processes {
    fn default() -> Self {
        // The cache grows as it fills.
        let mut names = LruCache::unbounded();
        names.resize(CAPACITY);
        Self { names }
    }
}

impl Processes {
    /// A process replaced its program; what it is called now.
    pub fn exec(&mut self, tgid: u32, executable: &[u8], arguments: &[u8]) -> Arc<str> {
        let executable = String::from_utf8_lossy(executable);
        let arguments = String::from_utf8_lossy(arguments);
        let arguments: Vec<&str> = arguments.split('\0').collect();
        let name: Arc<str> = service_name(&executable, &arguments).into();
        self.names.put(tgid, Arc::clone(&name));
        name
    }

    /// A process made another, which runs the same program until it replaces it; what that is called, where it is
    /// known.
    pub fn fork(&mut self, child: u32, parent: u32) -> Option<Arc<str>> {
        let name = self.names.get(&parent).cloned().or_else(|| {
            let name: Arc<str> = from_proc(parent)?.into();
            self.names.put(parent, Arc::clone(&name));
            Some(name)
        });
        match &name {
            Some(name) => self.names.put(child, Arc::clone(name)),
            // The number may have belonged to a process that is gone.
            None => self.names.pop(&child),
        };
        name
    }

    /// The name of a process, given its `comm`.
    pub fn name(&mut self, tgid: u32, comm: [u8; 16]) -> Arc<str> {
        if let Some(name) = self.names.get(&tgid) {
            return Arc::clone(name);
        }
        let name = from_proc(tgid).unwrap_or_else(|| {
            let end = comm.iter().position(|byte| *byte == 0).unwrap_or(comm.len());
            String::from_utf8_lossy(&comm[..end]).into_owned()
        });
        let name: Arc<str> = name.into();
        self.names.put(tgid, Arc::clone(&name));
        name
    }
}

impl Processes {
    /// The name of a process that runs; `None` when it is gone.
    pub fn find(&mut self, tgid: u32) -> Option<Arc<str>> {
        if let Some(name) = self.names.get(&tgid) {
            return Some(Arc::clone(name));
        }
        let name: Arc<str> = from_proc(tgid)?.into();
        self.names.put(tgid, Arc::clone(&name));
        Some(name)
    }
}

/// All processes that run now, with their names.
#[must_use]
pub fn running() -> HashMap<u32, String> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return HashMap::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|tgid| Some((tgid, from_proc(tgid)?)))
        .collect()
}

/// The name of a process that runs; `None` when it is gone, or is a kernel thread.
fn from_proc(tgid: u32) -> Option<String> {
    let executable = std::fs::read_link(format!("/proc/{tgid}/exe")).ok()?;
    let arguments = std::fs::read(format!("/proc/{tgid}/cmdline")).ok()?;
    let arguments = String::from_utf8_lossy(&arguments);
    let arguments: Vec<&str> = arguments.trim_end_matches('\0').split('\0').collect();
    Some(service_name(&executable.to_string_lossy(), &arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMM: [u8; 16] = *b"thread-1\0\0\0\0\0\0\0\0";
    /// No process has this number: it is above the kernel's limit (`PID_MAX_LIMIT`).
    const NOBODY: u32 = 0x7fff_0000;

    #[test]
    fn a_child_has_its_parents_name_until_it_replaces_its_program() {
        let mut processes = Processes::default();
        processes.exec(NOBODY, b"python3.11", b"python3\0app.py\0");
        processes.fork(NOBODY + 1, NOBODY);
        assert_eq!(&*processes.name(NOBODY + 1, COMM), "app.py");
        processes.exec(NOBODY + 1, b"curl", b"curl\0http://x\0");
        assert_eq!(&*processes.name(NOBODY + 1, COMM), "curl");
        assert_eq!(&*processes.name(NOBODY, COMM), "app.py");
    }

    #[test]
    fn a_reused_number_does_not_keep_the_old_name() {
        let mut processes = Processes::default();
        processes.exec(NOBODY, b"old", b"old\0");
        processes.fork(NOBODY, NOBODY + 5);
        assert_eq!(&*processes.name(NOBODY, COMM), "thread-1");
    }

    #[test]
    fn this_process_is_found_running() {
        assert!(running().contains_key(&std::process::id()));
    }
}
