//! The processes of this host, their names, and the containers that they are in.
//!
//! A name comes from what the kernel told when the process started its program, so that a process that lives
//! for milliseconds has one; for older processes from `/proc`; and where neither knows, from the
//! kernel's `comm`, which is what the program was called, cut to 15 bytes.
//!
//! A process is in its parent's container. One that is in none is looked after again when it replaces its program: that is
//! when the runtime has moved it into a new container.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;

use super::cgroup::{ContainerId, InContainer};
use super::directory::Directory;
use super::name::service_name;
use super::stat::Stat;
use super::workload::{Container, Identity};
use crate::mask::without_cards;

/// The most processes to remember; the one not seen for the longest time is forgotten.
pub const CAPACITY: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");
/// The most containers whose first sight is remembered.
const CONTAINERS: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");
/// How long what is told of a container waits for the API server to tell what that is, from its first sight on.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A process.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its name as a service of a bare host.
    pub name: Arc<str>,
    /// The container that it is in, where the API server is asked at all.
    pub container: Option<InContainer>,
}

/// Processes by their ids.
#[derive(Debug)]
pub struct Processes {
    known: LruCache<u32, Known>,
    directory: Option<Arc<Directory>>,
    seen: LruCache<ContainerId, Seen>,
}

/// Whether more may become known of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// All that there is to know is known.
    Whole,
    /// More may be known by then.
    Until(Instant),
    /// That time is over.
    Over,
}

/// What was found of a container.
#[derive(Debug)]
struct Seen {
    /// Its first sight.
    since: Instant,
    /// What was known at that generation of the directory.
    found: (u64, Arc<Container>),
    is_whole: bool,
}

impl Default for Processes {
    fn default() -> Self {
        // The caches grow as they fill.
        let mut known = LruCache::unbounded();
        known.resize(CAPACITY);
        let mut seen = LruCache::unbounded();
        seen.resize(CONTAINERS);
        Self { known, directory: None, seen }
    }
}

impl Processes {
    /// Knows containers too.
    #[must_use]
    pub fn with(directory: Option<Arc<Directory>>) -> Self {
        Self { directory, ..Self::default() }
    }

    /// A process replaced its program. `cgroup` is the number of its control group.
    pub fn exec(&mut self, tgid: u32, cgroup: u64, executable: &[u8], arguments: &[u8]) {
        let executable = String::from_utf8_lossy(executable);
        let arguments = String::from_utf8_lossy(arguments);
        let arguments: Vec<&str> = arguments.split('\0').collect();
        let name = service_name(&executable, &arguments).into();
        let inherited = self.known.peek(&tgid).and_then(|known| known.container);
        let container = inherited.or_else(|| self.container_of(tgid, cgroup));
        self.known.put(tgid, Known { name, container });
    }

    /// A process made another, which runs the same program until it replaces it; what that is called, where it is
    /// known.
    pub fn fork(&mut self, child: u32, parent: u32) -> Option<Arc<str>> {
        let of_parent = self.find(parent);
        match &of_parent {
            Some(known) => self.known.put(child, known.clone()),
            // The number may have belonged to a process that is gone.
            None => self.known.pop(&child),
        };
        of_parent.map(|known| known.name)
    }

    /// The name of a process, given its `comm`.
    pub fn name(&mut self, tgid: u32, comm: [u8; 16]) -> Arc<str> {
        self.get(tgid, comm).name
    }

    /// A process, given its `comm`.
    pub fn get(&mut self, tgid: u32, comm: [u8; 16]) -> Known {
        self.find(tgid).unwrap_or_else(|| {
            let end = comm.iter().position(|byte| *byte == 0).unwrap_or(comm.len());
            let name = without_cards(&String::from_utf8_lossy(&comm[..end])).into();
            let known = Known { name, container: None };
            self.known.put(tgid, known.clone());
            known
        })
    }

    /// A process that runs, or is remembered; `None` when it is gone.
    pub fn find(&mut self, tgid: u32) -> Option<Known> {
        if let Some(known) = self.known.get(&tgid) {
            return Some(known.clone());
        }
        let name = from_proc(tgid)?.into();
        let known = Known { name, container: self.container_of(tgid, 0) };
        self.known.put(tgid, known.clone());
        Some(known)
    }

