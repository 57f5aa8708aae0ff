//! How it is started.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use tempfile::TempDir;

use super::{Sensor, exclusive, run};
use crate::link::free_port;
use crate::process::{Process, program};

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
