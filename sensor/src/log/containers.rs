//! Whose standard streams a container's are: those of its init process.
//!
//! That is the process of number 1 in the container's own pid namespace; where the pod shares a namespace it is the first that
//! was seen in the container. What is started in it later (`kubectl exec`) has streams of its own, which are not the
//! container's.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use lru::LruCache;

use crate::identity::{ContainerId, Directory, InContainer, Stat};

/// Containers that are remembered.
const CONTAINERS: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

/// The init processes of containers; none where the API server is not asked.
#[derive(Debug)]
pub(super) struct Containers {
    directory: Option<Arc<Directory>>,
    inits: LruCache<ContainerId, u32>,
}

impl Containers {
    pub(super) fn new(directory: Option<Arc<Directory>>) -> Self {
        let mut inits = LruCache::unbounded();
        inits.resize(CONTAINERS);
        Self { directory, inits }
    }

    /// What is known of containers.
    pub(super) fn directory(&self) -> Option<&Directory> {
        self.directory.as_deref()
    }

    /// The container whose init process has started a program; `cgroup` is the number of its control group.
    pub(super) fn started(&mut self, tgid: u32, cgroup: u64) -> Option<InContainer> {
        self.directory.as_ref()?;
        let whose = InContainer::of(tgid, cgroup).filter(|whose| whose.pod.is_some())?;
        let known = self.inits.get(&whose.container).copied();
        if known.is_some_and(|init| init != tgid) && !is_first(tgid) {
            return None;
        }
        self.inits.put(whose.container, tgid);
        Some(whose)
    }

    /// The init processes among those that run.
    pub(super) fn running(&mut self, processes: impl Iterator<Item = u32>) -> Vec<(u32, InContainer)> {
        if self.directory.is_none() {
            return Vec::new();
        }
        let mut oldest: HashMap<ContainerId, ((bool, u64), u32, InContainer)> = HashMap::new();
        for tgid in processes {
            let Some(whose) = InContainer::of(tgid, 0).filter(|whose| whose.pod.is_some()) else { continue };
            let Some(stat) = Stat::of(Path::new(&format!("/proc/{tgid}"))) else { continue };
            let rank = (!is_first(tgid), stat.start_ticks);
            let known = oldest.entry(whose.container).or_insert((rank, tgid, whose));
            if rank < known.0 {
                *known = (rank, tgid, whose);
            }
        }
        for (container, (_, tgid, _)) in &oldest {
            self.inits.put(*container, *tgid);
        }
        oldest.into_values().map(|(_, tgid, whose)| (tgid, whose)).collect()
    }
}

/// Whether a process is number 1 of a pid namespace below the host's (`NSpid` of `proc_pid_status(5)`).
fn is_first(tgid: u32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{tgid}/status")) else { return false };
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.unwrap_or_default().split_whitespace().skip(1).last() == Some("1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_nobodys_init() {
        assert!(!is_first(std::process::id()));
    }

    #[test]
    fn without_an_api_server_there_are_no_containers() {
        let mut containers = Containers::new(None);
        assert_eq!(containers.started(std::process::id(), 0), None);
        assert!(containers.running([std::process::id()].into_iter()).is_empty());
    }
}
