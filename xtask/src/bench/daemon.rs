//! The sensor while it is measured: started, asked, and ended.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::logs::WRITERS;
use super::{free_port, metrics};
use crate::command;

const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(20);
/// How long the sensor's counters may go on rising after the load.
const DRAIN: Duration = Duration::from_secs(10);
/// The counters stand still when they are the same after this time.
const STILL: Duration = Duration::from_millis(500);

/// What the sensor looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Nginx,
    Host,
    /// The whole host, without or with what is told of connections.
    Flows(bool),
    /// The programs that write lines, whose records are printed to `/dev/null`.
    Logs,
}

pub(super) struct Daemon {
    process: Child,
    url: String,
    directory: TempDir,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Usage {
    pub(super) cpu_seconds: f64,
    pub(super) peak_kib: u64,
}

impl Daemon {
    /// Starts the sensor and waits until it answers.
    pub(super) fn start(sensor: &Path, target: Target) -> Result<Self> {
        match target {
            Target::Host => Self::with(sensor, "", &[]),
            Target::Logs => {
                let names = WRITERS.iter().flat_map(|name| ["--logs", name]);
                Self::with(sensor, "", &["--print", "logs"].into_iter().chain(names).collect::<Vec<_>>())
            }
            Target::Nginx => Self::with(sensor, "target: {processes: [nginx]}\n", &[]),
            Target::Flows(enabled) => Self::with(sensor, &format!("flow: {{enabled: {enabled}}}\n"), &[]),
        }
    }

    /// The same with these settings and arguments. What it prints to its standard output is not kept.
    pub(super) fn with(sensor: &Path, settings: &str, arguments: &[&str]) -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        let listen = format!("127.0.0.1:{}", free_port()?);
        let errors = fs::File::create(directory.path().join("output")).context("cannot make a file")?;
        let path = directory.path().join("sensor.yaml");
        fs::write(&path, format!("listen: \"{listen}\"\n{settings}"))
            .context("cannot write the sensor's configuration")?;
        let mut command = Command::new(sensor);
        command::clean(&mut command);
        command.arg("run").arg("--config").arg(path).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let process = command.spawn().with_context(|| format!("cannot start {}", sensor.display()))?;
        let mut daemon = Self { process, url: format!("http://{listen}/metrics"), directory };
        daemon.wait_until_ready()?;
        Ok(daemon)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        // Before it captures it is not asked: the answer would come without a question.
        while !self.output().contains("capturing") || metrics::get(&self.url).is_err() {
            if let Some(status) = self.process.try_wait().context("cannot wait for the sensor")? {
                bail!("the sensor ended at its start: {status}\n{}", self.output());
            }
            if Instant::now() > deadline {
                bail!("the sensor does not answer at {} after {START:?}\n{}", self.url, self.output());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The page of metrics, once it counts no more requests.
    pub(super) fn settled_metrics(&self, family: &str) -> Result<String> {
        let deadline = Instant::now() + DRAIN;
        let mut page = metrics::get(&self.url)?;
        loop {
            std::thread::sleep(STILL);
            let next = metrics::get(&self.url)?;
            let (before, after) = (metrics::sum(&page, family, &[]), metrics::sum(&next, family, &[]));
            // The questions themselves are requests: with the whole host as target, each adds some.
            if after - before < 10.0 || Instant::now() > deadline {
                return Ok(next);
            }
            page = next;
        }
    }

    /// The page of metrics once it is `done`, or has had time enough.
    pub(super) fn metrics_when(&self, done: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + DRAIN;
        loop {
            let page = metrics::get(&self.url)?;
            if done(&page) || Instant::now() > deadline {
                return Ok(page);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(super) fn usage(&self) -> Result<Usage> {
        let path = format!("/proc/{}/status", self.process.id());
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let peak_kib = peak_kib(&status).context("/proc/PID/status has no VmHWM")?;
        Ok(Usage { cpu_seconds: cpu_seconds(self.process.id())?, peak_kib })
    }

    /// Ends the sensor as an operator would.
    ///
    /// # Errors
    /// It does not end in time, or not with exit code 0.
    pub(super) fn stop(mut self) -> Result<()> {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + STOP;
        loop {
            match self.process.try_wait().context("cannot wait for the sensor")? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the sensor ended with {status}\n{}", self.output()),
                None if Instant::now() > deadline => bail!("the sensor does not end {STOP:?} after SIGTERM"),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    fn output(&self) -> String {
        fs::read_to_string(self.directory.path().join("output")).unwrap_or_default()
    }
}

impl Drop for Daemon {
    /// After [`Daemon::stop`] there is nothing left to end, and the process id is not used.
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// User and system time of a process.
pub(super) fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let ticks = cpu_ticks(&stat).context("/proc/PID/stat has no CPU times")?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 ticks")]
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// User and system time, the 14th and 15th field (proc_pid_stat(5)). The second field is a name in parentheses
/// that may hold spaces.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

fn peak_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_times_are_found_behind_an_odd_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 7 8 20 0 4 0 100 200 300";
        assert_eq!(cpu_ticks(stat), Some(200));
        assert_eq!(cpu_ticks("42 (cut"), None);
    }

    #[test]
    fn the_peak_is_read() {
        assert_eq!(peak_kib("Name:\tsensor\nVmHWM:\t   12345 kB\nVmRSS:\t 1 kB\n"), Some(12345));
    }
}
