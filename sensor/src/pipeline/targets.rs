//! Which processes are observed.

use std::{path::Path, sync::Arc};

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
                if targets.is_observed(&name) {
                    capture.target(tgid)?;
                }
            }
        }
        Ok(targets)
    }

    /// A process began to run the program `name`, or was made by one that does: the kernel side makes the child of a
    /// target a target, but the parent may not have been one yet.
    pub(super) fn started(&self, tgid: u32, name: &Arc<str>, capture: &mut Capture) {
        if self.processes.is_empty() {
            return;
        }
        if !self.is_observed(name) {
            capture.untarget(tgid);
        } else if let Err(error) = capture.target(tgid) {
            tracing::warn!("process {tgid} ({name}) is not observed: {error}");
        } else if !Path::new("/proc").join(tgid.to_string()).exists() {
            // It ended before it was a target, so the kernel side will not take it out.
            capture.untarget(tgid);
        }
    }

    /// Whether exchanges of this service are told. The kernel side may still take a process for a target that began
    /// to run another program a moment ago.
    #[must_use]
    pub(super) fn is_observed(&self, name: &str) -> bool {
        let contains = |names: &[String]| names.iter().any(|known| known == name);
        (self.processes.is_empty() || contains(&self.processes)) && !contains(&self.exclude)
    }
}
