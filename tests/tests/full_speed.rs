//! nginx as fast as wrk can drive it: nothing is lost, and what is lost is counted.

use std::time::Duration;

use nix::sys::signal::Signal;
use tests::calls::{Role, calls, counted, total};
use tests::client::wrk_fast;
use tests::sensor::{Options, Sensor, lost};
use tests::server::{Kind, Server};
use tests::wait::{patience, wait_for};

fn seconds() -> u64 {
    match std::env::var("SENSOR_TEST_SECONDS") {
        Ok(text) => text.parse().expect("SENSOR_TEST_SECONDS is a number of seconds"),
        Err(_) => 60,
    }
}

/// What truly happened, and what the sensor says.
struct Round {
    /// Requests that nginx read.
    requests: u64,
    /// Responses that nginx sent.
    answered: u64,
    /// Responses that wrk received.
    received: u64,
    port: u16,
}

fn round(path: &str, seconds: u64) -> Round {
    let server = Server::start(Kind::Nginx);
    let port = server.port;
    let received = wrk_fast(&server.url(path), seconds);
    let (requests, unsent) = server.stop_fast();
    eprintln!("{requests} requests, {received} received, {unsent} unsent");
    Round { requests, answered: requests - unsent, received, port }
}

fn only_these() -> Options {
    // Whoever else uses this machine's network meanwhile is not part of the measurement.
    Options::default().processes(&["nginx", "wrk"])
}

/// Every request is counted, those that wrk cut off at its end included: on the server's side they were answered or
/// not, on the client's side they had no response.
#[track_caller]
fn nothing_lost(sensor: &Sensor, path: &str, round: &Round) {
    let (answered, unanswered) = (format!("GET {path} 200"), format!("GET {path} - no_response"));
    let of = |ok: u64| {
        let mut list = calls(&[(&answered, ok), (&unanswered, round.requests - ok)]);
        list.retain(|_, count| *count > 0);
        list
    };
    let counted_calls = |role| {
        let mut calls = sensor.counted(role, round.port);
        calls.remove("GET /status 200");
        calls
    };
    wait_for(patience(20), || {
        (total(&counted_calls(Role::Server)) + total(&counted_calls(Role::Client)) >= 2 * round.requests)
            .then_some(())
    });
    assert_eq!(lost(&sensor.metrics()), calls(&[]), "something was lost");
    assert_eq!(counted_calls(Role::Server), of(round.answered), "server: counted (left), true (right)");
    assert_eq!(counted_calls(Role::Client), of(round.received), "client: counted (left), true (right)");
}

#[test]
fn a_minute_at_full_speed_loses_nothing() {
    let sensor = only_these().start();
    let round = round("/fast", seconds());
    nothing_lost(&sensor, "/fast", &round);
}

#[test]
fn files_at_full_speed_lose_nothing() {
    let sensor = only_these().start();
    let round = round("/fast-file", seconds().min(10));
    nothing_lost(&sensor, "/fast-file", &round);
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
    let sensor = only_these().capture("ring_bytes", "65536").start();
    let server = Server::start(Kind::Nginx);
    let (port, url) = (server.port, server.url("/fast"));
    let received = std::thread::scope(|scope| {
        let load = scope.spawn(|| wrk_fast(&url, 6));
        for _ in 0..5 {
            // Not to wait for anything: to be stopped for so long, and to run for so long, is the test.
            std::thread::sleep(Duration::from_millis(500));
            sensor.signal(Signal::SIGSTOP);
            std::thread::sleep(Duration::from_millis(500));
            sensor.signal(Signal::SIGCONT);
        }
        load.join().expect("wrk's thread")
    });
    let (requests, _) = server.stop_fast();
    assert!(received > 10_000, "a load that fills the ring buffer");

    let balance = || {
        let metrics = sensor.metrics();
        let lost = lost(&metrics);
        let counted = [Role::Server, Role::Client].map(|role| {
            let mut calls = counted(&metrics, role, port);
            calls.remove("GET /status 200");
            total(&calls)
        });
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
