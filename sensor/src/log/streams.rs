//! Which pipes and terminals are followed, and whose they are.
//!
//! A process is chosen by [`Choice`]; its standard streams are what it holds as descriptors 1 and 2. Of a tree of chosen
//! processes only the topmost counts: what its children write to the inherited stream comes with it, and what they write
//! to a pipe among themselves is none of its streams.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, major, minor};
use sensor_common::log::PipeKey;

use super::choice::{Choice, Followed, Pods, Process, cgroup};
use super::containers::Containers;
use super::engine::Engine;
use super::record::Iostream;
use crate::capture::{CaptureError, Pipes, Started};
use crate::identity::{Identity, InContainer, PATIENCE, running, service_name};

/// Numbers that this side gives: the kernel side's have another highest bit.
const OWN_NUMBERS: u64 = 1 << 63;
/// How long a pipe that nobody chose is kept: another program may start on it, as a shell does that replaces itself.
const UNDECIDED: Duration = Duration::from_millis(200);
/// How often streams whose process has ended are looked after.
const SWEEP: Duration = Duration::from_secs(10);
/// Major numbers of terminals (`UNIX98_PTY_SLAVE_MAJOR`).
const TERMINALS: std::ops::Range<u32> = 136..144;
/// Bits of the minor number in the kernel's form of a device.
const MINOR_BITS: u32 = 20;

#[derive(Debug)]
struct Stream {
    number: u64,
    owner: u32,
    /// Name of its process, as long as nothing better is known.
    name: Arc<str>,
    /// `None` where one pipe is both.
    iostream: Option<Iostream>,
    whose: Option<Whose>,
    /// Left alone, as the annotations, the namespace and the service of its pod say now.
    is_off: bool,
}

/// The container that a stream is of.
#[derive(Clone, Debug)]
struct Whose {
    container: InContainer,
    since: Instant,
    /// Nothing more will become known, unless its pod changes.
    is_whole: bool,
}

impl From<InContainer> for Whose {
    fn from(container: InContainer) -> Self {
        Self { container, since: Instant::now(), is_whole: false }
    }
}

/// The followed streams.
#[derive(Debug)]
pub(super) struct Streams {
    choices: Vec<Choice>,
    containers: Containers,
    pods: Pods,
    /// Of what was last looked up.
    generation: u64,
    followed: HashMap<PipeKey, Stream>,
    /// Those that nobody holds any more; what is still held of them is told before the next sweep.
    over: Vec<Stream>,
    chosen: HashSet<u32>,
    undecided: Vec<(Instant, PipeKey)>,
    next_number: u64,
    swept: Instant,
}

impl Streams {
    /// Follows the streams of the chosen processes that run now.
    pub(super) fn new(
        followed: Followed,
        pipes: &mut Pipes,
        engine: &mut Engine,
    ) -> Result<Self, CaptureError> {
        let mut streams = Self {
            choices: followed.choices,
            containers: Containers::new(followed.containers),
            pods: followed.pods,
            generation: 0,
            followed: HashMap::new(),
            over: Vec::new(),
            chosen: HashSet::new(),
            undecided: Vec::new(),
            next_number: OWN_NUMBERS,
            swept: Instant::now(),
        };
        for choice in &streams.choices {
            if let Choice::Pid(pid) = choice
                && !Path::new(&format!("/proc/{pid}")).exists()
            {
                return Err(CaptureError::Unsupported(format!(
                    "no process {pid} runs\nhint: --logs takes the id of a process that runs, or a command"
                )));
            }
        }
        streams.look(pipes, engine)?;
        Ok(streams)
    }

    /// Follows the streams of the chosen processes that run now, as far as they are not: some of their starts were not told.
    pub(super) fn look(&mut self, pipes: &mut Pipes, engine: &mut Engine) -> Result<(), CaptureError> {
        let running = running();
        for (pid, name) in &running {
            let executable = fs::read_link(format!("/proc/{pid}/exe")).ok();
            let executable = executable.as_deref().and_then(Path::file_name).unwrap_or_default();
            if self.is_chosen(*pid, name, &executable.to_string_lossy()) {
                self.chosen.insert(*pid);
            }
        }
        let topmost: Vec<u32> = self
            .chosen
            .iter()
            .copied()
            .filter(|pid| parent(*pid).is_none_or(|parent| !self.chosen.contains(&parent)))
            .collect();
        for pid in topmost {
            let name: Arc<str> = running.get(&pid).map_or("", String::as_str).into();
            self.follow_running(pid, &name, None, pipes, engine)?;
        }
        for (pid, container) in self.containers.running(running.keys().copied()) {
            if pid == std::process::id() {
                continue;
            }
            self.chosen.insert(pid);
            let name: Arc<str> = running.get(&pid).map_or("", String::as_str).into();
            self.follow_running(pid, &name, Some(container), pipes, engine)?;
        }
        self.identify(pipes, engine);
        Ok(())
    }

