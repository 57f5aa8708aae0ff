//! Programs run by PID 1, which inherits every orphan.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::setup;

/// Runs a program to its end, or to its kill when the time is up: then there is no status. Nothing that it
/// started is left when this returns.
pub(crate) fn run(mut command: Command, limit: Duration) -> Result<Option<ExitStatus>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command.spawn().with_context(|| format!("start {name}"))?;
    let group = Pid::from_raw(i32::try_from(child.id())?);
    let late = Arc::new(AtomicBool::new(false));
    let (ended, end) = mpsc::channel::<()>();
    let watch = thread::spawn({
        let late = Arc::clone(&late);
        move || {
            if end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                late.store(true, Ordering::Release);
                let _ = killpg(group, Signal::SIGKILL);
            }
        }
    });
    let status = reap_until(group);
    drop(ended);
    let _ = watch.join();
    clear();
    let status = status.with_context(|| format!("wait for {name}"))?;
    Ok((!late.load(Ordering::Acquire)).then_some(status))
}

fn reap_until(wanted: Pid) -> Result<ExitStatus> {
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == wanted => return Ok(ExitStatus::from_raw(code << 8)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == wanted => {
                return Ok(ExitStatus::from_raw(signal as i32));
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Kills everything but this process, so that no test finds what another left behind.
fn clear() {
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    while !matches!(waitpid(None, None), Err(Errno::ECHILD)) {}
}

/// A shell for a person at the console; ends with it.
pub(crate) fn shell() -> Result<()> {
    let mut shell = setup::command("setsid");
    shell.args(["--ctty", "--wait", "bash", "-i"]).env("TERM", "vt100");
    shell.env("SENSOR_BIN", "/payload/sensor").env("SENSOR_TEST_FIXTURES", "/payload/fixtures");
    let mut shell = shell.spawn().context("start a shell")?;
    shell.wait().context("wait for the shell")?;
    Ok(())
}
