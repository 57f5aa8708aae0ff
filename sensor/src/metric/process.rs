//! What the daemon itself uses.

use std::fs;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::time::{ClockId, clock_gettime};

use crate::identity::Stat;

/// Use of the machine by this process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Processor time in user and kernel mode.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// When the process started, in seconds of the Unix epoch.
    pub start_seconds: f64,
}

/// Why the process could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// A file of `/proc` could not be read.
    #[error("read {path}: {source}")]
    Read {
        /// Which one.
        path: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A file of `/proc` has another form than proc(5) says.
    #[error("{path} has an unknown form")]
    Form {
        /// Which one.
        path: &'static str,
    },
}

const STAT: &str = "/proc/self/stat";
const STATM: &str = "/proc/self/statm";
const BOOT: &str = "/proc/stat";

impl Usage {
    /// Reads the clock of the process and `/proc/self`.
    pub fn read() -> Result<Self, UsageError> {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = Duration::try_from(cpu).unwrap_or_default();
        let pages = parse(STATM, resident_pages)?;
        let ticks = parse(STAT, |line| Stat::parse(line).map(|stat| stat.start_ticks))?;
        let boot = parse(BOOT, boot_seconds)?;
        Ok(Self {
            cpu,
            resident_bytes: pages.saturating_mul(page_size() as u64),
            start_seconds: boot as f64 + ticks as f64 / clock_ticks_per_second() as f64,
        })
    }
}

fn parse(path: &'static str, read: fn(&str) -> Option<u64>) -> Result<u64, UsageError> {
    let text = fs::read_to_string(path).map_err(|source| UsageError::Read { path, source })?;
    read(&text).ok_or(UsageError::Form { path })
}

/// The second field of `statm`.
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The line `btime` of the machine's `stat`.
fn boot_seconds(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn pages_and_the_start_of_the_machine_are_read() {
        assert_eq!(resident_pages("100 25 3"), Some(25));
        assert_eq!(boot_seconds("cpu 1\nbtime 1700000000\n"), Some(1_700_000_000));
    }

    #[test]
    fn this_process_uses_something() {
        let usage = Usage::read().unwrap();
        assert!(usage.resident_bytes > 100_000);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(usage.start_seconds < now + 2.0 && usage.start_seconds > now - 24.0 * 3600.0);
    }
}
