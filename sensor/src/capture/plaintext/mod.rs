//! Probes at OpenSSL's functions, in each file that a process uses them from.
//!
//! A thread of its own reads what the kernel reports of programs that start, map code and end (`perf_event_open(2)`), every
//! [`LOOK`]; another puts probes into files and takes them away, which takes longer (`worker`). Reports are hints only: what a process uses is read from its `/proc/PID/maps`. A file is probed once, however
//! many use it, from its first user on until [`LINGER`] after its last has ended, so that short programs, one after the other, do not
//! change it each time. The kernel puts the probe into each process that maps the file, now or later.

mod functions;
mod perf;
mod users;
mod worker;

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use aya::{
    Ebpf,
    maps::{MapData, ProgramArray},
    programs::{Program, ProgramError, ProgramFd},
};
use lru::LruCache;

use self::{
    perf::{Report, Uprobes, Watch},
    users::Id,
    worker::{Outcome, Wanted, Worker},
};
use super::{Capability, CaptureError, Fill, load::TLS_ENTRIES, session::take};

/// How often reports are read.
const LOOK: Duration = Duration::from_millis(100);
/// How long a file stays probed without a user.
const LINGER: Duration = Duration::from_secs(10);
/// The most files that are probed at once, those included from which probes are still to be taken away. What is beyond is counted.
const FILES: usize = 256;
/// Probes of a file, each of which takes a descriptor.
const PROBES: usize = 11;
/// Files that are known to have no such functions, or could not be probed.
const OTHERS: NonZeroUsize = NonZeroUsize::new(8192).expect("not zero");

/// Calls in progress.
const CALLS: &str = "TLS_CALLS";
/// Where the programs are that go on with a call.
const NEXT: &str = "NEXT_TLS";
/// The programs at the entry and at the return of functions. That of returns is loaded first: [`NEXT`] takes its kind.
const PROGRAMS: [&str; 9] = [
    "tls_return",
    "tls_read",
    "tls_write",
    "tls_read_ex",
    "tls_write_ex",
    "tls_new",
    "tls_forget",
    "tls_walk",
    "tls_tell",
];
/// Those that are reached by tail calls, in the order of their places.
const REACHED: [&str; 2] = ["tls_walk", "tls_tell"];

/// What is told of the probes.
#[derive(Debug, Default)]
pub struct Probed {
    files: AtomicU64,
    failed: AtomicU64,
    full: AtomicU64,
    lost: AtomicU64,
}

impl Probed {
    /// Files that are probed now.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// Times that a file with the functions was not probed, by cause, and that reports of the kernel found no room, after
    /// which all processes were looked at.
    pub fn misses(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [("attach", &self.failed), ("limit", &self.full), ("reports_lost", &self.lost)]
            .into_iter()
            .map(|(cause, count)| (cause, count.load(Ordering::Relaxed)))
    }
}

