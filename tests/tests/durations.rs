//! Durations are those that the two ends themselves measure.
//!
//! Both look at the monotonic clock around each call that sends or receives. The sensor stamps somewhere between the
//! start of a send and the return from the receive of the same bytes, so a true duration lies between two values,
//! and what the sensor says has to be within 2 ms of them, however long the scheduler kept the test waiting.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use tests::calls::Role;
use tests::link::Link;
use tests::sensor::Sensor;
use tests::spans::Span;

const TOLERANCE: Duration = Duration::from_millis(2);
/// A response's body comes in this many pieces of [`PIECE`].
const PIECES: usize = 10;
const PIECE: &[u8] = b"12345678";

/// The start and the return of a call, or of two calls that move the same bytes.
#[derive(Clone, Copy, Debug)]
struct Moment {
    before: Instant,
    after: Instant,
}

impl Moment {
    fn of<T>(call: impl FnOnce() -> T) -> (Self, T) {
        let before = Instant::now();
        let value = call();
        (Self { before, after: Instant::now() }, value)
    }

    /// When bytes were received that were sent in `send`: a receive begins to wait long before they come.
    fn received(self, send: Self) -> Self {
        Self { before: send.before, after: self.after }
    }
}

/// When one side sent or received what.
#[derive(Clone, Copy, Debug)]
struct Truth {
    start: Moment,
    first_byte: Moment,
    end: Moment,
}

impl Truth {
    #[track_caller]
    fn agrees_with(&self, span: &Span) {
        within("duration", span.duration(), self.start, self.end);
        let first = span.time_to_first_byte().expect("the span knows when the first byte was");
        within("time to first byte", first, self.start, self.first_byte);
    }
}

#[track_caller]
fn within(what: &str, measured: Duration, from: Moment, to: Moment) {
    let least = to.before.saturating_duration_since(from.after).saturating_sub(TOLERANCE);
    let most = to.after.duration_since(from.before) + TOLERANCE;
    assert!((least..=most).contains(&measured), "{what} is {measured:?}, truly {least:?} to {most:?}");
}

/// Waits for `pause` before the first byte, and dribbles the body for as long again.
fn serve(stream: &mut TcpStream, request_len: usize, pause: Duration) -> Truth {
    let mut request = vec![0; request_len];
    let (start, ()) = Moment::of(|| stream.read_exact(&mut request).expect("receive a request"));
    std::thread::sleep(pause);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", PIECES * PIECE.len());
    let (first_byte, ()) = Moment::of(|| stream.write_all(head.as_bytes()).expect("send a head"));
    let mut end = first_byte;
    for _ in 0..PIECES {
        std::thread::sleep(pause / u32::try_from(PIECES).expect("few pieces"));
        (end, ()) = Moment::of(|| stream.write_all(PIECE).expect("send a piece"));
    }
    Truth { start, first_byte, end }
}

/// Asks, and reads the response to its end.
fn ask(stream: &mut TcpStream, request: &[u8]) -> Truth {
    let (start, ()) = Moment::of(|| stream.write_all(request).expect("send a request"));
    let mut buffer = [0; 4096];
    let (first_byte, head) = Moment::of(|| stream.read(&mut buffer).expect("receive a head"));
    // What came with the head, if anything, came with the first byte.
    let end = buffer[..head].windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head") + 4;
    let mut left = PIECES * PIECE.len() - (head - end);
    let mut last = first_byte;
    while left > 0 {
        let (moment, length) = Moment::of(|| stream.read(&mut buffer).expect("receive a piece"));
        assert!(length > 0, "the connection ended early");
        left -= length;
        last = moment;
    }
    Truth { start, first_byte, end: last }
}

/// One exchange on a connection; what the server and the client measured.
fn exchange(link: &mut Link, path: &str, pause: Duration) -> (Truth, Truth) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let Link { client, server } = link;
    let (served, asked) = std::thread::scope(|scope| {
        let serving = scope.spawn(|| serve(server, request.len(), pause));
        let asked = ask(client, request.as_bytes());
        (serving.join().expect("the server's thread"), asked)
    });
    let server = Truth { start: served.start.received(asked.start), ..served };
    let client = Truth {
        start: asked.start,
        first_byte: asked.first_byte.received(served.first_byte),
        end: asked.end.received(served.end),
    };
    (server, client)
}

