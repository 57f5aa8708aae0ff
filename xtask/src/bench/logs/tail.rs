//! What it costs to read the same lines from a file: rsyslog's `imfile`, which writes each as a JSON object to
//! `/dev/null`. It neither masks nor joins lines, and knows no request.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::writer::WIDTH;
use crate::bench::daemon::cpu_seconds as used;
use crate::command;

/// How many lines the file has.
pub(super) const LINES: u64 = 1_000_000;
/// It is done when its CPU time is the same after this time.
const STILL: Duration = Duration::from_millis(700);
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes the file.
pub(super) fn prepare(directory: &Path) -> Result<()> {
    let mut text = String::with_capacity(WIDTH * usize::try_from(LINES)?);
    for number in 0..LINES {
        let start = text.len();
        let _ = write!(text, "{number} ");
        text.extend(std::iter::repeat_n('x', WIDTH - 1 - (text.len() - start)));
        text.push('\n');
    }
    fs::write(directory.join("lines"), text).context("cannot write a file of lines")
}

/// CPU-seconds that it takes.
pub(super) fn cpu_seconds(directory: &Path) -> Result<f64> {
    let work = tempfile::tempdir_in(directory).context("cannot make a temporary directory")?;
    let settings = format!(
        "global(workDirectory=\"{work}\")\n\
         module(load=\"imfile\")\n\
         template(name=\"json\" type=\"list\" option.jsonf=\"on\") {{\n\
         property(outname=\"timestamp\" name=\"timereported\" dateFormat=\"rfc3339\" format=\"jsonf\")\n\
         property(outname=\"service\" name=\"programname\" format=\"jsonf\")\n\
         property(outname=\"body\" name=\"msg\" format=\"jsonf\")\n}}\n\
         input(type=\"imfile\" file=\"{directory}/lines\" tag=\"shop\")\n\
         action(type=\"omfile\" file=\"/dev/null\" template=\"json\")\n",
        work = work.path().display(),
        directory = directory.display(),
    );
    let path = work.path().join("rsyslog.conf");
    fs::write(&path, settings).context("cannot write rsyslog's configuration")?;
    let mut rsyslog = Command::new("/usr/sbin/rsyslogd");
    command::clean(&mut rsyslog);
    rsyslog.arg("-n").arg("-f").arg(&path).arg("-i").arg(work.path().join("pid"));
    rsyslog.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = rsyslog.spawn().context("cannot start rsyslogd")?;
    let seconds = still(&child);
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
    child.wait().context("cannot wait for rsyslogd")?;
    ensure!(
        read_to(work.path())? == LINES * WIDTH as u64,
        "rsyslogd has not read the file to its end, so its CPU time says nothing"
    );
    seconds
}

/// CPU-seconds once there come no more.
fn still(child: &Child) -> Result<f64> {
    let deadline = Instant::now() + PATIENCE;
    let mut last = 0.0;
    loop {
        std::thread::sleep(STILL);
        let now = used(child.id())?;
        if now > 0.0 && now == last {
            return Ok(now);
        }
        last = now;
        ensure!(Instant::now() < deadline, "rsyslogd is still busy after {PATIENCE:?}");
    }
}

/// How far it came, which its file of state says at its end.
fn read_to(work: &Path) -> Result<u64> {
    for entry in fs::read_dir(work).context("cannot read rsyslog's directory")? {
        let entry = entry.context("cannot read rsyslog's directory")?;
        if entry.file_name().to_string_lossy().starts_with("imfile-state") {
            let text = fs::read_to_string(entry.path()).context("cannot read rsyslog's state")?;
            let state: serde_json::Value =
                serde_json::from_str(&text).context("rsyslog's state is no JSON")?;
            return state["curr_offs"].as_u64().with_context(|| format!("no curr_offs in {text}"));
        }
    }
    Ok(0)
}
