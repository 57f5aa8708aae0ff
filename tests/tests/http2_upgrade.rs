//! HTTP/2 by `Upgrade: h2c`: the request that asks for it is answered on stream 1, and is one exchange as all others are.

use std::net::Ipv4Addr;

use tempfile::TempDir;
use tests::calls::{Calls, Role, calls};
use tests::client::curl;
use tests::fixtures;
use tests::http2::Http2Server;
use tests::link::Link;
use tests::process::{Process, program};
use tests::sensor::Sensor;
use tests::server::{Kind, Server};

const ASK: &[u8] =
    b"GET /first HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                     HTTP2-Settings: AAMAAABk\r\n\r\n";
const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: [u8; 15] = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];

/// A frame with a header block or data.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short one");
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// `:status 200`, or `:method GET` with a path of its own.
fn status() -> Vec<u8> {
    vec![0x88]
}

fn get(path: &str) -> Vec<u8> {
    [&[0x82, 0x86, 0x04, u8::try_from(path.len()).expect("a short one")], path.as_bytes()].concat()
}

/// What a connection is, with the server's frames in these operations, the first of which begins with the 101.
fn connection(operations: &[Vec<u8>]) {
    let sensor = Sensor::start();
    let mut link = Link::open(Ipv4Addr::LOCALHOST.into());
    let port = link.port();
    link.request(ASK);
    for operation in operations {
        link.response(operation);
    }
    link.request(&[PREFACE, &SETTINGS].concat());
    link.request(&frame(1, 5, 3, &get("/second")));
    link.response(&[frame(1, 4, 3, &status()), frame(0, 1, 3, b"body")].concat());
    link.close_by_client();
    sensor.expect_both(port, &calls(&[("GET /first 200", 1), ("GET /second 200", 1)]));
    for role in [Role::Server, Role::Client] {
        for span in sensor.expect_spans(role, port, 2) {
            assert_eq!(span.attribute("http.response.body.size"), "4", "{span:#?}");
            assert_eq!(span.attribute("network.protocol.version"), "2");
        }
    }
    assert_eq!(sensor.lost(), Calls::new());
}

/// The answer to the first request.
fn answer() -> Vec<u8> {
    [frame(1, 4, 1, &status()), frame(0, 1, 1, b"body")].concat()
}

#[test]
fn the_switch_alone() {
    connection(&[SWITCH.to_vec(), [SETTINGS.to_vec(), answer()].concat()]);
}

#[test]
fn the_switch_with_the_first_frame() {
    connection(&[[SWITCH, &SETTINGS].concat(), answer()]);
}

#[test]
fn the_switch_with_all_frames() {
    connection(&[[SWITCH, &SETTINGS, &answer()].concat()]);
}

/// The body of a response is longer than what is captured of a head.
#[test]
fn the_switch_with_a_long_body() {
    let long = vec![b'x'; 10_000];
    let data = [&[0, 0x27, 0x10, 0, 0, 0, 0, 0, 1], &long[..]].concat();
    let sensor = Sensor::start();
    let mut link = Link::open(Ipv4Addr::LOCALHOST.into());
    let port = link.port();
    link.request(ASK);
    link.response(&[SWITCH, &SETTINGS, &frame(1, 4, 1, &status()), &data, &frame(0, 1, 1, b"")].concat());
    link.request(&[PREFACE, &SETTINGS].concat());
    link.close_by_client();
    sensor.expect_both(port, &calls(&[("GET /first 200", 1)]));
    for role in [Role::Server, Role::Client] {
        let span = &sensor.expect_spans(role, port, 1)[0];
        assert_eq!(span.attribute("http.response.body.size"), "10000", "{span:#?}");
    }
    assert_eq!(sensor.lost(), Calls::new());
}

/// nghttpx takes it up, and speaks HTTP/1 to nginx behind it.
struct Proxy {
    sensor: Sensor,
    behind: Server,
    front: Http2Server,
}

impl Proxy {
    fn start() -> Self {
        let sensor = Sensor::start();
        let behind = Server::start(Kind::Nginx);
        let front = Http2Server::nghttpx(behind.port);
        Self { sensor, behind, front }
    }

    /// Requires these calls at both servers, all of them of HTTP/2 at the first.
    #[track_caller]
    fn expect(&self, each: &[(&str, u64)]) {
        self.sensor.expect_both(self.front.port, &calls(each));
        self.sensor.expect_both(self.behind.port, &calls(each));
        let count = usize::try_from(each.iter().map(|(_, count)| count).sum::<u64>()).expect("a count");
        for role in [Role::Server, Role::Client] {
            let spans = self.sensor.expect_spans(role, self.front.port, count);
            assert!(spans.iter().all(|span| span.attribute("network.protocol.version") == "2"), "{spans:#?}");
        }
        assert_eq!(self.sensor.lost(), Calls::new());
    }
}

#[test]
fn curl_asks_for_it() {
    let proxy = Proxy::start();
    let [root, item] = ["/", "/items/1"].map(|path| proxy.front.url(path));
    let status = curl(&["--http2", &root, "--output", "/dev/null", &item]);
    assert_eq!(status, 200);
    proxy.expect(&[("GET / 200", 1), ("GET /items/{id} 200", 1)]);
}

#[test]
fn nghttp_asks_for_it() {
    let proxy = Proxy::start();
    let urls = ["/", "/items/1", "/missing"].map(|path| proxy.front.url(path));
    let _ = Process::start(program("nghttp").args(["--upgrade", "--null-out"]).args(urls)).succeed(20);
    proxy.expect(&[("GET / 200", 1), ("GET /items/{id} 200", 1), ("GET /missing 404", 1)]);
}

#[test]
fn java_asks_for_it() {
    let proxy = Proxy::start();
    let directory = TempDir::new().expect("make a directory");
    let _ = fixtures::java(directory.path(), "Client.class", "Client.class");
    let urls = ["/", "/items/1", "/items/1", "/missing"].map(|path| proxy.front.url(path));
    let mut client = program("java");
    client.arg("-cp").arg(directory.path()).arg("Client").args(urls);
    let told = Process::start(&mut client).succeed(60);
    assert_eq!(told.lines().collect::<Vec<_>>(), ["HTTP_2 200", "HTTP_2 200", "HTTP_2 200", "HTTP_2 404"]);
    proxy.expect(&[("GET / 200", 1), ("GET /items/{id} 200", 2), ("GET /missing 404", 1)]);
}

/// nginx does not know the protocol, so the connection stays what it was.
#[test]
fn a_server_that_does_not_take_it_up() {
    let sensor = Sensor::start();
    let server = Server::start(Kind::Nginx);
    assert_eq!(curl(&["--http2", &server.url("/"), "--output", "/dev/null", &server.url("/items/1")]), 200);
    sensor.expect_both(server.port, &calls(&[("GET / 200", 1), ("GET /items/{id} 200", 1)]));
    assert_eq!(sensor.lost(), Calls::new());
}
