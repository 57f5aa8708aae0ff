//! nginx as fast as wrk can drive it: nothing is lost, and what is lost is counted.
//!
//! Both are copies under names of their own, and the sensor follows only these, so that whatever else happens on
//! this machine's network is not among the figures. They run before the sensor does, so it knows them from the start.

use std::time::Duration;

use nix::sys::signal::Signal;
use tests::calls::{Role, calls, counted, total};
use tests::client::Held;
use tests::metrics::Metrics;
use tests::process::unique;
use tests::sensor::{Options, Sensor, lost};
use tests::server::Server;
use tests::wait::{load_seconds, patience, wait_for};

/// nginx under load, observed.
struct Load {
    sensor: Sensor,
    server: Server,
    wrk: Held,
}

impl Load {
    #[track_caller]
    fn prepare(options: Options, path: &str, seconds: u64) -> Self {
        let name = unique("load");
        let server = Server::nginx_named(&name);
        let wrk = Held::start(&name, &server.url(path), seconds);
        Self { sensor: options.processes(&[&name]).start(), server, wrk }
    }
}

/// The calls of one side, without those over which the test asks nginx how many there were.
fn counted_load(metrics: &Metrics, role: Role, port: u16) -> tests::calls::Calls {
    let mut calls = counted(metrics, role, port);
    calls.remove("GET /status 200");
    calls
}

/// Every request is counted, those that wrk cut off at its end included: on the server's side they were answered or
/// not, on the client's side they had no response.
#[track_caller]
fn nothing_is_lost(path: &str, seconds: u64) {
    let Load { sensor, server, wrk } = Load::prepare(Options::default(), path, seconds);
    let port = server.port;
    let received = wrk.go();
    let (requests, unsent) = server.stop_fast();
    eprintln!("{requests} requests, {received} received, {unsent} unsent");

    let (answered, unanswered) = (format!("GET {path} 200"), format!("GET {path} - no_response"));
    let of = |ok: u64| {
        let mut list = calls(&[(&answered, ok), (&unanswered, requests - ok)]);
        list.retain(|_, count| *count > 0);
        list
    };
    let expected = [(Role::Server, of(requests - unsent)), (Role::Client, of(received))];
    let agree =
        |metrics: &Metrics| expected.iter().all(|(role, calls)| counted_load(metrics, *role, port) == *calls);
    wait_for(patience(20), || agree(&sensor.metrics()).then_some(()));
    let metrics = sensor.metrics();
    assert_eq!(lost(&metrics), calls(&[]), "something was lost");
    for (role, calls) in &expected {
        let counted = counted_load(&metrics, *role, port);
        assert_eq!(counted, *calls, "{role:?} side: counted (left), true (right)");
    }
}

#[test]
fn a_minute_at_full_speed_loses_nothing() {
    nothing_is_lost("/fast", load_seconds());
}

#[test]
fn files_at_full_speed_lose_nothing() {
    nothing_is_lost("/fast-file", load_seconds().min(10));
}

/// Causes of `sensor_lost_total` of which each count is one request on one side; the other causes tell of detail or
/// of bytes, not of requests.
const LOST_REQUESTS: [&str; 9] = [
    "ring_full_request",
    "cut_start_line",
    "lost_response",
    "lost_close",
    "desynchronized",
    "pipeline_overflow",
    "evicted_connection",
    "pair_timeout",
    "shutdown",
];

/// The daemon is held up while the smallest ring buffer fills many times over: what is not counted is counted as
/// lost, to the last request.
#[test]
fn counted_and_lost_make_the_whole() {
    let options = Options::default().capture("ring_bytes", "65536");
    let Load { sensor, server, wrk } = Load::prepare(options, "/fast", 6);
    let port = server.port;
    std::thread::scope(|scope| {
        let load = scope.spawn(|| wrk.go());
        for _ in 0..5 {
            // Not to wait for anything: to be stopped for so long, and to run for so long, is the test.
            std::thread::sleep(Duration::from_millis(500));
            sensor.signal(Signal::SIGSTOP);
            std::thread::sleep(Duration::from_millis(500));
            sensor.signal(Signal::SIGCONT);
        }
        let _ = load.join().expect("wrk's thread");
    });
    let (requests, _) = server.stop_fast();

    let balance = || {
        let metrics = sensor.metrics();
        let counted = [Role::Server, Role::Client].map(|role| total(&counted_load(&metrics, role, port)));
        let lost = lost(&metrics);
        let requests = LOST_REQUESTS.iter().filter_map(|cause| lost.get(*cause)).sum::<u64>();
        (counted[0] + counted[1] + requests, counted, lost)
    };
    wait_for(patience(30), || (balance().0 == 2 * requests).then_some(()));
    let (whole, counted, lost) = balance();
    assert!(lost.get("ring_full_request").is_some_and(|count| *count > 0), "nothing was lost: {lost:?}");
    assert_eq!(
        whole,
        2 * requests,
        "counted {counted:?} and lost {lost:?} (left), sent on both sides (right)"
    );
}
