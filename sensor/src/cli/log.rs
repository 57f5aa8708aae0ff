//! The daemon's log, on standard error.

use std::io::IsTerminal;

use anyhow::Context;
use tracing::Level;
use tracing_subscriber::EnvFilter;

/// The target of messages that the eBPF programs send.
const EBPF_TARGET: &str = "sensor_ebpf";

/// Starts logging what passes `filter`.
///
/// # Errors
/// When the filter's syntax is wrong.
pub fn start(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).with_context(|| {
        format!("invalid log filter {filter:?}\nhint: write it like info, or info,sensor_ebpf=debug")
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    Ok(())
}

/// The level of messages that the eBPF programs are loaded with, as aya-log counts it: 0 drops their code. They
/// have debug messages only.
#[must_use]
pub fn ebpf_level() -> u8 {
    if tracing::enabled!(target: EBPF_TARGET, Level::DEBUG) { aya_log::Level::Debug as u8 } else { 0 }
}
