//! gRPC by grpcio: all kinds of calls, with their methods, statuses and messages.

use std::collections::BTreeSet;
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tests::calls::{Calls, Role, calls, counted, total};
use tests::fixtures;
use tests::metrics::Metrics;
use tests::process::Process;
use tests::sensor::{SETTLE, Sensor};
use tests::wait::{patience, wait_for};

/// How often the client makes each call.
const TIMES: u64 = 20;
/// The calls that a client makes in a round.
const CALLS: u64 = 7 * TIMES;
const METHODS: [&str; 6] = ["Unary", "Fail", "ServerStream", "ClientStream", "BothStreams", "Endless"];

/// Debian's Python, for which Debian has grpcio.
fn python(directory: &TempDir, script: &str) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.arg(fixtures::write(directory.path(), script, script));
    command
}

struct Shop {
    directory: TempDir,
    port: u16,
    _process: Process,
}

impl Shop {
    fn start() -> Self {
        let directory = TempDir::new().expect("make a directory");
        let mut process = Process::start(&mut python(&directory, "grpc_server.py"));
        let port = process.line("listening ").parse().expect("a port");
        Self { directory, port, _process: process }
    }

    fn client(&self) -> Command {
        let mut command = python(&self.directory, "grpc_client.py");
        command.args([self.port.to_string(), TIMES.to_string()]);
        command
    }
}

/// Calls of one side by "METHOD STATUS", or "METHOD - ERROR" without a status.
fn rpcs(metrics: &Metrics, role: Role, port: u16) -> Calls {
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

#[track_caller]
fn expect(sensor: &Sensor, port: u16, expected: &Calls) {
    let both = || [Role::Server, Role::Client].map(|role| rpcs(&sensor.metrics(), role, port));
    wait_for(patience(SETTLE), || (both() == [expected.clone(), expected.clone()]).then_some(()));
    sensor.barrier();
    assert_eq!(both(), [expected.clone(), expected.clone()], "lost {:?}", sensor.lost());
}

#[test]
fn every_kind_of_call() {
    let sensor = Sensor::start();
    let shop = Shop::start();
    let _ = Process::start(&mut shop.client()).succeed(60);
    let expected = [
        ("test.Shop/Unary OK", TIMES),
        ("test.Shop/Fail NOT_FOUND", TIMES),
        ("_OTHER UNIMPLEMENTED", TIMES),
        ("test.Shop/ServerStream OK", TIMES),
        ("test.Shop/ClientStream OK", TIMES),
        ("test.Shop/BothStreams OK", TIMES),
        ("test.Shop/Endless - cancel", TIMES),
    ];
    expect(&sensor, shop.port, &calls(&expected));
    assert_eq!(sensor.lost(), Calls::new());
    for span in sensor.expect_spans(Role::Server, shop.port, usize::try_from(CALLS).expect("a count")) {
        let messages =
            [span.attribute("rpc.request.message_count"), span.attribute("rpc.response.message_count")];
        let sent = match span.name.as_str() {
            "test.Shop/Unary" | "test.Shop/Endless" => ["1", "1"],
            "test.Shop/Fail" => ["1", "0"],
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

/// Of a connection that is older than the sensor a name, and what is in the header table, cannot be known: it is `*`, and
/// never another.
#[test]
fn a_connection_joined_in_the_middle() {
    let shop = Shop::start();
    let mut client = Process::start(shop.client().arg("again"));
    client.line("round 0");
    let sensor = Sensor::start();
    client.signal(Signal::SIGUSR1);
    let _ = client.succeed(60);
    let mut told = 0;
    for role in [Role::Server, Role::Client] {
        let all = || {
            let metrics = sensor.metrics();
            let (rpcs, others) = (rpcs(&metrics, role, shop.port), counted(&metrics, role, shop.port));
            (total(&rpcs) + total(&others), rpcs, others)
        };
        // The first call may be lost: where frames begin is found only when an operation begins with one.
        wait_for(patience(SETTLE), || (all().0 >= CALLS - 1).then_some(()));
        sensor.barrier();
        let (count, rpcs, others) = all();
        assert!((CALLS - 1..=CALLS).contains(&count), "{rpcs:?} {others:?} lost {:?}", sensor.lost());
        told += count;
        // Where nothing that is known says gRPC it is told as HTTP/2, whose status is known.
        let routes: BTreeSet<&str> = others.keys().map(String::as_str).collect();
        assert!(routes.iter().all(|call| call.starts_with("POST * ")), "{routes:?}");
        for call in rpcs.keys() {
            let method = call.split(' ').next().unwrap_or_default();
            let name = method.strip_prefix("test.Shop/").unwrap_or_default();
            assert!(method == "*" || method == "_OTHER" || METHODS.contains(&name), "{call}");
        }
    }
    let lost = sensor.lost();
    let of = |cause| lost.get(cause).copied().unwrap_or_default();
    assert_eq!(told + of("desynchronized") + of("unmatched_response"), 2 * CALLS, "{lost:?}");
}
