//! Where messages begin and end on a connection.
//!
//! Each test plays both ends, so it knows what was exchanged. Afterwards both sides must have been counted alike.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use tests::calls::{Role, calls};
use tests::link::Link;
use tests::sensor::Sensor;
use tests::spans::Span;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const BOTH: [Role; 2] = [Role::Server, Role::Client];

fn link() -> Link {
    Link::open(Ipv4Addr::LOCALHOST.into())
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

/// Request and response body sizes of a span, as it writes them.
fn sizes(span: &Span) -> (&str, &str) {
    (span.attribute("http.request.body.size"), span.attribute("http.response.body.size"))
}

#[test]
fn http_1_0_ends_with_the_connection() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    link.request(b"GET /old HTTP/1.0\r\n\r\n");
    link.response(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n");
    link.response(b"until ");
    link.response(b"close");
    link.close_by_server();
    sensor.expect_both(port, &calls(&[("GET /old 200", 1)]));
    for role in BOTH {
        let span = &sensor.expect_spans(role, port, 1)[0];
        assert_eq!(span.attribute("network.protocol.version"), "1.0", "{role:?}");
        assert_eq!(span.attribute("http.response.body.size"), "11", "{role:?}");
    }
}

#[test]
fn http_1_0_keeps_alive_when_both_say_so() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    for _ in 0..3 {
        link.request(b"GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        link.response(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok");
    }
    link.close_by_client();
    sensor.expect_both(port, &calls(&[("GET /old 200", 3)]));
}

#[test]
fn http_1_1_until_close() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    link.request(&get("/one"));
    link.response(OK);
    link.request(&get("/last"));
    link.response(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nsome");
    link.response(b" more");
    link.close_by_server();
    sensor.expect_both(port, &calls(&[("GET /one 200", 1), ("GET /last 200", 1)]));
    for role in BOTH {
        let spans = sensor.expect_spans(role, port, 2);
        assert_eq!(spans[1].attribute("http.response.body.size"), "9", "{role:?}");
    }
}

#[test]
fn chunked_bodies_both_ways() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    for _ in 0..2 {
        link.request(b"POST /chunks HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
        link.request(b"5\r\nhello\r\n");
        link.request(b"6\r\n world\r\n");
        link.request(b"0\r\n\r\n");
        link.response(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n");
        link.response(b"a\r\n0123456789\r\n0\r\n\r\n");
    }
    link.request(&get("/after"));
    link.response(OK);
    link.close_by_client();
    sensor.expect_both(port, &calls(&[("POST /chunks 201", 2), ("GET /after 200", 1)]));
}

/// A chunk whose bytes are like the last chunk does not end the body, however long nothing follows.
#[test]
fn what_looks_like_the_last_chunk() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    for _ in 0..3 {
        link.request(&get("/tricky"));
        link.response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        link.response(b"5\r\n0\r\n\r\n");
        std::thread::sleep(std::time::Duration::from_millis(300));
        link.response(b"\r\n1c\r\nHTTP/1.1 500 no response\r\n\r\n");
        link.response(b"\r\n0\r\n\r\n");
    }
    link.request(&get("/after"));
    link.response(OK);
    link.close_by_client();
    sensor.expect_both(port, &calls(&[("GET /tricky 200", 3), ("GET /after 200", 1)]));
    for role in BOTH {
        for span in &sensor.expect_spans(role, port, 4)[..3] {
            let duration = span.duration();
            assert!(
                duration.as_millis() >= 290,
                "{role:?}: the response went on for 300 ms, not {duration:?}"
            );
        }
    }
}

