//! Connections that go over to HTTP/2 behind a 101.

use sensor_common::http2::{DATA_ENDED, END_HEADERS, END_STREAM, HEADERS};

use super::{Bench, GET, MS, brief, briefs};
use crate::protocol::{Connection, Direction, End, Endpoints, Event, FrameRecord, Loss, Role, Signal, Task};

const ASK: &str = "GET /first?a=1 HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAMAAABk\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
/// `:status 200`, and `:method GET`, `:scheme http`, `:path /`.
const STATUS_OK: u8 = 0x88;
const GET_ROOT: [u8; 3] = [0x82, 0x86, 0x84];

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, stream];
    frame.extend(payload);
    frame
}

impl Bench {
    fn frames(&mut self, is_request: bool, ms: u64, sequence: u32, bytes: &[u8]) -> &mut Self {
        let is_receive = is_request == (self.role == Role::Server);
        let local = "10.0.0.1:80".parse().unwrap();
        let record = FrameRecord {
            connection: Connection { id: 1, key: 1 },
            direction: if is_receive { Direction::Receive } else { Direction::Send },
            time_ns: ms * MS,
            sequence,
            is_resync: false,
            bytes,
            task: Task { tgid: 1, tid: 1, comm: [0; 16] },
            endpoints: Endpoints { local, remote: local, netns: 1, cookie: None, path: None },
        };
        self.tracker.on_event(&Event::Frames(record), &mut self.out);
        self
    }

    fn signals(&mut self) -> Vec<String> {
        let signals = self.tracker.signals().map(|signal| match signal {
            Signal::Started(started) => format!("start {}", started.key.request),
            Signal::Answered { key, .. } => format!("answer {}", key.request),
            Signal::Ended { key, is_told, .. } => format!("end {} {is_told}", key.request),
        });
        signals.collect()
    }
}

#[test]
fn the_first_response_is_that_of_stream_1() {
    for role in [Role::Server, Role::Client] {
        let mut bench = Bench::new(role);
        bench.request(1, ASK).response(2, SWITCH);
        assert!(bench.exchanges().is_empty());
        bench.frames(false, 3, 0, &frame(HEADERS, END_HEADERS, 1, &[STATUS_OK]));
        bench.frames(false, 4, 1, &frame(DATA_ENDED, 0, 1, &[]));
        let exchange = bench.only();
        assert_eq!(brief(&exchange), ("GET", Some("/first"), Some(200), End::Complete));
        assert_eq!((exchange.version, exchange.query.as_deref()), ("2", Some("a=1")));
        assert_eq!(exchange.host.as_deref(), Some("shop"));
        assert_eq!((exchange.request.first_ns, exchange.end_ns), (MS, 4 * MS));
        assert_eq!((exchange.request.body_bytes, exchange.response.unwrap().body_bytes), (Some(0), Some(0)));
        bench.frames(true, 5, 0, &frame(HEADERS, END_HEADERS | END_STREAM, 3, &GET_ROOT));
        bench.frames(false, 6, 2, &frame(HEADERS, END_HEADERS | END_STREAM, 3, &[STATUS_OK]));
        assert_eq!(briefs(&bench.exchanges()), ["GET / 200 Complete"]);
        let told = ["start 1", "answer 1", "end 1 true", "start 3", "answer 3", "end 3 true"];
        assert_eq!(bench.signals(), told);
        bench.close(9);
        assert_eq!((bench.losses(), bench.tracker.open_connections()), (vec![], 0));
    }
}

/// Requests of HTTP/1 before it have numbers of their own.
#[test]
fn a_later_request_can_go_over() {
    let mut bench = Bench::server();
    bench.request(1, GET).response(2, super::OK).request(3, ASK).response(4, SWITCH);
    bench.frames(false, 5, 0, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &[STATUS_OK]));
    bench.frames(true, 6, 0, &frame(HEADERS, END_HEADERS | END_STREAM, 3, &GET_ROOT));
    bench.frames(false, 7, 1, &frame(HEADERS, END_HEADERS | END_STREAM, 3, &[STATUS_OK]));
    assert_eq!(
        briefs(&bench.exchanges()),
        ["GET /a 200 Complete", "GET /first 200 Complete", "GET / 200 Complete"]
    );
    let numbers: Vec<String> = bench.signals().into_iter().filter(|told| told.starts_with("start")).collect();
    assert_eq!(numbers, ["start 1", "start 2", "start 4"]);
}

/// Where it is not known that all frames are told, a response that did not come is not said to be missing.
#[test]
fn a_connection_whose_frames_are_not_told_is_counted() {
    let mut bench = Bench::server();
    bench.request(1, ASK).response(2, SWITCH).close(9);
    assert!(bench.exchanges().is_empty());
    assert_eq!(bench.losses(), [(Loss::Desynchronized, 1)]);

    let mut bench = Bench::server();
    bench.request(1, ASK).response(2, SWITCH);
    bench.frames(false, 3, 0, &frame(HEADERS, END_HEADERS, 1, &[STATUS_OK])).close(9);
    assert_eq!(briefs(&bench.exchanges()), ["GET /first 200 ResponseCut"]);

    let mut bench = Bench::server();
    bench.request(1, ASK).response(2, SWITCH);
    bench.frames(false, 3, 1, &frame(HEADERS, END_HEADERS, 1, &[STATUS_OK])).close(9);
    assert_eq!(bench.losses(), [(Loss::Desynchronized, 1)]);
}

#[test]
fn a_server_that_does_not_take_it_up_answers() {
    let mut bench = Bench::server();
    bench.request(1, ASK).response(2, super::OK);
    assert_eq!(briefs(&bench.exchanges()), ["GET /first 200 Complete"]);
}