    /// Who a process is, and whether more may become known of it. What was found of its container is remembered until any
    /// pod changes.
    pub fn identity(&mut self, known: &Known, now: Instant) -> (Identity, Sight) {
        let (Some(directory), Some(whose)) = (&self.directory, known.container) else {
            return (Identity::of_process(Arc::clone(&known.name)), Sight::Whole);
        };
        // Read first: what changes while it is looked up is looked up again.
        let generation = directory.generation();
        let look_up = || {
            let (container, is_whole) = directory.look_up(whose);
            ((generation, container), is_whole)
        };
        let seen = self.seen.get_or_insert_mut(whose.container, || {
            let (found, is_whole) = look_up();
            Seen { since: now, found, is_whole }
        });
        if seen.found.0 != generation {
            (seen.found, seen.is_whole) = look_up();
        }
        let until = seen.since + PATIENCE;
        let sight = match seen.is_whole {
            true => Sight::Whole,
            false if now < until => Sight::Until(until),
            false => Sight::Over,
        };
        (Identity::new(&known.name, &seen.found.1), sight)
    }

    /// What is known of all processes in containers.
    pub fn in_containers(&self) -> impl Iterator<Item = (u32, &Known)> {
        self.known.iter().filter(|(_, known)| known.container.is_some()).map(|(tgid, known)| (*tgid, known))
    }

    /// What is known of the cluster.
    #[must_use]
    pub fn directory(&self) -> Option<&Directory> {
        self.directory.as_deref()
    }

    fn container_of(&self, tgid: u32, cgroup: u64) -> Option<InContainer> {
        self.directory.is_some().then(|| InContainer::of(tgid, cgroup)).flatten()
    }
}

/// All processes that run now, with their names.
#[must_use]
pub fn running() -> HashMap<u32, String> {
    numbers().into_iter().filter_map(|tgid| Some((tgid, from_proc(tgid)?))).collect()
}

/// The numbers of all processes that run now.
#[must_use]
pub fn numbers() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Whether a process has ended, or has begun to.
#[must_use]
pub fn is_ending(tgid: u32) -> bool {
    alive(tgid).is_none()
}

/// The directory of a process that lives. Where its first thread has ended, that one's files show nothing any more: it is the
/// directory of another of its threads.
fn alive(tgid: u32) -> Option<PathBuf> {
    let is_alive = |directory: &PathBuf| Stat::of(directory).is_some_and(|stat| !stat.is_ending());
    let whole = PathBuf::from(format!("/proc/{tgid}"));
    if is_alive(&whole) {
        return Some(whole);
    }
    let threads = std::fs::read_dir(whole.join("task")).ok()?;
    threads.filter_map(|thread| Some(thread.ok()?.path())).find(is_alive)
}

/// The name of a process that runs; `None` when it is gone, or is a kernel thread.
fn from_proc(tgid: u32) -> Option<String> {
    let directory = alive(tgid)?;
    let executable = std::fs::read_link(directory.join("exe")).ok()?;
    let arguments = std::fs::read(directory.join("cmdline")).ok()?;
    let arguments = String::from_utf8_lossy(&arguments);
    let arguments: Vec<&str> = arguments.trim_end_matches('\0').split('\0').collect();
    Some(service_name(&executable.to_string_lossy(), &arguments))
}

#[cfg(test)]
mod tests {
    use rustix::process::{Pid, WaitId, WaitIdOptions};

    use super::*;

    const COMM: [u8; 16] = *b"thread-1\0\0\0\0\0\0\0\0";
    /// No process has this number: it is above the kernel's limit (`PID_MAX_LIMIT`).
    const NOBODY: u32 = 0x7fff_0000;

    #[test]
    fn a_child_has_its_parents_name_until_it_replaces_its_program() {
        let mut processes = Processes::default();
        processes.exec(NOBODY, 0, b"python3.11", b"python3\0app.py\0");
        processes.fork(NOBODY + 1, NOBODY);
        assert_eq!(&*processes.name(NOBODY + 1, COMM), "app.py");
        processes.exec(NOBODY + 1, 0, b"curl", b"curl\0http://x\0");
        assert_eq!(&*processes.name(NOBODY + 1, COMM), "curl");
        assert_eq!(&*processes.name(NOBODY, COMM), "app.py");
    }

    #[test]
    fn a_reused_number_does_not_keep_the_old_name() {
        let mut processes = Processes::default();
        processes.exec(NOBODY, 0, b"old", b"old\0");
        processes.fork(NOBODY, NOBODY + 5);
        assert_eq!(&*processes.name(NOBODY, COMM), "thread-1");
    }

    #[test]
    fn no_name_is_a_card_number() {
        let mut processes = Processes::default();
        assert_eq!(&*processes.name(NOBODY, *b"371449635398431\0"), "***********8431");
    }

    #[test]
    fn this_process_is_found_running() {
        let own = std::process::id();
        assert!(running().contains_key(&own));
        assert!(numbers().contains(&own) && !is_ending(own));
    }

    #[test]
    fn a_process_that_nobody_waited_for_has_ended() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let id = Pid::from_child(&child);
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::process::waitid(WaitId::Pid(id), options).unwrap();
        assert!(is_ending(child.id()));
        child.wait().unwrap();
        assert!(is_ending(child.id()));
    }
}
