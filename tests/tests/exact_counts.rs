//! N requests are counted as exactly N, on both sides, with right method, status and route.

use tests::calls::{Calls, Role, calls, total};
use tests::client::{curl_calls, wrk_calls};
use tests::sensor::{Options, Sensor};
use tests::server::{Kind, Server};
use tests::wait::portion;

/// wrk keeps 64 connections alive and has nothing under way when it ends.
#[track_caller]
fn wrk(kind: Kind) {
    let sensor = Options::default().start();
    let before = sensor.lost();
    let server = Server::start(kind);
    let port = server.port;
    let by_wrk = wrk_calls(&server.url(""), 3);
    let answered = server.stop();
    assert_eq!(total(&answered), by_wrk, "the server's and wrk's own counts differ: {answered:?}");

    sensor.expect_both(port, &answered);
    assert_eq!(sensor.lost(), before, "something was lost");
    assert_eq!(sensor.service(Role::Server, port), kind.service());
    assert_eq!(sensor.service(Role::Client, port), "wrk");
}

/// curl makes a connection for each request.
#[track_caller]
fn curl(kind: Kind) {
    let sensor = Options::default().start();
    let before = sensor.lost();
    let server = Server::start(kind);
    let port = server.port;
    // All calls several times over, in any portion.
    let sent = curl_calls(&server, portion(200) as usize);
    assert_eq!(server.stop(), sent, "the server's and curl's own counts differ");

    sensor.expect_both(port, &sent);
    assert_eq!(sensor.lost(), before, "something was lost");
    assert_eq!(sensor.service(Role::Server, port), kind.service());
    assert_eq!(sensor.service(Role::Client, port), "curl");
    body_sizes(&sensor, port, &sent);
}

/// Every body whose length the test knows.
#[track_caller]
fn body_sizes(sensor: &Sensor, port: u16, sent: &Calls) {
    let metrics = sensor.metrics();
    let port = port.to_string();
    let count = |call: &str| sent[call];
    for role in [Role::Server, Role::Client] {
        let sum = |message: &str, method: &str, route: &str| {
            let name = format!("http_{}_{message}_body_size_bytes_sum", role.name());
            let labels =
                [("server_port", port.as_str()), ("http_request_method", method), ("http_route", route)];
            metrics.count(&name, &labels)
        };
        // "one=1&two=2" and 100 000 bytes in turn. nginx answers before it has read the larger ones.
        assert_eq!(sum("request", "POST", "/orders"), count("POST /orders 201") / 2 * (11 + 100_000));
        assert_eq!(sum("response", "POST", "/orders"), count("POST /orders 201") * 5);
        assert_eq!(sum("response", "GET", "/"), count("GET / 200") * 6);
        assert_eq!(sum("response", "HEAD", "/"), 0);
        assert_eq!(sum("response", "GET", "/empty"), 0);
        assert_eq!(sum("response", "GET", "/items/{id}"), count("GET /items/{id} 200") * 100);
    }
}

#[test]
fn wrk_to_nginx() {
    wrk(Kind::Nginx);
}

#[test]
fn wrk_to_python() {
    wrk(Kind::Python);
}

#[test]
fn wrk_to_node() {
    wrk(Kind::Node);
}

#[test]
fn wrk_to_the_jdk() {
    wrk(Kind::Jdk);
}

#[test]
fn curl_to_nginx() {
    curl(Kind::Nginx);
}

#[test]
fn curl_to_python() {
    curl(Kind::Python);
}

#[test]
fn curl_to_node() {
    curl(Kind::Node);
}

#[test]
fn curl_to_the_jdk() {
    curl(Kind::Jdk);
}

/// The same client process speaks to two servers, and each is counted by itself.
#[test]
fn servers_are_told_apart_by_port() {
    let sensor = Options::default().start();
    let (one, two) = (Server::start(Kind::Nginx), Server::start(Kind::Python));
    let (first, second) = (one.port, two.port);
    let to = ["--output", "/dev/null"];
    let urls = [&one.url("/"), to[0], to[1], &two.url("/fail"), to[0], to[1], &two.url("/missing")];
    assert_eq!(tests::client::curl(&urls), 404);
    drop((one, two));
    sensor.expect_both(first, &calls(&[("GET / 200", 1)]));
    sensor.expect_both(second, &calls(&[("GET /fail 500", 1), ("GET /missing 404", 1)]));
}
