//! Which processes are observed.

use std::time::Instant;

use lru::LruCache;
use sensor_common::target::{ALL, ALL_BUT, BY_CONTAINER, BY_PROGRAM, NOT_ENTERED};

use crate::{
    capture::Capture,
    config::Config,
    identity::{CAPACITY, Identity, Known, Processes, is_ending, numbers},
};

/// The configured choice.
#[derive(Debug)]
pub(super) struct Targets {
    processes: Vec<String>,
    exclude: Vec<String>,
    /// What the kernel's map means, in the words of [`sensor_common::target`].
    mode: u32,
    /// Processes that are in it for their container.
    entered: LruCache<u32, ()>,
    generation: u64,
}

impl Targets {
    /// Enters the processes that run now. What they start is followed by the kernel side.
    pub(super) fn new(config: &Config, capture: &mut Capture, processes: &mut Processes) -> Self {
        let mut entered = LruCache::unbounded();
        // As many as are known by name.
        entered.resize(CAPACITY);
        let (choice, mode) = (&config.target, config.target_mode());
        let (names, exclude) = (choice.processes.clone(), choice.exclude.clone());
        let mut targets = Self { processes: names, exclude, mode, entered, generation: 0 };
        if mode == ALL {
            return targets;
        }
        for tgid in numbers() {
            if let Some(known) = processes.find(tgid) {
                let (identity, _) = processes.identity(&known, Instant::now());
                targets.enter(tgid, &known, &identity, capture);
            }
        }
        targets
    }

    /// A process runs a program from now on, and is entered by the kernel side's own doing or not at all: that forgets a
    /// process that replaced its program, and follows children. But a child may be older than the choice of its parent, and
    /// a program may be replaced before the choice is made.
    pub(super) fn started(&mut self, tgid: u32, processes: &mut Processes, capture: &mut Capture) {
        if self.mode == ALL {
            return;
        }
        let Some(known) = processes.find(tgid) else { return };
        let (identity, _) = processes.identity(&known, Instant::now());
        self.enter(tgid, &known, &identity, capture);
    }

    /// A process made another, which the kernel side has entered as it had entered that.
    pub(super) fn inherited(&mut self, child: u32, parent: u32) {
        if self.entered.contains(&parent) {
            self.entered.put(child, ());
        }
    }

    /// Looks at all processes in containers again, where more has become known of these.
    pub(super) fn turn(&mut self, processes: &mut Processes, capture: &mut Capture) {
        let generation = processes.directory().map_or(0, crate::identity::Directory::generation);
        if self.mode == ALL || generation == self.generation {
            return;
        }
        self.generation = generation;
        let all: Vec<(u32, Known)> =
            processes.in_containers().map(|(tgid, known)| (tgid, known.clone())).collect();
        for (tgid, known) in all {
            let (identity, _) = processes.identity(&known, Instant::now());
            let is_entered = self.entered.contains(&tgid);
            let entry = self.entry(&known, &identity);
            // What was chosen by its own name stays as it is.
            if is_entered == (entry == Some(BY_CONTAINER)) {
                continue;
            }
            self.enter(tgid, &known, &identity, capture);
        }
    }

    /// What the kernel's map has to say of a process.
    fn entry(&self, known: &Known, identity: &Identity) -> Option<u8> {
        // One that wants either is left alone in the other by the daemon.
        let is_left = identity
            .container
            .as_ref()
            .is_some_and(|container| !container.wanted.http && !container.wanted.flows);
        if self.mode == ALL_BUT {
            return is_left.then_some(BY_CONTAINER);
        }
        if is_left {
            return None;
        }
        if self.is_chosen(&known.name) {
            return Some(BY_PROGRAM);
        }
        (identity.container.is_some() && self.is_chosen(&identity.service_name)).then_some(BY_CONTAINER)
    }

    fn enter(&mut self, tgid: u32, known: &Known, identity: &Identity, capture: &mut Capture) {
        let entry = self.entry(known, identity);
        if entry == Some(BY_CONTAINER) {
            self.entered.put(tgid, ());
        } else {
            self.entered.pop(&tgid);
        }
        capture.target(tgid, entry.unwrap_or(NOT_ENTERED));
        // The kernel side takes the entry of one that ends, unless it has done so before the entry was made.
        if entry.is_some() && is_ending(tgid) {
            capture.target(tgid, NOT_ENTERED);
        }
    }

    /// Whether any service's exchanges are left alone.
    pub(super) fn excludes(&self) -> bool {
        !self.exclude.is_empty()
    }

    /// Whether exchanges of this service are left alone.
    #[must_use]
    pub(super) fn is_excluded(&self, name: &str) -> bool {
        self.exclude.iter().any(|excluded| excluded == name)
    }

    /// Whether connections of a process are told, by its own name and by its service's. The daemon's own are not.
    #[must_use]
    pub(super) fn is_observed(&self, process: &str, service: &str) -> bool {
        let names = [process, service];
        let is_chosen =
            self.processes.is_empty() || self.processes.iter().any(|known| names.contains(&&**known));
        let is_excluded = names.iter().any(|name| self.is_excluded(name));
        is_chosen && !is_excluded && process != env!("CARGO_PKG_NAME")
    }

    /// Whether connections are told of which the process is not known.
    #[must_use]
    pub(super) fn is_unknown_observed(&self) -> bool {
        self.processes.is_empty()
    }

    fn is_chosen(&self, name: &str) -> bool {
        self.processes.iter().any(|chosen| chosen == name) && !self.is_excluded(name)
    }
}
