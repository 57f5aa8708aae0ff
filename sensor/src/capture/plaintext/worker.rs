//! Puts probes into files and takes them away, one after the other: the kernel waits for all processors each time, up to a tenth
//! of a second where they are busy, and meanwhile nobody else can do either. What is to be probed goes first.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread::{self, JoinHandle};

use aya::programs::ProgramFd;

use super::{functions::Function, perf::Uprobes, users::Id};

/// How many probes are taken away at once at the end.
const AT_ONCE: usize = 64;

/// A file to probe, and where its functions are.
pub(super) struct Wanted {
    pub(super) id: Id,
    pub(super) file: File,
    pub(super) functions: Vec<(Function, u64)>,
}

/// The probes of a file, or why it has none.
pub(super) type Outcome = (Id, io::Result<Vec<OwnedFd>>);

enum Job {
    Attach(Wanted),
    Remove(Vec<OwnedFd>),
}

/// The thread. Dropping it takes away what is left, and waits for that.
pub(super) struct Worker {
    jobs: Option<Sender<Job>>,
    outcomes: Receiver<Outcome>,
    leaving: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// # Errors
    /// When the system has no thread.
    pub(super) fn start(uprobes: Uprobes, programs: HashMap<&'static str, ProgramFd>) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let (told, outcomes) = mpsc::channel();
        let leaving = Arc::new(AtomicUsize::new(0));
        let turns = Turns {
            uprobes,
            programs,
            wanted: VecDeque::new(),
            unwanted: Vec::new(),
            leaving: Arc::clone(&leaving),
        };
        let thread =
            thread::Builder::new().name("probing".to_owned()).spawn(move || turns.run(&queue, &told))?;
        Ok(Self { jobs: Some(jobs), outcomes, leaving, thread: Some(thread) })
    }

    pub(super) fn attach(&self, wanted: Wanted) {
        self.send(Job::Attach(wanted));
    }

    pub(super) fn remove(&self, probes: Vec<OwnedFd>) {
        let _ = self.leaving.fetch_add(probes.len(), Ordering::Relaxed);
        self.send(Job::Remove(probes));
    }

    fn send(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The thread ends when this is dropped, and not before.
            let _ = jobs.send(job);
        }
    }

    /// Probes that wait to be taken away.
    pub(super) fn leaving(&self) -> usize {
        self.leaving.load(Ordering::Relaxed)
    }

    /// What came of files that were to be probed, as far as it is known.
    pub(super) fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        self.outcomes.try_iter()
    }

    /// Waits for the next of them.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.outcomes.recv().ok()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic was told where it happened.
            let _ = thread.join();
        }
    }
}

/// The thread's own.
struct Turns {
    uprobes: Uprobes,
    programs: HashMap<&'static str, ProgramFd>,
    wanted: VecDeque<Wanted>,
    unwanted: Vec<OwnedFd>,
    leaving: Arc<AtomicUsize>,
}

impl Turns {
    fn run(mut self, queue: &Receiver<Job>, told: &Sender<Outcome>) {
        loop {
            let is_idle = self.wanted.is_empty() && self.unwanted.is_empty();
            let job =
                if is_idle { queue.recv().map_err(|_| TryRecvError::Disconnected) } else { queue.try_recv() };
            match job {
                Ok(Job::Attach(wanted)) => self.wanted.push_back(wanted),
                Ok(Job::Remove(probes)) => self.unwanted.extend(probes),
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => self.turn(told),
            }
        }
        close_at_once(self.unwanted);
    }

    fn turn(&mut self, told: &Sender<Outcome>) {
        if let Some(wanted) = self.wanted.pop_front() {
            let outcome = self.attach(&wanted);
            // Who asked waits for it, or takes all away now.
            let _ = told.send((wanted.id, outcome));
        } else if let Some(probe) = self.unwanted.pop() {
            drop(probe);
            let _ = self.leaving.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn attach(&self, wanted: &Wanted) -> io::Result<Vec<OwnedFd>> {
        let mut probes = Vec::new();
        // First those that forget what an address stood for.
        for function in Function::ALL {
            let Some((_, offset)) = wanted.functions.iter().find(|(there, _)| *there == function) else {
                continue;
            };
            for (name, at_return) in function.programs() {
                let Some(program) = self.programs.get(name) else { continue };
                probes.push(self.uprobes.attach(&wanted.file, *offset, at_return, program.as_fd())?);
            }
        }
        Ok(probes)
    }
}

fn close_at_once(probes: Vec<OwnedFd>) {
    let mut probes = probes.into_iter().peekable();
    while probes.peek().is_some() {
        thread::scope(|scope| {
            for probe in probes.by_ref().take(AT_ONCE) {
                // Without a thread it is dropped all the same.
                let _ = thread::Builder::new().spawn_scoped(scope, move || drop(probe));
            }
        });
    }
}