    /// How many pipes and terminals are followed.
    pub(super) fn len(&self) -> usize {
        self.followed.len()
    }

    /// A process has started a program; the kernel side follows its streams already.
    pub(super) fn started(&mut self, started: &Started<'_>, pipes: &mut Pipes, engine: &mut Engine) {
        let executable = String::from_utf8_lossy(started.executable);
        let arguments = String::from_utf8_lossy(started.arguments);
        let arguments: Vec<&str> = arguments.split('\0').collect();
        let name: Arc<str> = service_name(&executable, &arguments).into();
        let container = self.containers.started(started.tgid, started.cgroup);
        let container = container.filter(|_| started.tgid != std::process::id());
        let is_chosen = container.is_some()
            || !self.chosen.contains(&started.parent) && self.is_chosen(started.tgid, &name, &executable);
        if is_chosen {
            self.chosen.insert(started.tgid);
        }
        let [out, error] = started.streams;
        let both = out.is_some() && out == error;
        for (stream, iostream) in [(out, Iostream::Stdout), (error, Iostream::Stderr)] {
            let Some((number, key)) = stream else { continue };
            if is_chosen {
                self.undecided.retain(|(_, other)| *other != key);
                let owner = started.tgid;
                let iostream_told = (!both).then_some(iostream);
                let stream = Stream {
                    number,
                    owner,
                    name: Arc::clone(&name),
                    iostream: iostream_told,
                    whose: container.map(Whose::from),
                    is_off: false,
                };
                if self.followed.insert(key, stream).is_none_or(|before| before.is_off)
                    && let Err(error) = pipes.follow(key, number)
                {
                    tracing::warn!(
                        "{} of process {owner} ({name}) is not followed: {error}",
                        iostream.name()
                    );
                }
                engine.follow(number, Arc::clone(&name), iostream_told);
                continue;
            }
            match self.followed.get(&key) {
                // The kernel side has begun to follow it anew.
                Some(known) if known.is_off => pipes.forget(key),
                Some(_) => {}
                None => self.undecided.push((Instant::now(), key)),
            }
        }
        if container.is_some() {
            self.identify(pipes, engine);
        }
    }

    /// Looks up whose the streams of containers are. Those that are not wanted are left alone as long as that is so.
    fn identify(&mut self, pipes: &mut Pipes, engine: &mut Engine) {
        let Some(directory) = self.containers.directory() else { return };
        let generation = directory.generation();
        let has_changed = std::mem::replace(&mut self.generation, generation) != generation;
        let followed = self.followed.iter_mut().map(|(key, stream)| (Some(*key), stream));
        for (key, stream) in followed.chain(self.over.iter_mut().map(|stream| (None, stream))) {
            let Some(whose) = stream.whose.as_mut().filter(|whose| has_changed || !whose.is_whole) else {
                continue;
            };
            let (container, is_whole) = directory.look_up(whose.container);
            whose.is_whole = is_whole;
            let is_waiting = !is_whole && whose.since.elapsed() < PATIENCE;
            let identity = Identity::new(&stream.name, &container);
            let is_off = !container.wanted.logs || !self.pods.has(&container, &identity.service_name);
            if is_off != stream.is_off {
                stream.is_off = is_off;
                stream.switch(key, pipes, engine);
            }
            if !is_off {
                engine.identify(stream.number, identity, is_waiting);
            }
        }
    }

    /// Gives up pipes that nobody chose, and now and then those that nobody holds any more.
    pub(super) fn turn(&mut self, pipes: &mut Pipes, engine: &mut Engine) {
        self.identify(pipes, engine);
        let followed = &self.followed;
        self.undecided.retain(|(since, key)| {
            if since.elapsed() < UNDECIDED {
                return true;
            }
            if !followed.contains_key(key) {
                pipes.forget(*key);
            }
            false
        });
        if self.swept.elapsed() < SWEEP {
            return;
        }
        self.swept = Instant::now();
        for stream in self.over.drain(..) {
            engine.forget(stream.number);
        }
        self.chosen.retain(|pid| Path::new(&format!("/proc/{pid}")).exists());
        let ended: HashSet<PipeKey> = self
            .followed
            .iter()
            .filter(|(_, stream)| !self.chosen.contains(&stream.owner))
            .map(|(key, _)| *key)
            .collect();
        if ended.is_empty() {
            return;
        }
        let held = held(&ended);
        for key in ended.difference(&held) {
            pipes.forget(*key);
            self.over.extend(self.followed.remove(key));
        }
    }

