//! nginx as fast as wrk can drive it: nothing is lost, and what is lost is counted.

use tests::calls::{Role, calls, total};
use tests::client::wrk_fast;
use tests::sensor::{Options, Sensor};
use tests::server::{Kind, Server};

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
    let counted = |role| {
        let mut calls = sensor.counted(role, round.port);
        calls.remove("GET /status 200");
        calls
    };
    tests::wait::wait_for(tests::wait::patience(20), || {
        (total(&counted(Role::Server)) + total(&counted(Role::Client)) >= 2 * round.requests).then_some(())
    });
    assert_eq!(sensor.lost(), calls(&[]), "something was lost");
    assert_eq!(counted(Role::Server), of(round.answered), "server: counted (left), true (right)");
    assert_eq!(counted(Role::Client), of(round.received), "client: counted (left), true (right)");
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
