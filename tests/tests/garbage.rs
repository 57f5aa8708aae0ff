//! What is not HTTP/1 makes no exchange and no harm, and a head too long to keep is cut and counted.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::process::Command;

use tests::calls::{Role, calls, counted};
use tests::client::curl;
use tests::link::{Link, free_port};
use tests::process::{Process, program};
use tests::sensor::Sensor;
use tests::wait::{patience, wait_until};

fn link() -> Link {
    Link::open(Ipv4Addr::LOCALHOST.into())
}

/// Requires that no exchange of these ports was seen, and that the sensor still sees others.
#[track_caller]
fn nothing_seen(sensor: &Sensor, ports: &[u16]) {
    sensor.barrier();
    let (metrics, spans) = (sensor.metrics(), sensor.spans());
    for port in ports {
        for role in [Role::Server, Role::Client] {
            assert_eq!(counted(&metrics, role, *port), calls(&[]), "{role:?} side of port {port}");
        }
        // The handshake of a connection is a span, too.
        let mut exchanges = spans.iter().filter(|span| !span.attribute("http.request.method").is_empty());
        let span = exchanges.find(|span| span.attribute("server.port") == port.to_string());
        assert!(span.is_none(), "{span:#?}");
    }
}

/// A small generator of numbers that are random enough, and the same each time (xorshift64, Marsaglia 2003).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}

#[test]
fn random_bytes() {
    let sensor = Sensor::start();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut ports = Vec::new();
    for round in 0..200 {
        let mut link = link();
        ports.push(link.port());
        for _ in 0..4 {
            let length = 1 + usize::try_from(random.next() % 3000).expect("small");
            link.request(&random.bytes(length));
            link.response(&random.bytes(length));
        }
        if round % 2 == 0 { link.close_by_client() } else { link.close_by_server() }
    }
    nothing_seen(&sensor, &ports);
}

/// Random bytes behind what begins like HTTP, with no whole start line.
#[test]
fn random_bytes_behind_the_start_of_a_message() {
    let sensor = Sensor::start();
    let mut random = Random(42);
    let mut ports = Vec::new();
    let requests = ["GET ", "GET /", "POST /x HTTP/1.", "HEAD", "OPTIONS * "];
    let responses = ["HTTP/1.1 ", "HTTP/1.1 200", "HTTP/1.", "HTTP/"];
    for (request, response) in
        requests.iter().flat_map(|request| responses.map(|response| (request, response)))
    {
        let mut link = link();
        ports.push(link.port());
        for _ in 0..4 {
            // No part of these is an empty line, so no head is ever whole.
            let mut rest = random.bytes(700);
            rest.retain(|byte| *byte != b'\n');
            link.request(&[request.as_bytes(), &rest].concat());
            link.response(&[response.as_bytes(), &rest].concat());
        }
        link.close_by_client();
    }
    nothing_seen(&sensor, &ports);
}

/// What others say to each other, request and response in turn.
#[test]
fn other_protocols() {
    let talks: [(&str, &[&[u8]]); 8] = [
        (
            "redis",
            &[b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n", b"$5\r\nvalue\r\n", b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"],
        ),
        (
            "redis inline",
            &[
                b"GET key\r\n",
                b"$5\r\nvalue\r\n",
                b"SET key value\r\n",
                b"+OK\r\n",
                b"PING\r\n",
                b"+PONG\r\n",
            ],
        ),
        (
            "postgresql",
            &[
                b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
                b"N",
                b"\x00\x00\x00\x21\x00\x03\x00\x00user\0shop\0database\0shop\0\0",
                b"R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I",
                b"Q\x00\x00\x00\x0eSELECT 1;\0",
                b"C\x00\x00\x00\x0dSELECT 1\0Z\x00\x00\x00\x05I",
            ],
        ),
        (
            "smtp",
            &[
                b"EHLO localhost\r\n",
                b"250 OK\r\n",
                b"DATA\r\n",
                b"354 Go on\r\n",
                b"From: <a@localhost>\r\n\r\nhello\r\n.\r\n",
                b"250 OK\r\n",
            ],
        ),
        ("memcached", &[b"get key\r\n", b"VALUE key 0 5\r\nvalue\r\nEND\r\n"]),
        (
            "ssh",
            &[
                b"SSH-2.0-OpenSSH_9.2\r\n",
                b"SSH-2.0-OpenSSH_9.2\r\n",
                b"\x00\x00\x04\xec\x09\x14",
                b"\x00\x00\x04\xec\x09\x14",
            ],
        ),
        (
            "nats",
            &[
                b"INFO {}\r\n",
                b"PONG\r\n",
                b"CONNECT {}\r\n",
                b"+OK\r\n",
                b"PUB orders 2\r\nhi\r\n",
                b"+OK\r\n",
            ],
        ),
        (
            "rtsp",
            &[
                b"DESCRIBE rtsp://localhost/x RTSP/1.0\r\nCSeq: 2\r\n\r\n",
                b"RTSP/1.0 200 OK\r\nCSeq: 2\r\n\r\n",
            ],
        ),
    ];
    let sensor = Sensor::start();
    for (protocol, talk) in talks {
        let mut link = link();
        let port = link.port();
        for turn in talk.chunks(2) {
            link.request(turn[0]);
            link.response(turn[1]);
        }
        link.close_by_client();
        eprintln!("{protocol} on port {port}");
        nothing_seen(&sensor, &[port]);
    }
}

