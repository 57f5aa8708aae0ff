//! What a person types and sees.

pub mod args;
pub mod check;
pub mod display;
pub mod flows;
pub mod lines;
pub mod log;
pub mod mask;
pub mod output;
pub mod run;
mod shipping;
pub mod stats;
pub mod table;

/// The running kernel's release, as `uname -r` prints it.
#[must_use]
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// The host's name, as `uname -n` prints it.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
