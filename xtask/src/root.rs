//! Refusals for those who are not root, with the line to type.

use anyhow::{Result, bail};

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// # Errors
/// The caller is not root. `command` is what is typed after `cargo`, for the hint.
pub(crate) fn require(what: &str, command: &str) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    bail!("{what} needs root\nhint: {}", sudo(&format!("cargo {command}")));
}

/// The command under sudo with the caller's environment: cargo is found by `PATH`, its registry by `HOME`.
pub(crate) fn sudo(command: &str) -> String {
    format!("sudo -E env \"PATH=$PATH\" {command}")
}
