//! Whether the thread that writes a record is the one whose record it is.
//!
//! Some libraries put a record into a buffer that all threads share, and flush it in a step of its own: java.util.logging
//! does so. Then a thread may write what another had put there, and later nothing of its own, or only a third one's. The
//! first time it does, one write holds several records: the flushing thread's and the other's. So from then on nothing
//! that such a process writes is taken for its thread's, if it writes by several threads at all.

use std::num::NonZeroUsize;

use lru::LruCache;

/// Processes that are remembered; beyond, the one that wrote longest ago is forgotten.
const PROCESSES: NonZeroUsize = NonZeroUsize::new(8192).unwrap();

/// How processes write.
#[derive(Debug)]
pub(super) struct Writers(LruCache<u32, Process>);

#[derive(Debug)]
struct Process {
    tid: u32,
    has_several: bool,
    flushes_many: bool,
}

impl Default for Writers {
    fn default() -> Self {
        Self(LruCache::new(PROCESSES))
    }
}

impl Writers {
    /// A thread wrote a line.
    pub(super) fn wrote(&mut self, tgid: u32, tid: u32) {
        let first = || Process { tid, has_several: false, flushes_many: false };
        let process = self.0.get_or_insert_mut(tgid, first);
        process.has_several |= process.tid != tid;
    }

    /// One of its writes held several records.
    pub(super) fn flushed_many(&mut self, tgid: u32) {
        if let Some(process) = self.0.peek_mut(&tgid) {
            process.flushes_many = true;
        }
    }

    /// Whether its threads may write each other's records.
    pub(super) fn share(&self, tgid: u32) -> bool {
        self.0.peek(&tgid).is_some_and(|process| process.has_several && process.flushes_many)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_several_threads_share() {
        let mut writers = Writers::default();
        writers.wrote(1, 1);
        writers.flushed_many(1);
        writers.wrote(1, 1);
        assert!(!writers.share(1));
        writers.wrote(1, 2);
        assert!(writers.share(1));
        writers.wrote(2, 2);
        writers.wrote(2, 3);
        assert!(!writers.share(2) && !writers.share(3));
        writers.flushed_many(2);
        assert!(writers.share(2));
    }
}
