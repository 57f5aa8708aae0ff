//! Real clients.

use std::fs::File;
use std::process::Command;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use crate::calls::Calls;
use crate::fixtures;
use crate::process::{Process, copy, program};
use crate::server::Server;
use crate::wait::patience;

/// wrk's connections.
pub const CONNECTIONS: u32 = 64;

/// Runs wrk with 64 keep-alive connections against `url` for `seconds`, through all calls of `calls.lua`, and
/// returns the number of requests. None is under way when it ends.
///
/// # Panics
/// When wrk fails or meets a socket error.
#[track_caller]
#[must_use]
pub fn wrk_calls(url: &str, seconds: u64) -> u64 {
    let directory = TempDir::new().expect("make a directory");
    let script = fixtures::write(directory.path(), "calls.lua", "calls.lua");
    // The script sends nothing in the last two seconds or more.
    let whole = seconds + patience(2).as_secs();
    let mut command = wrk(whole);
    command.arg("-s").arg(script).arg(url).arg("--").arg(seconds.to_string());
    requests(&Process::start(&mut command).succeed(whole + 60))
}

/// Runs wrk with 64 keep-alive connections against `url` for `seconds` as fast as it can, and returns the number of
/// responses it got. Requests that are under way when it ends are not in it.
///
/// # Panics
/// When wrk fails or meets a socket error.
#[track_caller]
#[must_use]
pub fn wrk_fast(url: &str, seconds: u64) -> u64 {
    requests(&Process::start(wrk(seconds).arg(url)).succeed(seconds + 60))
}

/// A copy of wrk that runs but does not connect before it is told to, so that a sensor started meanwhile knows it.
pub struct Held {
    process: Process,
    directory: TempDir,
    seconds: u64,
}

impl Held {
    /// Starts it under this name, with what [`wrk_fast`] does ahead of it.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    #[must_use]
    pub fn start(name: &str, url: &str, seconds: u64) -> Self {
        let directory = TempDir::new().expect("make a directory");
        let script = fixtures::write(directory.path(), "gate.lua", "gate.lua");
        mkfifo(&directory.path().join("fifo"), Mode::S_IRWXU).expect("make a pipe");
        let mut command = Command::new(copy("wrk", directory.path(), name));
        load(&mut command, seconds).env("GATE", directory.path()).arg("-s").arg(script).arg(url);
        Self { process: Process::start(&mut command), directory, seconds }
    }

    /// Lets it go, and returns what [`wrk_fast`] does.
    ///
    /// # Panics
    /// When wrk fails or meets a socket error.
    #[track_caller]
    #[must_use]
    pub fn go(self) -> u64 {
        File::create(self.directory.path().join("open")).expect("open the gate");
        drop(File::options().write(true).open(self.directory.path().join("fifo")).expect("open the pipe"));
        requests(&self.process.succeed(self.seconds + 60))
    }
}

fn wrk(seconds: u64) -> Command {
    let mut command = program("wrk");
    load(&mut command, seconds);
    command
}

fn load(command: &mut Command, seconds: u64) -> &mut Command {
    command.args(["-t", "2", "-c", &CONNECTIONS.to_string(), "--timeout", "60s"]);
    command.arg("-d").arg(format!("{seconds}s"))
}

/// From wrk's report: "  12345 requests in 3.01s, 1.00MB read".
fn requests(report: &str) -> u64 {
    assert!(!report.contains("Socket errors"), "wrk met errors:\n{report}");
    let mut lines = report.lines().map(str::trim_start);
    let count =
        lines.find_map(|line| line.split_once(" requests in ")).and_then(|(count, _)| count.parse().ok());
    count.unwrap_or_else(|| panic!("no number of requests in wrk's report:\n{report}"))
}

/// What [`curl_calls`] cycles through: curl's arguments, the path with its query, and how the call is counted.
const CALLS: [(&[&str], &str, &str); 10] = [
    (&[], "/", "GET / 200"),
    (&["--head"], "/", "HEAD / 200"),
    (&[], "/items/31337?colour=blue", "GET /items/{id} 200"),
    (&["--http1.0"], "/items/1", "GET /items/{id} 200"),
    (&[], "/missing", "GET /missing 404"),
    (&[], "/fail", "GET /fail 500"),
    (&[], "/empty", "GET /empty 204"),
    (&[], "/stream", "GET /stream 200"),
    (&["--data", "one=1&two=2"], "/orders", "POST /orders 201"),
    // More than curl sends with the head, in several writes.
    (&["--header", "Expect:", "--data", BIG], "/orders", "POST /orders 201"),
];

/// 100 000 bytes.
const BIG: &str = {
    static BYTES: [u8; 100_000] = [b'b'; 100_000];
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => "",
    }
};

/// Makes `count` calls, each with a curl process and connection of its own, and returns them.
///
/// # Panics
/// When a server answers with another status than it should.
#[track_caller]
#[must_use]
pub fn curl_calls(server: &Server, count: usize) -> Calls {
    let mut calls = Calls::new();
    for (arguments, path, call) in CALLS.iter().cycle().take(count) {
        let status = curl(&[*arguments, &[&server.url(path)]].concat());
        assert!(call.ends_with(&format!(" {status}")), "{call} was answered with {status}");
        *calls.entry((*call).to_owned()).or_default() += 1;
    }
    calls
}

/// Runs curl, a process and a connection of its own, and returns the last response's status; 0 when there was none.
/// Each address after the first needs an `--output /dev/null` of its own.
///
/// # Panics
/// When curl cannot be run.
#[track_caller]
#[must_use]
pub fn curl(arguments: &[&str]) -> u16 {
    let mut command = program("curl");
    command.args(["--silent", "--noproxy", "*", "--output", "/dev/null", "--write-out", "%{http_code}\n"]);
    let output = command.args(arguments).output().expect("run curl");
    let text = String::from_utf8_lossy(&output.stdout);
    let status = text.lines().last().and_then(|line| line.parse().ok());
    status.unwrap_or_else(|| panic!("curl printed {output:?}"))
}
