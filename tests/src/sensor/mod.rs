//! The sensor under test.

mod expect;
mod lost;
mod options;
mod program;

use std::net::{SocketAddr, TcpListener};
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

pub use self::lost::lost;
pub use self::options::Options;
pub use self::program::{Exclusive, binary, exclusive, own_name, require_root, run};
use crate::metrics::Metrics;
use crate::process::Process;
use crate::spans::{self, Span};
use crate::wait::{patience, wait_until};

/// How long the sensor may take from a byte on a socket to a number in `/metrics`, in seconds.
pub const SETTLE: u64 = 20;

/// A running sensor.
pub struct Sensor {
    process: Process,
    address: SocketAddr,
    barrier: TcpListener,
    directory: TempDir,
    // Last, so that the next sensor starts when this one has ended.
    lock: Exclusive,
}

/// What a sensor left behind.
pub struct Stopped {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// Lets the test start something in its place before other tests do.
    pub lock: Exclusive,
}

impl Stopped {
    /// The spans it printed.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        spans::parse(&self.stdout)
    }
}

impl Sensor {
    /// With the default configuration, printing spans.
    #[track_caller]
    #[must_use]
    pub fn start() -> Self {
        Options::default().spans().start()
    }

    #[track_caller]
    fn wait_ready(&mut self) {
        wait_until("the sensor to capture", patience(60), || {
            if let Some(status) = self.process.ended() {
                panic!("the sensor ended with {status}\n{}", self.process.report());
            }
            // Before it captures it is not asked: the answer would come without a question.
            let captures = self.process.stderr().contains("capturing");
            (captures && self.get("/healthz").is_ok() && self.get("/metrics").is_ok()).then_some(())
        });
    }

    fn get(&self, path: &str) -> Result<String, ureq::Error> {
        let request = ureq::get(format!("http://{}{path}", self.address)).config();
        // A sensor that hangs fails the test.
        let request = request.timeout_global(Some(patience(10))).build();
        request.call()?.body_mut().read_to_string()
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where `/metrics` is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Writes another configuration file and has it read by SIGHUP.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn reload(&self, options: &Options) {
        let path = self.directory.path().join("sensor.yaml");
        std::fs::write(path, options.config()).expect("write the configuration");
        self.signal(Signal::SIGHUP);
    }

    /// Another page of its endpoint.
    ///
    /// # Panics
    /// When the sensor does not answer.
    #[track_caller]
    #[must_use]
    pub fn page(&self, path: &str) -> String {
        self.get(path).unwrap_or_else(|error| panic!("get {path}: {error}\n{}", self.process.report()))
    }

    /// Kills it where it stands.
    #[track_caller]
    #[must_use]
    pub fn kill(self) -> Stopped {
        self.signal(Signal::SIGKILL);
        self.wait(patience(30))
    }

    /// What it logged so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// A scrape.
    ///
    /// # Panics
    /// When the sensor does not answer.
    #[track_caller]
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        match self.get("/metrics") {
            Ok(text) => Metrics::parse(&text),
            Err(error) => panic!("scrape the sensor: {error}\n{}", self.process.report()),
        }
    }

    /// The spans printed so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        spans::parse(&self.process.stdout())
    }
    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end, after a signal or a set duration.
    #[track_caller]
    #[must_use]
    pub fn wait(mut self, limit: Duration) -> Stopped {
        let status = wait_until("the sensor's end", limit, || self.process.ended());
        Stopped { status, stdout: self.process.stdout(), stderr: self.process.stderr(), lock: self.lock }
    }

    /// Ends it with SIGTERM.
    #[track_caller]
    #[must_use]
    pub fn stop(self) -> Stopped {
        self.signal(Signal::SIGTERM);
        self.wait(patience(30))
    }
}
