//! What is spoken on a connection that is not HTTP is named, and nothing else is.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;

use tempfile::TempDir;
use tests::flows::{PORT, expect, sensor};
use tests::metrics::Metrics;
use tests::netns::Netns;
use tests::process::{Process, copy, unique};
use tests::sensor::own_name;
use tests::wait::{patience, wait_until};

/// Closed connections of a service by what they are told to speak.
fn closed(metrics: &Metrics, service: &str, port: u16, protocol: &str) -> u64 {
    let port = port.to_string();
    let labels = [("service_name", service), ("server_port", &*port), ("network_protocol_name", protocol)];
    metrics.count("tcp_connections_closed_total", &labels)
}

/// A real server and its client, each of which sees it.
#[test]
fn redis() {
    const REDIS: u16 = 6379;
    let netns = Netns::new();
    let sensor = sensor();
    // A copy, because Debian's is a link to a program of another name.
    let (directory, name) = (TempDir::new().expect("make a directory"), unique("redis"));
    let mut server = netns.command(&copy("redis-server", directory.path(), &name));
    let server = Process::start(server.args(["--save", "", "--bind", "127.0.0.1"]));
    wait_until("redis to listen", patience(20), || {
        server.stdout().contains("Ready to accept connections").then_some(())
    });
    for _ in 0..3 {
        let client = || netns.command(Path::new("redis-cli"));
        assert_eq!(Process::start(client().args(["set", "card", "none"])).succeed(30).trim(), "OK");
    }
    expect(&sensor, &[3, 3, 0, 0], |metrics| {
        let closed = |service, protocol| closed(metrics, service, REDIS, protocol);
        [closed("redis-cli", "redis"), closed(&name, "redis"), closed("redis-cli", ""), closed(&name, "")]
    });
    expect(&sensor, &3, |metrics| {
        let edge = [("client", "redis-cli"), ("server", &*name), ("connection_type", "database")];
        metrics.count("traces_service_graph_request_total", &edge)
    });
    assert_eq!(sensor.lost(), tests::calls::Calls::new());
}

/// A listener of the test's own.
fn listener(netns: &Netns) -> TcpListener {
    netns.run(|| TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).expect("listen"))
}

/// A connection of the test with itself.
fn connection(netns: &Netns, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = netns.run(|| TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).expect("connect"));
    (client, listener.accept().expect("accept").0)
}

/// Open connections of this test by what they are told to speak.
fn active(metrics: &Metrics, protocol: &str) -> u64 {
    let (service, port) = (own_name(), PORT.to_string());
    let labels = [("service_name", &*service), ("server_port", &*port), ("network_protocol_name", protocol)];
    metrics.count("tcp_connections_active", &labels)
}

/// One that is older than the sensor is named by what is said on it later; one on which nothing of any protocol is said is not.
#[test]
fn connections_that_are_older() {
    let netns = Netns::new();
    let listener = listener(&netns);
    let (mut named, mut other) = (connection(&netns, &listener), connection(&netns, &listener));
    let sensor = sensor();
    expect(&sensor, &4, |metrics| active(metrics, ""));
    named.0.write_all(b"*2\r\n$3\r\nGET\r\n$4\r\nname\r\n").expect("write");
    other.0.write_all(b"*2 of something else\r\n").expect("write");
    // The other end has not read it.
    expect(&sensor, &[1, 3], |metrics| [active(metrics, "redis"), active(metrics, "")]);
    for end in [&mut named.1, &mut other.1] {
        let mut bytes = [0; 64];
        assert!(std::io::Read::read(end, &mut bytes).expect("read") > 0);
    }
    expect(&sensor, &[2, 2], |metrics| [active(metrics, "redis"), active(metrics, "")]);
    drop((named, other));
    expect(&sensor, &[0, 0], |metrics| [active(metrics, "redis"), active(metrics, "")]);
    expect(&sensor, &[2, 2], |metrics| {
        ["redis", ""].map(|protocol| closed(metrics, &own_name(), PORT, protocol))
    });
}

/// A connection of HTTP has no other name, whatever a body holds.
#[test]
fn http_is_not_named() {
    let netns = Netns::new();
    let sensor = sensor();
    let listener = listener(&netns);
    let (mut client, mut server) = connection(&netns, &listener);
    client.write_all(b"POST / HTTP/1.1\r\nContent-Length: 14\r\n\r\n").expect("write");
    client.write_all(b"*1\r\n$4\r\nPING\r\n").expect("write");
    server.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").expect("write");
    drop((client, server));
    expect(&sensor, &2, |metrics| closed(metrics, &own_name(), PORT, ""));
    assert_eq!(closed(&sensor.metrics(), &own_name(), PORT, "redis"), 0);
}
