//! The tests' own servers and clients: if these do not count rightly, no comparison with the sensor means a thing.

use tests::calls::total;
use tests::client::{curl_calls, wrk_calls, wrk_fast};
use tests::server::{Kind, Server};

fn counts_rightly(kind: Kind) {
    let server = Server::start(kind);
    let by_curl = curl_calls(&server, 20);
    assert_eq!(total(&by_curl), 20);
    assert_eq!(server.stop(), by_curl);

    let server = Server::start(kind);
    let by_wrk = wrk_calls(&server.url(""), 1);
    let calls = server.stop();
    assert_eq!(total(&calls), by_wrk, "{calls:?}");
    assert_eq!(calls.len(), 7, "wrk's calls: {calls:?}");
}

#[test]
fn nginx_counts_rightly() {
    counts_rightly(Kind::Nginx);
}

#[test]
fn python_counts_rightly() {
    counts_rightly(Kind::Python);
}

#[test]
fn node_counts_rightly() {
    counts_rightly(Kind::Node);
}

#[test]
fn the_jdk_counts_rightly() {
    counts_rightly(Kind::Jdk);
}

/// wrk cuts what is under way: nginx has read at most one more request a connection than wrk got responses.
#[test]
fn nginx_knows_what_wrk_cut() {
    let server = Server::start(Kind::Nginx);
    let got = wrk_fast(&server.url("/fast"), 1);
    let (requests, unsent) = server.stop_fast();
    assert!(unsent <= requests - got, "{unsent} unsent of {requests} with {got} received");
    assert!((got..=got + 64).contains(&requests), "{requests} requests with {got} received");
}
