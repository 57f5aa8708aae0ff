//! Log records as the sensor prints them, one JSON object a line, and programs that write to pipes.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::fixtures;
use crate::parallel;
use crate::process::{Process, program, unique};
use crate::wait::{patience, wait_until};

/// A log record, with what tests look at taken out.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The text.
    pub body: String,
    /// `stdout` or `stderr`.
    pub iostream: String,
    /// `service.name`
    pub service: String,
    /// The name of the severity's range, or nothing.
    pub severity: String,
    /// In hexadecimal digits, or nothing.
    pub trace_id: String,
    /// In hexadecimal digits, or nothing.
    pub span_id: String,
    /// The process that wrote it.
    pub pid: u64,
    /// Something of it is missing.
    pub is_cut: bool,
    /// RFC 3339.
    pub timestamp: String,
    /// Fields of a line that has some.
    pub attributes: Value,
}

/// All records of some lines; lines that are none, such as spans, are passed over.
///
/// # Panics
/// On a line that is not JSON; a last line without its end is left out.
#[must_use]
pub fn parse(text: &str) -> Vec<Record> {
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    whole.lines().filter_map(record).collect()
}

fn record(line: &str) -> Option<Record> {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    value["body"].as_str()?;
    Some(Record {
        body: text("body"),
        iostream: text("log.iostream"),
        service: text("service.name"),
        severity: text("severity_text"),
        trace_id: text("trace_id"),
        span_id: text("span_id"),
        pid: value["process.pid"].as_u64().unwrap_or_default(),
        is_cut: value["log.cut"] == true,
        timestamp: text("timestamp"),
        attributes: value["attributes"].clone(),
    })
}

/// A program whose standard output and error are pipes that something reads, as a container's are. It and what it
/// started are killed when this is dropped.
pub struct Piped {
    name: String,
    child: Child,
    readers: Vec<JoinHandle<Vec<u8>>>,
}

impl Piped {
    /// Starts `command`.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("start {name}: {error}"));
        let mut readers = Vec::new();
        let mut read = |mut from: Box<dyn std::io::Read + Send>| {
            readers.push(std::thread::spawn(move || {
                let mut bytes = Vec::new();
                from.read_to_end(&mut bytes).expect("read a pipe");
                bytes
            }));
        };
        read(Box::new(child.stdout.take().expect("a pipe")));
        read(Box::new(child.stderr.take().expect("a pipe")));
        Self { name, child, readers }
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it still runs after `seconds` (times the patience).
    #[track_caller]
    pub fn wait(&mut self, seconds: u64) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        wait_until(&what, patience(seconds), || self.child.try_wait().expect("wait for a child"))
    }

    /// Waits for its end and that of its output, and returns what it wrote to standard output and error.
    ///
    /// # Panics
    /// When it fails, or still runs after `seconds` (times the patience).
    #[track_caller]
    #[must_use]
    pub fn succeed(mut self, seconds: u64) -> (String, String) {
        let status = self.wait(seconds);
        assert!(status.success(), "{} ended with {status}", self.name);
        let mut texts = std::mem::take(&mut self.readers).into_iter().map(|reader| {
            String::from_utf8_lossy(&reader.join().expect("the reader of a pipe")).into_owned()
        });
        (texts.next().unwrap_or_default(), texts.next().unwrap_or_default())
    }

    /// Sends it a signal; its children get none.
    pub fn signal(&self, signal: Signal) {
        // It may have ended meanwhile; who cares looks at its status.
        let _ = nix::sys::signal::kill(self.pid(), signal);
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid is an i32"))
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        // Children of the program live in its group, also when the program itself has ended.
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// A script under a name that no other process has.
pub struct Script {
    _directory: TempDir,
    path: PathBuf,
    /// Its name, which is that of its service.
    pub name: String,
}

impl Script {
    /// A script of this text, whose name ends so.
    ///
    /// # Panics
    /// When it can't be written.
    #[must_use]
    pub fn new(ending: &str, text: &str) -> Self {
        let directory = TempDir::new().expect("make a directory");
        let name = unique("log") + ending;
        let path = directory.path().join(&name);
        std::fs::write(&path, text).expect("write a script");
        Self { _directory: directory, path, name }
    }

    /// A script of the tests' own.
    ///
    /// # Panics
    /// When there is none, or it can't be written.
    #[must_use]
    pub fn fixture(ending: &str, name: &str) -> Self {
        Self::new(ending, fixtures::text(name))
    }

    /// It, run by this program.
    #[must_use]
    pub fn run(&self, program_name: &str) -> Command {
        let mut command = program(program_name);
        command.arg(&self.path);
        command
    }

    /// Replaces its text.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn write(&self, text: &str) {
        std::fs::write(&self.path, text).expect("write a script");
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is.
    ///
    /// # Panics
    /// Never: it is in a directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.path.parent().expect("a directory")
    }
}

/// Asks for `/warm`, one after the other: the server shows that it has a thread a request, on which the sensor relies from
/// then on.
///
/// # Panics
/// When it does not answer.
pub fn warm_up(port: u16) {
    for _ in 0..20 {
        let url = format!("http://127.0.0.1:{port}/warm");
        let mut response = ureq::get(url).call().expect("ask");
        // A body that is left unread resets the connection, which the server would write of.
        response.body_mut().read_to_vec().expect("a body");
    }
}

/// Asks for `/0`, `/1`, … with as many requests at once, each in a trace named after its number.
///
/// # Panics
/// When one is not answered.
pub fn ask(port: u16, parallel: u32, requests: u32) {
    parallel::ask(parallel, requests, |number| format!("http://127.0.0.1:{port}/{number}"));
}

/// The number in `… /number`.
#[must_use]
pub fn number(text: &str) -> Option<u32> {
    let (_, number) = text.split_once('/')?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn listening(server: &Process) -> Option<u16> {
    server.stdout().lines().find_map(|line| line.strip_prefix("listening ")?.parse().ok())
}

/// A server whose standard output is a pipe that ends in a file.
///
/// # Panics
/// When it does not listen in time.
#[must_use]
pub fn piped_server(command: &Command) -> (Process, u16) {
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let line = format!("{} 2>&1 | cat", words.join(" "));
    let mut shell = program("sh");
    if let Some(directory) = command.get_current_dir() {
        shell.current_dir(directory);
    }
    let process = Process::start(shell.arg("-c").arg(line));
    let port = wait_until("the server to listen", patience(30), || listening(&process));
    (process, port)
}
