//! gRPC by grpcio: all kinds of calls, with their methods, statuses and messages.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use tests::calls::{Role, counted, total};
use tests::grpc::{By, METHODS, Shop, TIMES, expect_messages, expect_round, rpcs};
use tests::process::Process;
use tests::sensor::{SETTLE, Sensor};
use tests::wait::{patience, wait_for};

#[test]
fn every_kind_of_call() {
    let sensor = Sensor::start();
    let shop = Shop::start(By::Python);
    let _ = Process::start(&mut shop.client(By::Python, TIMES)).succeed(60);
    expect_round(&sensor, shop.port);
    expect_messages(&sensor, shop.port);
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