/// The probes. Dropping it takes them away.
pub(super) struct Plaintext {
    calls: aya::maps::HashMap<MapData, u64, [u64; 6]>,
    probed: Arc<Probed>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Plaintext {
    /// Loads the programs, and probes what the processes that run now use.
    ///
    /// # Errors
    /// When the kernel refuses a program, has no such probes, or does not report of processes.
    pub(super) fn start(ebpf: &mut Ebpf) -> Result<Self, CaptureError> {
        Capability::all_of(&[Capability::Uprobe]).map_err(CaptureError::Unsupported)?;
        let programs = load(ebpf)?;
        let calls = aya::maps::HashMap::try_from(take(ebpf, CALLS)?)
            .map_err(|error| CaptureError::kernel("open", CALLS, error))?;
        let uprobes =
            Uprobes::read().map_err(|error| CaptureError::kernel("find", "the kernel's uprobes", error))?;
        let watch = Watch::open()
            .map_err(|error| CaptureError::kernel("watch", "programs that start (perf_event_open)", error))?;
        let start = |error| CaptureError::kernel("start", "the threads of the probes", error);
        let worker = Worker::start(uprobes, programs).map_err(start)?;
        let (probed, stop) = (Arc::new(Probed::default()), Arc::new(AtomicBool::new(false)));
        let mut probes = Probes {
            watch,
            worker,
            files: HashMap::new(),
            others: LruCache::new(OTHERS),
            users: HashMap::new(),
            forked: Vec::new(),
            probed: Arc::clone(&probed),
        };
        probes.look_at_all();
        probes.settle();
        let is_stopped = Arc::clone(&stop);
        let run = move || {
            while !is_stopped.load(Ordering::Relaxed) {
                thread::park_timeout(LOOK);
                probes.turn(Instant::now());
            }
        };
        let thread = thread::Builder::new().name("probes".to_owned()).spawn(run).map_err(start)?;
        Ok(Self { calls, probed, stop, thread: Some(thread) })
    }

    pub(super) fn probed(&self) -> &Probed {
        &self.probed
    }

    /// How full the map of calls in progress is.
    pub(super) fn calls(&self) -> Fill {
        Fill::of(&self.calls, TLS_ENTRIES)
    }
}

impl Drop for Plaintext {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic was told where it happened.
            let _ = thread.join();
        }
    }
}

type Programs = HashMap<&'static str, ProgramFd>;

fn load(ebpf: &mut Ebpf) -> Result<Programs, CaptureError> {
    let mut programs = Programs::new();
    for name in PROGRAMS {
        programs
            .insert(name, load_one(ebpf, name).map_err(|error| CaptureError::kernel("load", name, error))?);
    }
    let missing = || CaptureError::Unsupported(format!("the eBPF object has no map {NEXT}"));
    let failed = |error| CaptureError::kernel("fill", NEXT, error);
    let mut next = ProgramArray::try_from(ebpf.map_mut(NEXT).ok_or_else(missing)?).map_err(failed)?;
    for (place, name) in (0..).zip(REACHED) {
        if let Some(program) = programs.remove(name) {
            next.set(place, &program, 0).map_err(failed)?;
        }
    }
    Ok(programs)
}

fn load_one(ebpf: &mut Ebpf, name: &str) -> Result<ProgramFd, ProgramError> {
    let Some(Program::UProbe(program)) = ebpf.program_mut(name) else {
        return Err(ProgramError::UnexpectedProgramType);
    };
    program.load()?;
    Ok(program.fd()?.try_clone()?)
}

/// A file that is probed.
struct Users {
    /// `None` until it is.
    probes: Option<Vec<OwnedFd>>,
    count: usize,
    unused_since: Option<Instant>,
}

/// The thread's own.
struct Probes {
    watch: Watch,
    worker: Worker,
    files: HashMap<Id, Users>,
    others: LruCache<Id, ()>,
    /// What each process uses, if anything: of processes that run, and of those that ended since the last turn.
    users: HashMap<u32, Vec<Id>>,
    /// Children and parents of the last turn: what the parent used by then may have been reported after.
    forked: Vec<(u32, u32)>,
    probed: Arc<Probed>,
}

impl Drop for Probes {
    fn drop(&mut self) {
        let probes = self.files.drain().filter_map(|(_, file)| file.probes).flatten();
        self.worker.remove(probes.collect());
    }
}

impl Probes {
    fn look_at_all(&mut self) {
        let known: BTreeSet<u32> = self.users.keys().copied().chain(users::all()).collect();
        for pid in known {
            self.look_at(pid);
        }
    }

    /// Waits until what is to be probed is.
    fn settle(&mut self) {
        while self.files.values().any(|file| file.probes.is_none()) {
            let Some(outcome) = self.worker.outcome() else { break };
            self.take(outcome);
        }
        self.count();
    }