    fn is_chosen(&self, pid: u32, service_name: &str, executable: &str) -> bool {
        let process = Process { pid, service_name, executable, cgroup: &|| cgroup(pid) };
        pid != std::process::id() && self.choices.iter().any(|choice| choice.is(&process))
    }

    fn follow_running(
        &mut self,
        pid: u32,
        name: &Arc<str>,
        container: Option<InContainer>,
        pipes: &mut Pipes,
        engine: &mut Engine,
    ) -> Result<(), CaptureError> {
        let [out, error] = [1, 2].map(|descriptor| key_of(&format!("/proc/{pid}/fd/{descriptor}")));
        if out.is_none() && error.is_none() && container.is_none() {
            tracing::warn!(
                "standard output and error of process {pid} ({name}) are neither pipes nor terminals: not followed"
            );
        }
        let both = out.is_some() && out == error;
        for (key, iostream) in [(out, Iostream::Stdout), (error, Iostream::Stderr)] {
            let Some(key) = key else { continue };
            if self.followed.contains_key(&key) {
                continue;
            }
            self.next_number += 1;
            let number = self.next_number;
            let iostream = (!both).then_some(iostream);
            engine.follow(number, Arc::clone(name), iostream);
            pipes.follow(key, number)?;
            let name = Arc::clone(name);
            let whose = container.map(Whose::from);
            self.followed.insert(key, Stream { number, owner: pid, name, iostream, whose, is_off: false });
        }
        Ok(())
    }
}

impl Stream {
    /// Follows it from now on, or not any more.
    fn switch(&self, key: Option<PipeKey>, pipes: &mut Pipes, engine: &mut Engine) {
        if self.is_off {
            if let Some(key) = key {
                pipes.forget(key);
            }
            engine.forget(self.number);
            return;
        }
        if let Some(key) = key
            && let Err(error) = pipes.follow(key, self.number)
        {
            let (owner, name) = (self.owner, &self.name);
            tracing::warn!("a standard stream of process {owner} ({name}) is not followed: {error}");
        }
        engine.follow(self.number, Arc::clone(&self.name), self.iostream);
    }
}

/// The pipe or terminal that a path is; `None` for other files, and where there is none.
fn key_of(path: &str) -> Option<PipeKey> {
    let stat = rustix::fs::stat(CString::new(path).ok()?).ok()?;
    let is_terminal = |device| TERMINALS.contains(&major(device));
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => {}
        FileType::CharacterDevice if is_terminal(stat.st_rdev) => {}
        _ => return None,
    }
    let device = major(stat.st_dev) << MINOR_BITS | minor(stat.st_dev);
    Some(PipeKey { inode: stat.st_ino, device, padding: 0 })
}

/// The process that made another.
fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// Those of the pipes that a process of this host has open.
fn held(keys: &HashSet<PipeKey>) -> HashSet<PipeKey> {
    let mut held = HashSet::new();
    let Ok(processes) = fs::read_dir("/proc") else { return keys.clone() };
    let numbered = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    for process in
        processes.filter_map(Result::ok).filter(|entry| entry.file_name().to_str().is_some_and(numbered))
    {
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        for descriptor in descriptors.filter_map(Result::ok) {
            if let Some(key) = descriptor.path().to_str().and_then(key_of)
                && keys.contains(&key)
            {
                held.insert(key);
            }
        }
        if held.len() == keys.len() {
            break;
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_has_a_key_and_a_file_has_none() {
        let (reader, writer) = std::io::pipe().unwrap();
        let path = |file: &dyn std::os::fd::AsRawFd| format!("/proc/self/fd/{}", file.as_raw_fd());
        let key = key_of(&path(&writer)).unwrap();
        assert_eq!(key_of(&path(&reader)), Some(key));
        assert!(held(&[key].into()).contains(&key));
        drop((reader, writer));
        assert!(held(&[key].into()).is_empty());
        assert_eq!(key_of("/proc/self/exe"), None);
        assert_eq!(key_of("/dev/null"), None);
    }

    #[test]
    fn a_process_has_a_parent() {
        assert!(parent(std::process::id()).is_some());
        assert_eq!(parent(0x7fff_0000), None);
    }
}
