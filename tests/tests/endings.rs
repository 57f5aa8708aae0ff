//! Exchanges that end early are counted with what is known, and never with an invented status.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};

use nix::sys::socket::{setsockopt, sockopt};
use tests::calls::{Role, calls};
use tests::link::Link;
use tests::sensor::Sensor;

const GET: &[u8] = b"GET /end HTTP/1.1\r\nHost: localhost\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CUT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.";

fn link() -> Link {
    Link::open(Ipv4Addr::LOCALHOST.into())
}

/// Closes with a reset instead of an orderly end.
fn reset(stream: TcpStream) {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&stream, sockopt::Linger, &linger).expect("set SO_LINGER");
    drop(stream);
}

#[track_caller]
fn error_types(sensor: &Sensor, port: u16, expected: &str) {
    for role in [Role::Server, Role::Client] {
        let span = &sensor.expect_spans(role, port, 1)[0];
        assert_eq!(span.attribute("error.type"), expected, "{role:?}");
    }
}

#[test]
fn a_server_that_closes_without_a_response() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    link.request(GET);
    link.close_by_server();
    sensor.expect_both(port, &calls(&[("GET /end - no_response", 1)]));
    error_types(&sensor, port, "no_response");
}

#[test]
fn a_server_that_resets_without_a_response() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    link.request(GET);
    reset(link.server);
    let error = link.client.read(&mut [0; 10]).expect_err("the connection was reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    drop(link.client);
    sensor.expect_both(port, &calls(&[("GET /end - no_response", 1)]));
}

#[test]
fn a_client_that_leaves_before_the_response() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    link.request(GET);
    reset(link.client);
    link.server.write_all(OK).expect_err("the client has gone");
    drop(link.server);
    sensor.expect_both(port, &calls(&[("GET /end - no_response", 1)]));
}

/// What the server sent it counts, whether or not the client read it.
#[test]
fn a_client_that_does_not_read_the_response() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    link.request(GET);
    link.server.write_all(OK).expect("send");
    drop(link.client);
    drop(link.server);
    sensor.expect(Role::Server, port, &calls(&[("GET /end 200", 1)]));
    sensor.expect(Role::Client, port, &calls(&[("GET /end - no_response", 1)]));
}

#[test]
fn a_client_that_leaves_in_the_middle_of_the_response() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    link.request(GET);
    link.response(CUT);
    link.close_by_client();
    sensor.expect_both(port, &calls(&[("GET /end 200 response_cut", 1)]));
    error_types(&sensor, port, "response_cut");
}

#[test]
fn a_server_that_leaves_in_the_middle_of_the_response() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    link.request(GET);
    link.response(CUT);
    link.close_by_server();
    sensor.expect_both(port, &calls(&[("GET /end 200 response_cut", 1)]));
    for role in [Role::Server, Role::Client] {
        let span = &sensor.expect_spans(role, port, 1)[0];
        assert_eq!(span.attribute("http.response.body.size"), "10", "{role:?}: as far as it came");
    }
}

#[test]
fn a_chunked_response_that_stops() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    link.request(GET);
    link.response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    link.response(b"5\r\nhello\r\n");
    link.close_by_server();
    sensor.expect_both(port, &calls(&[("GET /end 200 response_cut", 1)]));
}

#[test]
fn a_request_whose_body_stops() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    link.request(b"POST /end HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nten bytes.");
    link.close_by_client();
    sensor.expect_both(port, &calls(&[("POST /end - no_response", 1)]));
}

/// A client may end its half once it has asked; that ends nothing.
#[test]
fn a_client_that_has_no_more_to_ask() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    link.request(GET);
    link.client.shutdown(Shutdown::Write).expect("shut down");
    assert_eq!(link.server.read(&mut [0; 10]).expect("read the end"), 0);
    link.response(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
    link.response(b"ten bytes.");
    link.close_by_server();
    sensor.expect_both(port, &calls(&[("GET /end 200", 1)]));
}

#[test]
fn one_of_several_is_cut() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    for _ in 0..3 {
        link.request(GET);
        link.response(OK);
    }
    link.request(GET);
    link.close_by_server();
    sensor.expect_both(port, &calls(&[("GET /end 200", 3), ("GET /end - no_response", 1)]));
}

/// Of pipelined requests only those without a response have none.
#[test]
fn the_last_of_pipelined_requests_have_no_response() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    link.request(&[GET, GET, GET].concat());
    link.response(OK);
    link.close_by_server();
    sensor.expect_both(port, &calls(&[("GET /end 200", 1), ("GET /end - no_response", 2)]));
}

/// A program that dies takes its connections with it.
#[test]
fn a_server_that_is_killed() {
    let sensor = Sensor::start();
    let mut server = tests::process::Process::start(tests::process::program("python3").args(["-c", KILLED]));
    let port: u16 = server.line("listening ").parse().expect("a port");
    let mut client = TcpStream::connect(("127.0.0.1", port)).expect("connect");
    client.write_all(GET).expect("send");
    server.wait(30);
    let _ = client.read(&mut [0; 10]);
    drop(client);
    sensor.expect_both(port, &calls(&[("GET /end - no_response", 1)]));
}

/// Accepts, reads a request, and kills itself.
const KILLED: &str = "\
import os, signal, socket
listener = socket.create_server(('127.0.0.1', 0))
print('listening', listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
connection.recv(4096)
os.kill(os.getpid(), signal.SIGKILL)
";
