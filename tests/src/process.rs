//! Programs that a test starts. None outlives the test.

use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::wait::{patience, wait_for, wait_until};

/// A started program with its output in files. Dropping it kills its process group; so does the kernel when the
/// thread that started it ends.
pub struct Process {
    name: String,
    child: Child,
    status: Option<ExitStatus>,
    output: TempDir,
}

impl Process {
    /// Starts `command` in a process group of its own.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let output = TempDir::new().expect("make a directory for output");
        let file = |name| File::create(output.path().join(name)).expect("make an output file");
        command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr")).process_group(0);
        // SAFETY: prctl(PR_SET_PDEATHSIG) is async-signal-safe and touches no memory of the parent.
        unsafe {
            command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?));
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("start {name}: {error}"));
        Self { name, child, status: None, output }
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its standard output goes.
    #[must_use]
    pub fn stdout_path(&self) -> PathBuf {
        self.output.path().join("stdout")
    }

    /// What it wrote to standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.text("stdout")
    }

    /// What it wrote to standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.text("stderr")
    }

    fn text(&self, name: &str) -> String {
        let bytes = std::fs::read(self.output.path().join(name)).expect("read an output file");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Sends it a signal; its children get none.
    pub fn signal(&self, signal: Signal) {
        // It may have ended meanwhile; who cares looks at its status.
        let _ = nix::sys::signal::kill(self.pid(), signal);
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid is an i32"))
    }

    /// Its status if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("wait for a child");
        }
        self.status
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it still runs after `seconds` (times the patience).
    #[track_caller]
    pub fn wait(&mut self, seconds: u64) -> ExitStatus {
        if let Some(status) = wait_for(patience(seconds), || self.ended()) {
            return status;
        }
        panic!("{} still runs after {seconds} s\n{}", self.name, self.report());
    }

    /// Waits for its end, which must be a success, and returns its standard output.
    ///
    /// # Panics
    /// When it fails, or still runs after `seconds` (times the patience).
    #[track_caller]
    pub fn succeed(mut self, seconds: u64) -> String {
        let status = self.wait(seconds);
        assert!(status.success(), "{} ended with {status}\n{}", self.name, self.report());
        self.stdout()
    }

    /// Waits for a line of standard output that starts with `start`, and returns what follows it.
    ///
    /// # Panics
    /// When the program ends or too much time passes before.
    #[track_caller]
    pub fn line(&mut self, start: &str) -> String {
        wait_until(&format!("{} to print {start:?}", self.name), patience(30), || {
            let ended = self.ended();
            let text = self.stdout();
            // A line without its end may still be growing.
            let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
            let found = whole.lines().find_map(|line| line.strip_prefix(start)).map(str::to_owned);
            if let (None, Some(status)) = (&found, ended) {
                panic!("{} ended with {status}\n{}", self.name, self.report());
            }
            found
        })
    }

    /// The end of what it wrote, for a failure's message.
    #[must_use]
    pub fn report(&self) -> String {
        let tail = |text: String| {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(30)..]
                .iter()
                .map(|line| cut(line))
                .collect::<Vec<_>>()
                .join("\n")
        };
        format!("--- stdout\n{}\n--- stderr\n{}", tail(self.stdout()), tail(self.stderr()))
    }
}

/// At most 500 characters of a line.
fn cut(line: &str) -> String {
    line.chars().take(500).collect()
}

impl Drop for Process {
    fn drop(&mut self) {
        // Children of the program live in its group, also when the program itself has ended.
        let _ = killpg(self.pid(), Signal::SIGKILL);
        if self.ended().is_none() {
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{} at the time of the failure:\n{}", self.name, self.report());
        }
    }
}

/// The first file called `name` in the directories of `PATH`.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// A command for a program that the test cannot do without.
///
/// # Panics
/// When it is not in `PATH`.
#[track_caller]
#[must_use]
pub fn program(name: &str) -> Command {
    match find(name) {
        // Found by PATH again when it starts, so that its own name is as a user would see it.
        Some(_) => Command::new(name),
        None => panic!("{name} is not in PATH, and this test needs it"),
    }
}

/// A copy of a program under a name of its own, so that no other process of this host has its `service_name`.
///
/// # Panics
/// When the program is not in `PATH` or cannot be copied.
#[track_caller]
#[must_use]
pub fn copy(program: &str, directory: &Path, name: &str) -> PathBuf {
    let Some(path) = find(program) else { panic!("{program} is not in PATH, and this test needs it") };
    copy_file(&path, &directory.join(name))
}

/// Copies an executable file, and returns where to.
///
/// By another process: a file that this one has open for writing may, by a child that another test starts at that
/// moment, stay open for longer, and a file that is open for writing cannot be executed.
///
/// # Panics
/// When that fails.
#[track_caller]
pub fn copy_file(from: &Path, to: &Path) -> PathBuf {
    Process::start(program("cp").arg("-p").arg(from).arg(to)).succeed(30);
    to.to_owned()
}

/// A name that no other test and no other run has.
#[must_use]
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Whether a status is the end by this signal.
#[must_use]
pub fn killed_by(status: ExitStatus, signal: Signal) -> bool {
    status.signal() == Some(signal as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_waited_for() {
        let mut shell = Process::start(program("sh").args(["-c", "echo one; echo port 99; exec sleep 100"]));
        assert_eq!(shell.line("port "), "99");
        shell.signal(Signal::SIGTERM);
        assert!(killed_by(shell.wait(10), Signal::SIGTERM));
    }

    #[test]
    fn dropping_kills_children_too() {
        let mut shell = Process::start(program("sh").args(["-c", "sleep 100 & echo child $!; wait"]));
        let child = shell.line("child ");
        drop(shell);
        wait_until("the child's end", patience(10), || {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            // A zombie has ended; only nobody has asked yet.
            (stat.is_empty() || stat.contains(") Z ")).then_some(())
        });
    }
}
