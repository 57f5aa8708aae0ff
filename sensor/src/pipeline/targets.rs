//! Which processes are observed.

use std::sync::Arc;

use crate::{
    capture::{Capture, CaptureError},
    config::Target,
    identity::running,
};

/// The configured choice.
#[derive(Debug)]
pub(super) struct Targets {
    processes: Vec<String>,
    exclude: Vec<String>,
}

impl Targets {
    /// Makes the chosen processes among those that run now targets. What they start is followed by the kernel
    /// side.
    pub(super) fn new(choice: &Target, capture: &mut Capture) -> Result<Self, CaptureError> {
        let targets = Self { processes: choice.processes.clone(), exclude: choice.exclude.clone() };
        if !targets.processes.is_empty() {
            for (tgid, name) in running() {
                if targets.is_chosen(&name) {
                    capture.target(tgid)?;
                }
            }
        }
        Ok(targets)
    }

    /// A process runs the program `name` from now on, and is no target by the kernel side's own doing: that forgets a
    /// process that replaced its program, and follows the children of targets. But a child may be older than the
    /// choice of its parent, and a program may be replaced before the choice is made.
    pub(super) fn started(&self, tgid: u32, name: &Arc<str>, capture: &mut Capture) {
        if self.processes.is_empty() {
            return;
        }
        let result = if self.is_chosen(name) { capture.target(tgid) } else { capture.untarget(tgid) };
        if let Err(error) = result {
            tracing::warn!("process {tgid} ({name}) is not chosen as configured: {error}");
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
        let is_chosen = self.processes.is_empty() || self.processes.iter().any(|known| names.contains(&&**known));
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