#[test]
fn responses_without_a_body() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    link.request(b"HEAD /file HTTP/1.1\r\nHost: localhost\r\n\r\n");
    link.response(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    link.request(&get("/file"));
    link.response(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n");
    link.request(b"DELETE /file HTTP/1.1\r\nHost: localhost\r\n\r\n");
    link.response(b"HTTP/1.1 204 No Content\r\n\r\n");
    link.request(b"HEAD /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    link.response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    link.request(&get("/file"));
    link.response(OK);
    link.close_by_client();
    let expected = [
        ("HEAD /file 200", 1),
        ("GET /file 304", 1),
        ("DELETE /file 204", 1),
        ("HEAD /stream 200", 1),
        ("GET /file 200", 1),
    ];
    sensor.expect_both(port, &calls(&expected));
    for role in BOTH {
        let spans = sensor.expect_spans(role, port, 5);
        let bodies: Vec<&str> = spans.iter().map(|span| span.attribute("http.response.body.size")).collect();
        assert_eq!(bodies, ["0", "0", "0", "0", "2"], "{role:?}");
    }
}

#[test]
fn interim_responses_are_not_the_response() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    link.request(
        b"PUT /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
    );
    link.response(b"HTTP/1.1 100 Continue\r\n\r\n");
    link.request(b"some body");
    link.response(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok");
    // Several interim responses, one of them in one piece with the final one.
    link.request(&get("/hints"));
    link.response(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n");
    link.response(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    link.close_by_client();
    sensor.expect_both(port, &calls(&[("PUT /upload 201", 1), ("GET /hints 200", 1)]));
    for role in BOTH {
        let spans = sensor.expect_spans(role, port, 2);
        assert_eq!(sizes(&spans[0]), ("9", "2"), "{role:?}");
        assert_eq!(sizes(&spans[1]), ("0", "2"), "{role:?}");
    }
}

/// A server may refuse before it has seen the body, and the client need not send it.
#[test]
fn a_final_response_before_the_body() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    link.request(
        b"PUT /big HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n",
    );
    link.response(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    link.close_by_server();
    sensor.expect_both(port, &calls(&[("PUT /big 413", 1)]));
}

#[test]
fn pipelined_requests() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    let three = [get("/one"), get("/two"), get("/three")].concat();
    // All at once, and answered one by one.
    link.request(&three);
    link.response(OK);
    link.response(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    link.response(b"HTTP/1.1 500 Oh No\r\nContent-Length: 4\r\n\r\nhelp");
    // All at once, and all answered at once.
    link.request(&three);
    link.response(&[OK, OK, OK].concat());
    // One by one, and answered when all are there.
    for path in ["/one", "/two", "/three"] {
        link.request(&get(path));
    }
    link.response(&[OK, OK].concat());
    link.response(OK);
    // With a body between them.
    let post = b"POST /four HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc";
    link.request(&[post, get("/one").as_slice()].concat());
    link.response(OK);
    link.response(OK);
    link.close_by_client();
    let expected = [
        ("GET /one 200", 4),
        ("GET /two 404", 1),
        ("GET /two 200", 2),
        ("GET /three 500", 1),
        ("GET /three 200", 2),
        ("POST /four 200", 1),
    ];
    sensor.expect_both(port, &calls(&expected));
}

/// After the switch the bytes are another protocol's, whatever they look like.
#[test]
fn an_upgraded_connection_is_left_alone() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    link.request(
        b"GET /chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    link.response(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    for _ in 0..3 {
        link.request(b"\x81\x85abcd\x09\x07\x0f\x08\x0e");
        link.response(b"\x81\x05hello");
        link.request(&get("/not-http"));
        link.response(OK);
    }
    link.close_by_client();
    sensor.expect_both(port, &calls(&[("GET /chat 101", 1)]));
}

#[test]
fn a_tunnel_is_left_alone() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    link.request(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n");
    link.response(b"HTTP/1.1 200 Connection established\r\n\r\n");
    link.request(b"\x16\x03\x01\x00\x05hello");
    link.request(&get("/in-the-tunnel"));
    link.response(OK);
    link.close_by_client();
    for role in BOTH {
        let span = &sensor.expect_spans(role, port, 1)[0];
        assert_eq!(span.attribute("http.request.method"), "CONNECT", "{role:?}");
        assert_eq!(span.attribute("http.response.status_code"), "200", "{role:?}");
    }
}

#[test]
fn a_refused_tunnel_or_upgrade_goes_on() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    link.request(
        b"GET /chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    link.response(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n");
    link.request(&get("/after"));
    link.response(OK);
    link.close_by_client();
    sensor.expect_both(port, &calls(&[("GET /chat 426", 1), ("GET /after 200", 1)]));
}

#[test]
fn heads_byte_by_byte() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    for _ in 0..2 {
        link.request_by_bytes(b"POST /slowly HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody");
        link.response_by_bytes(b"HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\n\r\nyes");
    }
    link.close_by_client();
    sensor.expect_both(port, &calls(&[("POST /slowly 202", 2)]));
    for role in BOTH {
        let spans = sensor.expect_spans(role, port, 2);
        assert!(spans.iter().all(|span| sizes(span) == ("4", "3")), "{role:?}: {spans:#?}");
    }
}

#[test]
fn heads_in_pieces_of_every_size() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    let request = b"POST /pieces HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody";
    let response = b"HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\n\r\nyes";
    for size in 2..30 {
        request.chunks(size).for_each(|piece| link.request(piece));
        response.chunks(size).for_each(|piece| link.response(piece));
    }
    link.close_by_client();
    sensor.expect_both(port, &calls(&[("POST /pieces 202", 28)]));
}

/// Head and body as separate operations, as many servers send them.
#[test]
fn head_and_body_apart() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    for _ in 0..5 {
        link.request(b"POST /apart HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000\r\n\r\n");
        link.request(&[b'a'; 1500]);
        link.request(&[b'b'; 500]);
        link.response(b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n");
        link.response(&[b'c'; 2999]);
        link.response(b"d");
    }
    link.close_by_client();
    sensor.expect_both(port, &calls(&[("POST /apart 200", 5)]));
    for role in BOTH {
        let spans = sensor.expect_spans(role, port, 5);
        assert!(spans.iter().all(|span| sizes(span) == ("2000", "3000")), "{role:?}: {spans:#?}");
    }
}

