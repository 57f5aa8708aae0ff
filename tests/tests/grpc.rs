//! gRPC by grpcio: all kinds of calls, with their methods, statuses and messages.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use tests::calls::{Role, counted, total};
use tests::grpc::{By, METHODS, Shop, TIMES, expect_messages, expect_round, rpcs};
use tests::process::Process;
use tests::sensor::{Options, SETTLE, Sensor};
use tests::wait::{patience, wait_for};

#[test]
fn every_kind_of_call() {
    let sensor = Sensor::start();
    let shop = Shop::start(By::Python);
    let _ = Process::start(&mut shop.client(By::Python, TIMES)).succeed(60);
    expect_round(&sensor, shop.port);
    expect_messages(&sensor, shop.port);
}

/// By the names that the conventions had before 1.38, in metrics and spans.
#[test]
fn the_names_of_older_conventions() {
    let sensor = Options::default().yaml("http:\n  rpc_names: old\n").spans().start();
    let shop = Shop::start(By::Python);
    let _ = Process::start(&mut shop.client(By::Python, 1)).succeed(60);
    let port = shop.port.to_string();
    let counted = |service: &str, method: &str, status: &str| {
        let call = [("rpc_service", service), ("rpc_method", method), ("rpc_grpc_status_code", status)];
        let labels = [&[("server_port", port.as_str()), ("rpc_system", "grpc")], &call[..]].concat();
        let count = |role: Role| {
            sensor.metrics().count(&format!("rpc_{}_duration_milliseconds_count", role.name()), &labels)
        };
        [Role::Server, Role::Client].map(count)
    };
    wait_for(patience(SETTLE), || (counted("test.Shop", "BothStreams", "0") == [1, 1]).then_some(()));
    assert_eq!(counted("test.Shop", "Unary", "0"), [1, 1]);
    assert_eq!(counted("test.Shop", "Fail", "5"), [1, 1]);
    assert_eq!(counted("", "_OTHER", "12"), [1, 1]);
    let spans = sensor.expect_spans(Role::Server, shop.port, 8);
    let span = spans.iter().find(|span| span.name == "test.Shop/Fail").expect("a span");
    let told =
        ["rpc.system", "rpc.service", "rpc.method", "rpc.grpc.status_code"].map(|key| span.attribute(key));
    assert_eq!(told, ["grpc", "test.Shop", "Fail", "5"]);
}

/// The calls of a round, but those that end by their deadline.
const CALLS: u64 = 7 * TIMES;

/// Of a connection that is older than the sensor a name, and what is in the header table, cannot be known: it is `*`, and
/// never another.
#[test]
fn a_connection_joined_in_the_middle() {
    let shop = Shop::start(By::Python);
    let mut client = Process::start(shop.client(By::Python, TIMES).arg("again"));
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
