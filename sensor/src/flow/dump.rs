//! Looking at all sockets once an interval, by a thread of its own that enters namespace after namespace.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::conntrack::Conntrack;
use super::namespace::{Namespace, holders, read_all};

/// What is asked for beside the sockets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Who holds which socket, which takes a walk through all of `/proc`.
    pub holders: bool,
    /// Connection tracking, to be asked from then on.
    pub conntrack: bool,
}

/// What one look found.
#[derive(Debug)]
pub struct Dump {
    /// When it began, in nanoseconds of `CLOCK_MONOTONIC`.
    pub started_ns: u64,
    /// The namespaces in use.
    pub namespaces: Vec<Namespace>,
    /// Namespaces that could not be read.
    pub failed: usize,
    /// Processes by the inodes of their sockets, where that was asked for.
    pub holders: Option<HashMap<u32, Vec<u32>>>,
    /// Connection tracking of the host's namespace, where that was asked for.
    pub conntrack: Option<io::Result<Conntrack>>,
    /// Processor time it took.
    pub cpu: Duration,
}

/// The thread.
#[derive(Debug)]
pub struct Dumper {
    jobs: Sender<Wanted>,
    results: Receiver<io::Result<Dump>>,
    busy: bool,
}

impl Dumper {
    /// Starts the thread, for at most `limit` connections a look.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn start(limit: usize) -> io::Result<Self> {
        let (jobs, orders) = channel();
        let (done, results) = channel();
        thread::Builder::new().name("sock-diag".to_owned()).spawn(move || {
            while let Ok(wanted) = orders.recv() {
                if done.send(look(limit, wanted)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { jobs, results, busy: false })
    }

    /// Asks for a look, unless one is under way.
    pub fn ask(&mut self, wanted: Wanted) {
        if !self.busy {
            self.busy = self.jobs.send(wanted).is_ok();
        }
    }

    /// The result of the look that was asked for; `None` while there is none.
    pub fn answer(&mut self) -> Option<io::Result<Dump>> {
        if !self.busy {
            return None;
        }
        match self.results.try_recv() {
            Ok(result) => {
                self.busy = false;
                Some(result)
            }
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(io::Error::other("the thread has ended"))),
        }
    }

    /// Looks at once and waits for it.
    ///
    /// # Errors
    /// When `/proc` cannot be read, or the thread has ended.
    pub fn look(&mut self, wanted: Wanted) -> io::Result<Dump> {
        self.ask(wanted);
        self.busy = false;
        self.results.recv().unwrap_or_else(|_| Err(io::Error::other("the thread has ended")))
    }
}

fn look(limit: usize, wanted: Wanted) -> io::Result<Dump> {
    let started_ns = clock_ns(ClockId::Monotonic);
    let before = clock_ns(ClockId::ThreadCPUTime);
    let (namespaces, failed) = read_all(limit)?;
    let holders = wanted.holders.then(holders);
    let conntrack = wanted.conntrack.then(Conntrack::open);
    let cpu = Duration::from_nanos(clock_ns(ClockId::ThreadCPUTime) - before);
    Ok(Dump { started_ns, namespaces, failed, holders, conntrack, cpu })
}

/// What a clock says, in nanoseconds.
pub(super) fn clock_ns(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default()
}
