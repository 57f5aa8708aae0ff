//! The sensor under test.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::calls::{Calls, Role, counted, services, total};
use crate::link::{Link, free_port};
use crate::metrics::Metrics;
use crate::process::{Process, program};
use crate::spans::{self, Span};
use crate::wait::{patience, wait_for, wait_until};

/// How long the sensor may take from a byte on a socket to a number in `/metrics`, in seconds.
pub const SETTLE: u64 = 20;

/// How a sensor is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    capture: Vec<(String, String)>,
    target: Vec<(String, String)>,
    logs: Vec<(String, String)>,
    flow: Vec<(String, String)>,
    arguments: Vec<String>,
    more: String,
    environment: Vec<(String, String)>,
    without: Option<String>,
}

impl Options {
    /// More sections of the configuration file, as they stand.
    #[must_use]
    pub fn yaml(mut self, text: &str) -> Self {
        self.more.push_str(text);
        self
    }

    /// A variable of the sensor's environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A setting below `capture` in the configuration file.
    #[must_use]
    pub fn capture(mut self, key: &str, value: &str) -> Self {
        self.capture.push((key.to_owned(), value.to_owned()));
        self
    }

    /// A setting below `flow`.
    #[must_use]
    pub fn flow(mut self, key: &str, value: &str) -> Self {
        self.flow.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Captures only processes of these names.
    #[must_use]
    pub fn processes(mut self, names: &[&str]) -> Self {
        self.target.push(("processes".to_owned(), format!("[{}]", names.join(", "))));
        self
    }

    /// Captures no processes of these names.
    #[must_use]
    pub fn exclude(mut self, names: &[&str]) -> Self {
        self.target.push(("exclude".to_owned(), format!("[{}]", names.join(", "))));
        self
    }

    /// A setting below `logs` in the configuration file.
    #[must_use]
    pub fn logs(mut self, key: &str, value: &str) -> Self {
        self.logs.push((key.to_owned(), value.to_owned()));
        self
    }

    /// It has all capabilities but this one, by its name for setpriv(1).
    #[must_use]
    pub fn without(mut self, capability: &str) -> Self {
        self.without = Some(capability.to_owned());
        self
    }

    /// One more argument of `sensor run`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Prints spans to standard output.
    #[must_use]
    pub fn spans(self) -> Self {
        self.argument("--print").argument("spans")
    }

    /// The configuration file's text. `SENSOR_TEST_ROUTE` names the way in, unless the test does.
    #[must_use]
    pub fn config(&self) -> String {
        let mut capture = self.capture.clone();
        if let Ok(route) = std::env::var("SENSOR_TEST_ROUTE")
            && !capture.iter().any(|(key, _)| key == "route")
        {
            capture.push(("route".to_owned(), route));
        }
        section("capture", &capture)
            + &section("target", &self.target)
            + &section("logs", &self.logs)
            + &section("flow", &self.flow)
            + &self.more
    }

    /// Starts the sensor and waits until it captures.
    ///
    /// # Panics
    /// When it does not start, or the test is not run by root.
    #[track_caller]
    #[must_use]
    pub fn start(self) -> Sensor {
        let lock = exclusive();
        let directory = TempDir::new().expect("make a directory");
        let config = directory.path().join("sensor.yaml");
        std::fs::write(&config, self.config()).expect("write the configuration");
        // Bound as long as the sensor runs, so that no port of a test becomes the barrier's; and before a port is
        // chosen for the sensor, so that this is not taken again.
        let barrier = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut command = run(&config, address);
        if let Some(capability) = self.without {
            let sensor = std::mem::replace(&mut command, program("setpriv"));
            command.arg(format!("--bounding-set=-{capability}"));
            command.arg(sensor.get_program()).args(sensor.get_args());
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let process = Process::start(command.args(&self.arguments));
        let mut sensor = Sensor { process, address, barrier, directory, lock };
        sensor.wait_ready();
        sensor
    }
}

fn section(name: &str, settings: &[(String, String)]) -> String {
    if settings.is_empty() {
        return String::new();
    }
    let lines: String = settings.iter().map(|(key, value)| format!("  {key}: {value}\n")).collect();
    format!("{name}:\n{lines}")
}

/// The sensor's program: `SENSOR_BIN`, else the release build beside the test's own build.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("SENSOR_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("the test's own path");
    let release = format!("{}-unknown-linux-gnu/release/sensor", std::env::consts::ARCH);
    let found = test.ancestors().map(|target| target.join(&release)).find(|path| path.is_file());
    found.expect("no sensor to test; hint: cargo xtask image, or name one in SENSOR_BIN")
}

/// `sensor run` with this configuration and address.
///
/// # Panics
/// When the test is not run by root, or there is no sensor.
#[must_use]
pub fn run(config: &std::path::Path, listen: SocketAddr) -> Command {
    require_root();
    let mut command = Command::new(binary());
    command.arg("run").arg("--config").arg(config).arg("--listen").arg(listen.to_string());
    command
}

/// The `service_name` of the test itself.
///
/// # Panics
/// When the test does not know its own path.
#[must_use]
pub fn own_name() -> String {
    let path = std::env::current_exe().expect("the test's own path");
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Fails the test when it is not run by root, since the sensor needs to be.
///
/// # Panics
/// See above.
pub fn require_root() {
    assert!(nix::unistd::geteuid().is_root(), "the end-to-end tests load eBPF programs: run them as root");
}

/// Held by the one test that may run a sensor now: there is one sensor a host, and tests run side by side.
#[derive(Debug)]
pub struct Exclusive(#[expect(dead_code, reason = "the lock lives as long as the file is open")] File);

/// Waits for the right to run a sensor.
///
/// # Panics
/// When the lock file cannot be made.
#[must_use]
pub fn exclusive() -> Exclusive {
    let path = std::env::temp_dir().join("lionpay-sensor-tests.lock");
    let file = File::create(&path).unwrap_or_else(|error| panic!("make {}: {error}", path.display()));
    file.lock().unwrap_or_else(|error| panic!("lock {}: {error}", path.display()));
    Exclusive(file)
}

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

    /// What it counted so far on one side of a server's port.
    #[track_caller]
    #[must_use]
    pub fn counted(&self, role: Role, port: u16) -> Calls {
        counted(&self.metrics(), role, port)
    }

    /// The service on one side of a server's port, which must be the same for all exchanges so far.
    ///
    /// # Panics
    /// When there is none within the time limit, or more than one.
    #[track_caller]
    #[must_use]
    pub fn service(&self, role: Role, port: u16) -> String {
        let some = || Some(services(&self.metrics(), role, port)).filter(|names| !names.is_empty());
        let names = wait_until("an exchange to be counted", patience(SETTLE), some);
        assert_eq!(names.len(), 1, "{names:?}");
        names.into_iter().next().unwrap_or_default()
    }

    /// Requires that exactly these calls are counted on one side of a server's port: not fewer once everything has
    /// been worked off, and not more.
    ///
    /// # Panics
    /// When others are.
    #[track_caller]
    pub fn expect(&self, role: Role, port: u16, expected: &Calls) {
        self.expect_all(&[(role, port, expected)]);
    }

    /// [`Self::expect`] of both sides.
    #[track_caller]
    pub fn expect_both(&self, port: u16, expected: &Calls) {
        self.expect_all(&[(Role::Server, port, expected), (Role::Client, port, expected)]);
    }

    /// [`Self::expect`] of several sides and ports.
    #[track_caller]
    pub fn expect_all(&self, expected: &[(Role, u16, &Calls)]) {
        // What is too few may be on its way. What is too many shows after all that came before a later exchange.
        wait_for(patience(SETTLE), || {
            let metrics = self.metrics();
            expected
                .iter()
                .all(|(role, port, calls)| counted(&metrics, *role, *port) == **calls)
                .then_some(())
        });
        self.barrier();
        let metrics = self.metrics();
        for (role, port, calls) in expected {
            let counted = counted(&metrics, *role, *port);
            let side = role.name();
            let lost = lost(&metrics);
            assert_eq!(
                counted, **calls,
                "{side} side of port {port}: counted (left), true (right); lost {lost:?}"
            );
        }
    }

    /// Makes an exchange of its own and waits until it is counted: everything before it has been seen by then.
    #[track_caller]
    pub fn barrier(&self) {
        let address = self.barrier.local_addr().expect("the barrier's address");
        let seen = || {
            let metrics = self.metrics();
            [Role::Server, Role::Client].map(|role| total(&counted(&metrics, role, address.port())))
        };
        let before = seen();
        let mut link = Link::connect(&self.barrier, address);
        link.request(b"GET /barrier HTTP/1.1\r\nHost: localhost\r\n\r\n");
        link.response(b"HTTP/1.1 204 No Content\r\n\r\n");
        let both = before.map(|count| count + 1);
        wait_until("the barrier's exchange", patience(SETTLE), || (seen() == both).then_some(()));
    }

    /// The spans of one side of a server's port by their start, once there are `count` of them.
    ///
    /// # Panics
    /// When there are more or fewer.
    #[track_caller]
    #[must_use]
    pub fn expect_spans(&self, role: Role, port: u16, count: usize) -> Vec<Span> {
        self.expect_spans_of(&[(role, port)], count)
    }

    /// The same of several sides and ports together.
    ///
    /// # Panics
    /// When there are more or fewer.
    #[track_caller]
    #[must_use]
    pub fn expect_spans_of(&self, sides: &[(Role, u16)], count: usize) -> Vec<Span> {
        let sides: Vec<_> = sides.iter().map(|(role, port)| (role.span_kind(), port.to_string())).collect();
        let find = || -> Vec<Span> {
            let of = |span: &Span| {
                sides.iter().any(|(kind, port)| span.kind == *kind && span.attribute("server.port") == port)
            };
            self.spans().into_iter().filter(of).collect()
        };
        wait_for(patience(SETTLE), || (find().len() >= count).then_some(()));
        let mut spans = find();
        assert_eq!(spans.len(), count, "spans of {sides:?}: {spans:#?}");
        spans.sort_by_key(|span| span.start_ns);
        spans
    }

    /// Everything lost until now, by cause; causes at 0 are left out.
    ///
    /// The sensor brings these figures up to date from time to time: they are those of now when a later event is in
    /// them.
    #[track_caller]
    #[must_use]
    pub fn lost(&self) -> Calls {
        self.barrier();
        let events = |metrics: &Metrics| metrics.count("sensor_events_total", &[]);
        let before = events(&self.metrics());
        self.barrier();
        wait_until("the sensor's own figures", patience(SETTLE), || {
            let metrics = self.metrics();
            (events(&metrics) > before).then(|| lost(&metrics))
        })
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

/// Everything that a scrape says was lost, by cause; causes at 0 are left out.
#[must_use]
pub fn lost(metrics: &Metrics) -> Calls {
    let mut lost = Calls::new();
    for sample in metrics.select("sensor_lost_total", &[]).filter(|sample| sample.value != 0.0) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter")]
        let count = sample.value as u64;
        *lost.entry(sample.label("cause").to_owned()).or_default() += count;
    }
    lost
}

/// The ways in, of which `capture.route` can name one.
pub const ROUTES: [&str; 3] = ["fentry", "socket", "syscall"];

/// The ways in that this kernel allows, by `sensor check` with each.
///
/// # Panics
/// When `sensor check` cannot be run.
#[must_use]
pub fn routes_allowed() -> Vec<&'static str> {
    require_root();
    let directory = TempDir::new().expect("make a directory");
    let config = directory.path().join("sensor.yaml");
    let allowed = |route: &&str| {
        std::fs::write(&config, Options::default().capture("route", route).config())
            .expect("write a configuration");
        let output = Command::new(binary()).arg("check").arg("--config").arg(&config).output();
        output.expect("run sensor check").status.success()
    };
    ROUTES.into_iter().filter(allowed).collect()
}
