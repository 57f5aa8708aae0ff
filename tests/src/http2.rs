//! Servers and clients of nghttp2.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::link::free_port;
use crate::process::{Process, program};
use crate::wait::{patience, wait_until};

/// `nghttpd` or `nghttpx` on a port of 127.0.0.1, in the clear.
pub struct Http2Server {
    /// Its port.
    pub port: u16,
    _process: Process,
    directory: TempDir,
}

impl Http2Server {
    /// Starts `nghttpd`, which serves `/a` of 100 bytes, `/page` of 16 KiB and `/big` of 1 000 000 bytes.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    #[must_use]
    pub fn nghttpd() -> Self {
        let directory = TempDir::new().expect("make a directory");
        for (name, size) in [("a", 100), ("page", 16_384), ("big", 1_000_000)] {
            std::fs::write(directory.path().join(name), vec![b'x'; size]).expect("write a file");
        }
        let mut command = program("nghttpd");
        let port = free_port();
        command.args(["--no-tls", "--workers=2", "--address=127.0.0.1", "--htdocs"]).arg(directory.path());
        Self::start(command.arg(port.to_string()), port, directory)
    }

    /// Starts `nghttpx`, which hands all requests to an HTTP/1 server.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    #[must_use]
    pub fn nghttpx(to: u16) -> Self {
        let port = free_port();
        let mut command = program("nghttpx");
        command.args(["--conf=/dev/null", "--workers=1", "--single-process"]);
        command.arg(format!("--frontend=127.0.0.1,{port};no-tls")).arg(format!("--backend=127.0.0.1,{to}"));
        Self::start(&mut command, port, TempDir::new().expect("make a directory"))
    }

    fn start(command: &mut Command, port: u16, directory: TempDir) -> Self {
        let mut process = Process::start(command);
        wait_until("the server to listen", patience(20), || {
            if let Some(status) = process.ended() {
                panic!("the server ended with {status}\n{}", process.report());
            }
            std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(drop)
        });
        Self { port, _process: process, directory }
    }

    /// Where a path is.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// A file that it serves.
    #[must_use]
    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }
}

/// Runs `h2load` with 10 connections of 100 streams: `requests` in all, to each of the paths in turn.
///
/// # Panics
/// When it fails, or not all are answered.
#[track_caller]
pub fn h2load(server: &Http2Server, paths: &[&str], requests: u32, body: Option<&Path>) {
    let mut command = program("h2load");
    command.args(["--clients=10", "--max-concurrent-streams=100"]).arg(format!("--requests={requests}"));
    if let Some(body) = body {
        command.arg("--data").arg(body);
    }
    let report = Process::start(command.args(paths.iter().map(|path| server.url(path)))).succeed(120);
    let all = format!("requests: {requests} total, {requests} started, {requests} done");
    assert!(report.contains(&all) && report.contains(" 0 errored, 0 timeout"), "{report}");
}