#[track_caller]
fn both_agree(sensor: &Sensor, port: u16, exchanges: &[(Truth, Truth)]) {
    for (role, of) in [(Role::Server, server as fn(&_) -> _), (Role::Client, client)] {
        let spans = sensor.expect_spans(role, port, exchanges.len());
        for (span, exchange) in spans.iter().zip(exchanges) {
            of(exchange).agrees_with(span);
        }
    }
}

fn server(exchange: &(Truth, Truth)) -> Truth {
    exchange.0
}

fn client(exchange: &(Truth, Truth)) -> Truth {
    exchange.1
}

#[test]
fn a_slow_first_byte_and_a_slow_body() {
    let sensor = Sensor::start();
    for milliseconds in [5, 50, 500] {
        let pause = Duration::from_millis(milliseconds);
        let mut link = Link::open(Ipv4Addr::LOCALHOST.into());
        let port = link.port();
        let exchange = exchange(&mut link, "/slow", pause);
        link.close_by_client();
        both_agree(&sensor, port, &[exchange]);
        histograms_agree(&sensor, port, &exchange.0, pause);
    }
}

/// What the spans say is what the metrics say.
#[track_caller]
fn histograms_agree(sensor: &Sensor, port: u16, server: &Truth, pause: Duration) {
    let metrics = sensor.metrics();
    let port = port.to_string();
    let labels = [("server_port", port.as_str())];
    let sum = |name: &str| Duration::from_secs_f64(metrics.sum(name, &labels));
    within("sum of durations", sum("http_server_request_duration_seconds_sum"), server.start, server.end);
    within(
        "sum of times to first byte",
        sum("http_server_time_to_first_byte_seconds_sum"),
        server.start,
        server.first_byte,
    );
    assert_eq!(metrics.count("http_server_time_to_first_byte_seconds_count", &labels), 1);
    // The bucket below the truth is empty and the last one is not.
    let below = metrics.select("http_server_request_duration_seconds_bucket", &labels).filter(|sample| {
        sample.label("le").parse::<f64>().is_ok_and(|bound| bound < pause.as_secs_f64() * 2.0)
    });
    assert!(below.map(|sample| sample.value).all(|value| value == 0.0), "counted in too low a bucket");
    let all = [("server_port", port.as_str()), ("le", "+Inf")];
    assert_eq!(metrics.count("http_server_request_duration_seconds_bucket", &all), 1);
}

/// Time between requests belongs to none of them.
#[test]
fn an_idle_connection_adds_nothing() {
    let sensor = Sensor::start();
    let mut link = Link::open(Ipv4Addr::LOCALHOST.into());
    let port = link.port();
    // The connection is as old as the pause when its first request comes, too.
    std::thread::sleep(Duration::from_secs(1));
    let first = exchange(&mut link, "/before", Duration::from_millis(5));
    std::thread::sleep(Duration::from_secs(3));
    let second = exchange(&mut link, "/after", Duration::from_millis(5));
    std::thread::sleep(Duration::from_secs(1));
    link.close_by_client();
    both_agree(&sensor, port, &[first, second]);
}

/// The wall-clock times of a span are those at which things happened.
#[test]
fn a_span_is_in_its_place_in_time() {
    let sensor = Sensor::start();
    let mut link = Link::open(Ipv4Addr::LOCALHOST.into());
    let port = link.port();
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let before = now() - TOLERANCE;
    let (_, client) = exchange(&mut link, "/now", Duration::from_millis(5));
    let after = now() + TOLERANCE;
    link.close_by_client();
    assert!(client.end.after > client.start.before);
    for role in [Role::Server, Role::Client] {
        let span = &sensor.expect_spans(role, port, 1)[0];
        assert!(Duration::from_nanos(span.start_ns) >= before, "starts before it did: {span:?}");
        assert!(Duration::from_nanos(span.end_ns) <= after, "ends after it did: {span:?}");
    }
}