/// An exchange inside TLS is not seen.
#[test]
fn tls() {
    let sensor = Sensor::start();
    let directory = tempfile::TempDir::new().expect("make a directory");
    let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let (key, certificate) = (path("key.pem"), path("certificate.pem"));
    let made = run(program("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"])
        .args(["-subj", "/CN=localhost", "-keyout", &key, "-out", &certificate]));
    assert!(made, "openssl makes a certificate");
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let _server = Process::start(program("openssl").args([
        "s_server",
        "-quiet",
        "-www",
        "-accept",
        &address,
        "-key",
        &key,
        "-cert",
        &certificate,
    ]));
    wait_until("openssl to listen", patience(20), || std::net::TcpStream::connect(&address).ok().map(drop));
    for _ in 0..5 {
        assert_eq!(curl(&["--insecure", &format!("https://{address}/")]), 200);
    }
    nothing_seen(&sensor, &[port]);
}

fn run(command: &mut Command) -> bool {
    command.output().expect("start a program").status.success()
}

/// Speaks TLS to a server of plain HTTP and the other way round: an answer without a question is none.
#[test]
fn the_wrong_protocol() {
    let sensor = Sensor::start();
    let mut ports = Vec::new();
    let mut plain = link();
    ports.push(plain.port());
    plain.request(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 client hello");
    plain.response(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    plain.close_by_server();
    // Both ends only ask, or only answer.
    let (mut asking, mut answering) = (link(), link());
    ports.extend([asking.port(), answering.port()]);
    for _ in 0..3 {
        answering.request(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        answering.response(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        asking.response(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
    asking.close_by_client();
    answering.close_by_client();
    nothing_seen(&sensor, &ports);
}

/// A request that a server understands only as far as it needs to refuse it is a request.
#[test]
fn a_malformed_header_section() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    link.request(b"GET /bad HTTP/1.1\r\nthis is no header\r\n\r\n");
    link.response(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    link.close_by_server();
    sensor.expect_both(port, &calls(&[("GET /bad 400", 1)]));
}

#[track_caller]
fn truncated(sensor: &Sensor) -> u64 {
    sensor.lost().get("truncated_head").copied().unwrap_or(0)
}

/// The first bytes of a head that is too long to keep say what was asked; the cut is counted, on each side once.
#[test]
fn a_head_of_64_kib() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    link.request(b"GET /before HTTP/1.1\r\nHost: localhost\r\n\r\n");
    link.response(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    sensor.expect_both(port, &calls(&[("GET /before 200", 1)]));
    let before = truncated(&sensor);

    let start = "GET /long HTTP/1.1\r\nHost: localhost\r\nCookie: ";
    let head = format!("{start}{}\r\n\r\n", "c".repeat((64 << 10) - start.len() - 4));
    assert_eq!(head.len(), 64 << 10);
    std::thread::scope(|scope| {
        let (client, server) = (&mut link.client, &mut link.server);
        scope.spawn(|| client.write_all(head.as_bytes()).expect("send a head"));
        server.read_exact(&mut vec![0; head.len()]).expect("receive a head");
    });
    link.response(b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\n\r\n");
    // The connection is as good as before.
    link.request(b"GET /after HTTP/1.1\r\nHost: localhost\r\n\r\n");
    link.response(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    link.close_by_client();
    sensor.expect_both(port, &calls(&[("GET /before 200", 1), ("GET /long 431", 1), ("GET /after 200", 1)]));
    assert_eq!(truncated(&sensor) - before, 2, "{:?}", sensor.lost());
}
