//! Why the capture could not start or go on.

use super::BtfError;

/// An error of the capture.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The daemon was built without the eBPF object.
    #[error(
        "this build carries no eBPF object\nhint: build with `cargo xtask run` or `cargo xtask build-ebpf`"
    )]
    NoObject,
    /// The kernel's types cannot be used.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// The kernel lacks something without which nothing can be captured.
    #[error("{0}")]
    Unsupported(String),
    /// This process may not load programs.
    #[error("not allowed: {0}\nhint: run as root, or give the capabilities that deploy/ lists")]
    NoPrivilege(String),
    /// Another sensor is loaded.
    #[error(
        "another sensor is running on this kernel (eBPF program {id} is loaded)\nhint: stop it first; two would count everything twice"
    )]
    AlreadyRunning {
        /// Id of its program.
        id: u32,
    },
    /// The kernel refused to load or attach a program or map.
    #[error("cannot {action} {name}: {reason}")]
    Kernel {
        /// What was tried.
        action: &'static str,
        /// On what.
        name: String,
        /// What the kernel said.
        reason: String,
    },
}

impl CaptureError {
    /// The first line of what it says, without the verifier's log.
    #[must_use]
    pub fn brief(&self) -> String {
        self.to_string().lines().next().unwrap_or_default().trim_end_matches(". Verifier output: ").to_owned()
    }

    /// Wraps an error of aya, with the whole chain of what it says.
    pub(crate) fn kernel(action: &'static str, name: &str, error: impl std::error::Error) -> Self {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            let text = inner.to_string();
            if !reason.contains(&text) {
                reason.push_str(": ");
                reason.push_str(&text);
            }
            source = inner.source();
        }
        Self::Kernel { action, name: name.to_owned(), reason }
    }
}
