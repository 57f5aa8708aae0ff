//! Bodies of gigabytes and responses that take their time.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use tests::calls::{Role, calls};
use tests::client::curl;
use tests::link::Link;
use tests::sensor::Sensor;
use tests::server::{Kind, Server};

const GIBIBYTE: u64 = 1 << 30;
const BOTH: [Role; 2] = [Role::Server, Role::Client];

/// A file of so many zeros that takes no room.
fn zeros(path: &std::path::Path, length: u64) {
    File::create(path).and_then(|file| file.set_len(length)).expect("make a file of zeros");
}

#[test]
fn a_gibibyte_from_nginx_by_sendfile() {
    let sensor = Sensor::start();
    let server = Server::start(Kind::Nginx);
    zeros(&server.directory().join("root/big"), GIBIBYTE);
    assert_eq!(curl(&[&server.url("/big"), "--output", "/dev/null", &server.url("/")]), 200);
    sensor.expect_both(server.port, &calls(&[("GET /big 200", 1), ("GET / 200", 1)]));
    for role in BOTH {
        let spans = sensor.expect_spans(role, server.port, 2);
        assert_eq!(spans[0].attribute("http.response.body.size"), GIBIBYTE.to_string(), "{role:?}");
        assert_eq!(spans[1].attribute("http.response.body.size"), "6", "{role:?}");
    }
}

#[test]
fn a_gibibyte_to_a_server() {
    let sensor = Sensor::start();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port");
    let port = listener.local_addr().expect("an address").port();
    let file = tempfile::NamedTempFile::new().expect("make a file");
    zeros(file.path(), GIBIBYTE);
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        let mut buffer = vec![0; 1 << 20];
        let mut head = Vec::new();
        while !head.windows(4).any(|window| window == b"\r\n\r\n") {
            let length = stream.read(&mut buffer).expect("receive a head");
            head.extend_from_slice(&buffer[..length]);
        }
        let end = head.windows(4).position(|window| window == b"\r\n\r\n").expect("the head's end") + 4;
        let mut left = GIBIBYTE - (head.len() - end) as u64;
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").expect("send");
        while left > 0 {
            let length = stream.read(&mut buffer).expect("receive a body");
            assert!(length > 0, "the body ended early");
            left -= length as u64;
        }
        stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\ndone").expect("send");
        // Until the client closes.
        assert_eq!(stream.read(&mut buffer).expect("read the end"), 0);
    });
    let path = file.path().to_string_lossy().into_owned();
    let url = format!("http://127.0.0.1:{port}/upload");
    let expect = ["--header", "Expect: 100-continue", "--request", "POST", "--upload-file", &path, &url];
    assert_eq!(curl(&expect), 201);
    server.join().expect("the server's thread");
    sensor.expect_both(port, &calls(&[("POST /upload 201", 1)]));
    for role in BOTH {
        let span = &sensor.expect_spans(role, port, 1)[0];
        assert_eq!(span.attribute("http.request.body.size"), GIBIBYTE.to_string(), "{role:?}");
        assert_eq!(span.attribute("http.response.body.size"), "4", "{role:?}");
    }
}

/// A response is not over because nothing comes for a while.
#[test]
fn a_response_that_streams() {
    let sensor = Sensor::start();
    let mut link = Link::open(Ipv4Addr::LOCALHOST.into());
    let port = link.port();
    let start = Instant::now();
    link.request(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let asked = Instant::now();
    link.response(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    for _ in 0..40 {
        std::thread::sleep(Duration::from_millis(250));
        link.response(b"d\r\ndata: tick\n\n\n\r\n");
    }
    let least = asked.elapsed();
    link.response(b"0\r\n\r\n");
    let most = start.elapsed();
    link.request(b"GET /after HTTP/1.1\r\nHost: localhost\r\n\r\n");
    link.response(b"HTTP/1.1 204 No Content\r\n\r\n");
    link.close_by_client();
    sensor.expect_both(port, &calls(&[("GET /events 200", 1), ("GET /after 204", 1)]));
    for role in BOTH {
        let spans = sensor.expect_spans(role, port, 2);
        let duration = spans[0].duration();
        assert!((least..=most).contains(&duration), "{role:?}: {duration:?}, truly {least:?} to {most:?}");
        assert_eq!(spans[0].attribute("http.response.body.size"), (40 * 18 + 5).to_string(), "{role:?}");
    }
}
