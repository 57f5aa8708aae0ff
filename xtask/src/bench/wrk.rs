//! wrk, and the exact figures it gives to a script (its own text is rounded).

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::command;

pub(super) const THREADS: u32 = 1;
pub(super) const CONNECTIONS: u32 = 64;

/// Printed by wrk when it is done; times in microseconds.
const SCRIPT: &str = r#"done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("requests=%d\nduration_us=%d\np50_us=%d\np99_us=%d\nerrors=%d\n",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) requests: u64,
    pub(super) duration: Duration,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

impl Load {
    /// Requests a second.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
    pub(super) fn throughput(&self) -> f64 {
        self.requests as f64 / self.duration.as_secs_f64()
    }
}

/// # Errors
/// wrk failed, or any request did: a figure with failures in it says nothing.
pub(super) fn run(url: &str, seconds: u64) -> Result<Load> {
    run_with(url, seconds, &[])
}

/// The same with more arguments.
///
/// # Errors
/// As [`run`].
pub(super) fn run_with(url: &str, seconds: u64, arguments: &[&str]) -> Result<Load> {
    launch(url, seconds, arguments, "")
}

/// The same with more of a script, which may have any function but `done`.
///
/// # Errors
/// As [`run`].
pub(super) fn scripted(url: &str, seconds: u64, lua: &str) -> Result<Load> {
    launch(url, seconds, &[], lua)
}

fn launch(url: &str, seconds: u64, arguments: &[&str], lua: &str) -> Result<Load> {
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let script = directory.path().join("report.lua");
    fs::write(&script, format!("{SCRIPT}{lua}")).context("cannot write wrk's script")?;
    let mut wrk = Command::new("wrk");
    command::clean(&mut wrk);
    wrk.arg(format!("--threads={THREADS}")).arg(format!("--connections={CONNECTIONS}"));
    wrk.arg(format!("--duration={seconds}s")).arg("--script").arg(&script).args(arguments).arg(url);
    parse(&command::output(&mut wrk)?)
}

fn parse(text: &str) -> Result<Load> {
    let field = |name: &str| -> Result<u64> {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
            .with_context(|| format!("wrk printed no {name}: {text}"))
    };
    let errors = field("errors")?;
    ensure!(errors == 0, "wrk counted {errors} failed requests");
    let requests = field("requests")?;
    ensure!(requests > 0, "wrk got no response");
    Ok(Load {
        requests,
        duration: Duration::from_micros(field("duration_us")?),
        p50: Duration::from_micros(field("p50_us")?),
        p99: Duration::from_micros(field("p99_us")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "Running 2s test @ http://127.0.0.1/\n  1 threads and 64 connections\n\
                          requests=120000\nduration_us=2000000\np50_us=900\np99_us=2100\nerrors=0\n";

    #[test]
    fn the_figures_are_read() {
        let load = parse(OUTPUT).unwrap();
        assert_eq!(load.requests, 120_000);
        assert!((load.throughput() - 60_000.0).abs() < 1e-9);
        assert_eq!((load.p50.as_micros(), load.p99.as_micros()), (900, 2100));
    }

    #[test]
    fn failed_requests_and_missing_figures_are_errors() {
        let failed = parse(&OUTPUT.replace("errors=0", "errors=3")).unwrap_err();
        assert_eq!(failed.to_string(), "wrk counted 3 failed requests");
        assert!(parse(&OUTPUT.replace("requests=120000", "requests=0")).is_err());
        assert!(parse("unable to connect").unwrap_err().to_string().starts_with("wrk printed no errors"));
    }
}