/// A body may contain anything, also what begins like a message in an operation of its own.
#[test]
fn a_body_that_looks_like_messages() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    let request = get("/not-a-request");
    for _ in 0..2 {
        let head =
            format!("POST /log HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", 2 * request.len());
        link.request(head.as_bytes());
        link.request(&request);
        link.request(&request);
        link.response(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 2 * OK.len()).as_bytes());
        link.response(OK);
        link.response(OK);
    }
    link.request(b"POST /log HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    link.request(format!("{:x}\r\n", request.len()).as_bytes());
    link.request(&request);
    link.request(b"\r\n0\r\n\r\n");
    link.response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    link.response(format!("{:x}\r\n", OK.len()).as_bytes());
    link.response(OK);
    link.response(b"\r\n0\r\n\r\n");
    link.request(&get("/after"));
    link.response(OK);
    link.close_by_client();
    sensor.expect_both(port, &calls(&[("POST /log 200", 3), ("GET /after 200", 1)]));
}

#[test]
fn request_targets_of_every_form() {
    let sensor = Sensor::start();
    let mut link = link();
    let port = link.port();
    link.request(b"GET http://shop.example/catalog?page=2 HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    link.response(OK);
    link.request(b"OPTIONS * HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    link.response(OK);
    link.request(b"GET /catalog?page=3#top HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    link.response(OK);
    link.request(b"GET /items/4711 HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    link.response(OK);
    link.request(b"BREW /pot HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    link.response(b"HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n");
    link.close_by_client();
    let expected = ["/catalog", "*", "/catalog", "/items/4711", "/pot"];
    let spans = sensor.expect_spans(Role::Server, port, 5);
    assert_eq!(spans.iter().map(Span::path).collect::<Vec<_>>(), expected);
    assert_eq!(spans[0].attribute("url.query"), "page=2");
    assert_eq!(spans[3].attribute("http.route"), "/items/{id}");
    assert_eq!(spans[4].attribute("http.request.method"), "_OTHER");
    for (span, path) in sensor.expect_spans(Role::Client, port, 5).iter().zip(expected) {
        let url = span.attribute("url.full");
        assert!(path == "*" || url.starts_with(&format!("http://shop.example{path}")), "{url} of {path}");
        assert_eq!(span.attribute("server.address"), "shop.example");
    }
}

#[test]
fn addresses_of_both_families() {
    let sensor = Sensor::start();
    let (four, six) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
    let both = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("bind a port");
    let port = both.local_addr().expect("the bound address").port();
    let mapped = SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), port));
    let links = [
        (Link::open(six), "::1"),
        (Link::open(four), "127.0.0.1"),
        // The server's socket is of IPv6, the client's of IPv4; then both of IPv6 with IPv4 below.
        (Link::connect(&both, SocketAddr::from((four, port))), "127.0.0.1"),
        (Link::connect(&both, mapped), "127.0.0.1"),
    ];
    let mut expected = std::collections::BTreeMap::<u16, u64>::new();
    for (mut link, address) in links {
        let port = link.port();
        // Without a host only the address says who the server is.
        link.request(b"GET /family HTTP/1.0\r\n\r\n");
        link.response(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
        link.close_by_server();
        let count = expected.entry(port).or_default();
        *count += 1;
        sensor.expect_both(port, &calls(&[("GET /family 200", *count)]));
        let (metrics, port) = (sensor.metrics(), port.to_string());
        let labels = [("server_port", port.as_str()), ("server_address", address)];
        assert_eq!(metrics.count("http_client_request_duration_seconds_count", &labels), *count, "{address}");
    }
}

#[test]
fn a_connection_older_than_the_sensor() {
    let mut link = link();
    let port = link.port();
    link.request(&get("/before"));
    link.response(OK);
    let sensor = Sensor::start();
    link.request(&get("/after"));
    link.response(OK);
    link.request(&get("/after"));
    link.response(OK);
    link.close_by_client();
    sensor.expect_both(port, &calls(&[("GET /after 200", 2)]));
}

/// A response whose request nobody saw is not made into an exchange, and the next one is.
#[test]
fn a_request_older_than_the_sensor() {
    let mut link = link();
    let port = link.port();
    link.request(&get("/before"));
    let sensor = Sensor::start();
    link.response(OK);
    link.request(&get("/after"));
    link.response(OK);
    link.close_by_client();
    sensor.expect_both(port, &calls(&[("GET /after 200", 1)]));
}

/// A response in the middle of its body when the sensor starts.
#[test]
fn a_response_older_than_the_sensor() {
    let mut link = link();
    let port = link.port();
    link.request(&get("/before"));
    link.response(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
    let sensor = Sensor::start();
    link.response(b"cd");
    link.request(&get("/after"));
    link.response(OK);
    link.close_by_client();
    sensor.expect_both(port, &calls(&[("GET /after 200", 1)]));
}