    fn count(&self) {
        let probed = self.files.values().filter(|file| file.probes.is_some()).count();
        self.probed.files.store(probed as u64, Ordering::Relaxed);
    }

    /// Takes what was reported.
    fn turn(&mut self, now: Instant) {
        let outcomes: Vec<_> = self.worker.outcomes().collect();
        for outcome in outcomes {
            self.take(outcome);
        }
        let Self { watch, users, .. } = self;
        let (mut changed, mut forked, mut lost) = (BTreeSet::new(), Vec::new(), 0);
        watch.drain(|report| match report {
            Report::Mapped { pid, name } if users::may_be_library(name) => {
                changed.insert(pid);
            }
            Report::Exec { pid } => {
                changed.insert(pid);
            }
            Report::Exit { pid } if users.contains_key(&pid) => {
                changed.insert(pid);
            }
            Report::Fork { child, parent } => forked.push((child, parent)),
            Report::Lost => lost += 1,
            Report::Mapped { .. } | Report::Exit { .. } => {}
        });
        for (child, parent) in self.forked.iter().chain(&forked) {
            if self.users.contains_key(parent) || changed.contains(parent) {
                changed.insert(*child);
            }
        }
        self.forked = forked;
        if lost > 0 {
            self.probed.lost.fetch_add(lost, Ordering::Relaxed);
            self.look_at_all();
        } else {
            for pid in changed {
                self.look_at(pid);
            }
        }
        let mut unused = Vec::new();
        for (id, file) in &mut self.files {
            if file.count == 0
                && file.probes.is_some()
                && now.duration_since(*file.unused_since.get_or_insert(now)) >= LINGER
            {
                tracing::debug!("the last user is gone of {id}");
                unused.push(*id);
            }
        }
        for id in unused {
            if let Some(probes) = self.files.remove(&id).and_then(|file| file.probes) {
                self.worker.remove(probes);
            }
        }
        self.count();
    }

    /// Brings what is known of a process up to date.
    fn look_at(&mut self, pid: u32) {
        if pid == std::process::id() {
            return;
        }
        let before = self.users.remove(&pid).unwrap_or_default();
        let used: Vec<Id> = users::files(pid)
            .into_iter()
            .filter_map(|(id, file)| self.is_probed(id, file).then_some(id))
            .collect();
        for id in &used {
            if let Some(file) = self.files.get_mut(id) {
                file.count += 1;
                file.unused_since = None;
            }
        }
        for id in before {
            if let Some(file) = self.files.get_mut(&id) {
                file.count = file.count.saturating_sub(1);
            }
        }
        if !used.is_empty() {
            self.users.insert(pid, used);
        }
    }

    /// Whether a file is probed, from now on if need be.
    fn is_probed(&mut self, id: Id, file: File) -> bool {
        if self.files.contains_key(&id) {
            return true;
        }
        if self.others.get(&id).is_some() {
            return false;
        }
        let Some(functions) = functions::find(&file) else {
            self.others.put(id, ());
            return false;
        };
        if self.files.len() + self.worker.leaving() / PROBES >= FILES {
            self.probed.full.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        self.files.insert(id, Users { probes: None, count: 0, unused_since: None });
        self.worker.attach(Wanted { id, file, functions });
        true
    }

    /// Takes what came of a file that was to be probed.
    fn take(&mut self, (id, outcome): Outcome) {
        match outcome {
            Ok(probes) => {
                tracing::debug!("OpenSSL's functions are probed in {id}");
                match self.files.get_mut(&id) {
                    Some(file) => file.probes = Some(probes),
                    None => self.worker.remove(probes),
                }
            }
            Err(error) => {
                tracing::warn!("what is inside TLS is not read of {id}: {error}");
                self.probed.failed.fetch_add(1, Ordering::Relaxed);
                self.others.put(id, ());
                let _ = self.files.remove(&id);
                for used in self.users.values_mut() {
                    used.retain(|there| *there != id);
                }
            }
        }
    }
}
