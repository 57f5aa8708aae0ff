//! A shop that speaks gRPC, by grpcio or grpc-js, and what calls are told of it.

use std::process::Command;

use tempfile::TempDir;

use crate::calls::{Calls, Role, calls};
use crate::fixtures;
use crate::metrics::Metrics;
use crate::process::{Process, program};
use crate::sensor::{SETTLE, Sensor};
use crate::wait::{patience, wait_for};

/// How often a client makes each call.
pub const TIMES: u64 = 20;
/// The calls that a client makes in a round.
pub const CALLS: u64 = 8 * TIMES;
/// What the shop can do.
pub const METHODS: [&str; 7] =
    ["Unary", "Fail", "ServerStream", "ClientStream", "BothStreams", "Endless", "Never"];
/// What nobody has an answer for: it ends by its deadline. Which end is first to say so is left to them.
const NEVER: [&str; 3] =
    ["test.Shop/Never DEADLINE_EXCEEDED", "test.Shop/Never CANCELLED", "test.Shop/Never - cancel"];

/// In which language an end is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Debian's Python, for which Debian has grpcio.
    Python,
    /// Node.js, with grpc-js where `NODE_PATH` says.
    Node,
}

impl By {
    /// The command of a script of this name.
    fn command(self, directory: &TempDir, name: &str) -> Command {
        let (mut command, name) = match self {
            Self::Python => (Command::new("/usr/bin/python3"), format!("{name}.py")),
            Self::Node => {
                let is_told = std::env::var_os("NODE_PATH").is_some();
                assert!(is_told, "NODE_PATH must lead to grpc-js; hint: cargo xtask test installs it");
                (program("node"), format!("{name}.js"))
            }
        };
        command.arg(fixtures::write(directory.path(), &name, &name));
        command
    }
}

/// The server.
pub struct Shop {
    directory: TempDir,
    /// Where it listens.
    pub port: u16,
    _process: Process,
}

impl Shop {
    /// Starts it.
    ///
    /// # Panics
    /// When it does not listen.
    #[must_use]
    pub fn start(by: By) -> Self {
        let directory = TempDir::new().expect("make a directory");
        let mut process = Process::start(&mut by.command(&directory, "grpc_server"));
        let port = process.line("listening ").parse().expect("a port");
        Self { directory, port, _process: process }
    }

    /// A client that makes a round of each call so many times.
    #[must_use]
    pub fn client(&self, by: By, times: u64) -> Command {
        client(by, &self.directory, self.port, times)
    }
}

/// A client of a shop at this port, written to `directory`.
#[must_use]
pub fn client(by: By, directory: &TempDir, port: u16, times: u64) -> Command {
    let mut command = by.command(directory, "grpc_client");
    command.args([port.to_string(), times.to_string()]);
    command
}

/// Calls of one side by "METHOD STATUS", or "METHOD - ERROR" without a status.
#[must_use]
pub fn rpcs(metrics: &Metrics, role: Role, port: u16) -> Calls {
    let name = format!("rpc_{}_call_duration_seconds_count", role.name());
    let mut calls = Calls::new();
    for sample in metrics.select(&name, &[("server_port", &port.to_string())]) {
        let status = match sample.label("rpc_response_status_code") {
            "" => format!("- {}", sample.label("error_type")),
            status => status.to_owned(),
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter")]
        let count = sample.value as u64;
        *calls.entry(format!("{} {status}", sample.label("rpc_method"))).or_default() += count;
    }
    calls
}

/// Requires that a client's round is told by both ends, and that nothing was lost.
///
/// # Panics
/// When it is not.
#[track_caller]
pub fn expect_round(sensor: &Sensor, port: u16) {
    let expected = calls(&[
        ("test.Shop/Unary OK", TIMES),
        ("test.Shop/Fail NOT_FOUND", TIMES),
        ("_OTHER UNIMPLEMENTED", TIMES),
        ("test.Shop/ServerStream OK", TIMES),
        ("test.Shop/ClientStream OK", TIMES),
        ("test.Shop/BothStreams OK", TIMES),
        ("test.Shop/Endless - cancel", TIMES),
        ("test.Shop/Never", TIMES),
    ]);
    let of = |role| {
        let mut told = rpcs(&sensor.metrics(), role, port);
        let never = NEVER.iter().filter_map(|end| told.remove(*end)).sum();
        let _ = told.insert("test.Shop/Never".to_owned(), never);
        told
    };
    let both = || [Role::Server, Role::Client].map(of);
    wait_for(patience(SETTLE), || (both() == [expected.clone(), expected.clone()]).then_some(()));
    sensor.barrier();
    assert_eq!(both(), [expected.clone(), expected.clone()], "lost {:?}", sensor.lost());
    assert_eq!(sensor.lost(), Calls::new());
}

/// Requires that the server's spans of a round tell how many messages went each way.
///
/// # Panics
/// When they do not.
#[track_caller]
pub fn expect_messages(sensor: &Sensor, port: u16) {
    for span in sensor.expect_spans(Role::Server, port, usize::try_from(CALLS).expect("a count")) {
        let messages =
            [span.attribute("rpc.request.message_count"), span.attribute("rpc.response.message_count")];
        let sent = match span.name.as_str() {
            "test.Shop/Unary" | "test.Shop/Endless" => ["1", "1"],
            "test.Shop/Fail" | "test.Shop/Never" => ["1", "0"],
            "test.Shop/ServerStream" => ["1", "3"],
            "test.Shop/ClientStream" => ["3", "1"],
            "test.Shop/BothStreams" => ["3", "3"],
            _ => continue,
        };
        for (told, sent) in messages.into_iter().zip(sent) {
            // Several messages in one frame are not counted.
            assert!(told == sent || told.is_empty() && sent == "3", "{span:#?}");
        }
        assert_eq!(span.attribute("rpc.system.name"), "grpc");
    }
}
