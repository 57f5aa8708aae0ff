//! Connections as the kernel side would tell them.

use sensor_common::http2::{
    CONTINUATION, DATA, DATA_ENDED, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PRIORITY, PUSH_PROMISE,
    RST_STREAM, captured,
};

use crate::protocol::{
    Close, Connection, Direction, End, Endpoints, Event, Exchange, FrameRecord, Loss, Role, Stream, Task,
    Tracker, TrackerConfig,
};

const MS: u64 = 1_000_000;
/// `:method GET`, `:scheme http`, `:path /`.
const GET: [u8; 3] = [0x82, 0x86, 0x84];
/// `:status 200`.
const OK: [u8; 1] = [0x88];

/// One connection of a server.
struct Bench {
    tracker: Tracker,
    out: Vec<Exchange>,
    numbers: [u32; 2],
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    let mut told = length.to_be_bytes()[1..].to_vec();
    told.extend([kind, flags]);
    told.extend(stream.to_be_bytes());
    if let Some(captured) = captured(kind, flags, length) {
        told.extend(&payload[..captured as usize]);
    }
    told
}

/// The mark behind the last DATA frame of a stream.
fn ended(stream: u32) -> Vec<u8> {
    frame(DATA_ENDED, 0, stream, &[])
}

/// A literal field without indexing.
fn field(name: &str, value: &str) -> Vec<u8> {
    literal(0x00, name, value)
}

fn literal(first: u8, name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![first, u8::try_from(name.len()).unwrap()];
    bytes.extend(name.bytes());
    bytes.push(u8::try_from(value.len()).unwrap());
    bytes.extend(value.bytes());
    bytes
}

fn call(path: &str) -> Vec<u8> {
    [vec![0x83, 0x86], field(":path", path), field("content-type", "application/grpc")].concat()
}

impl Bench {
    fn new() -> Self {
        Self { tracker: Tracker::new(TrackerConfig::default()), out: Vec::new(), numbers: [0; 2] }
    }

    fn record(&mut self, direction: Direction, ms: u64, is_resync: bool, bytes: &[u8]) {
        let sequence = self.numbers[direction as usize];
        self.numbers[direction as usize] += 1;
        let record = FrameRecord {
            connection: Connection { id: 1, key: 1 },
            direction,
            time_ns: ms * MS,
            sequence,
            is_resync,
            bytes,
            task: Task { tgid: 1, tid: 2, comm: [0; 16] },
            endpoints: Endpoints {
                local: "10.0.0.1:80".parse().unwrap(),
                remote: "10.0.0.2:50000".parse().unwrap(),
                netns: 1,
                cookie: None,
                path: None,
            },
        };
        self.tracker.on_event(&Event::Frames(record), &mut self.out);
    }

    fn receive(&mut self, ms: u64, bytes: &[u8]) {
        self.record(Direction::Receive, ms, false, bytes);
    }

    fn send(&mut self, ms: u64, bytes: &[u8]) {
        self.record(Direction::Send, ms, false, bytes);
    }

    fn close(&mut self, ms: u64) {
        let close = Close {
            connection: Connection { id: 1, key: 1 },
            time_ns: ms * MS,
            end_of_file: false,
            received: Stream::default(),
            sent: Stream::default(),
        };
        self.tracker.on_event(&Event::Close(close), &mut self.out);
    }

    fn only(&mut self) -> Exchange {
        assert_eq!(self.out.len(), 1, "{:#?} {:?}", self.out, self.losses());
        self.out.remove(0)
    }

    fn losses(&self) -> Vec<(Loss, u64)> {
        self.tracker.counts().iter().filter(|&(_, count)| count > 0).collect()
    }
}

#[test]
fn a_request_and_its_response() {
    let mut bench = Bench::new();
    let head =
        [&GET[..2], &field(":path", "/a?b=1"), &field(":authority", "shop"), &field("user-agent", "x")]
            .concat();
    bench.receive(10, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &head));
    bench.send(20, &frame(HEADERS, END_HEADERS, 1, &OK));
    bench.send(25, &frame(DATA, 0, 1, &[0; 100]));
    bench.send(30, &frame(DATA, END_STREAM, 1, &[0; 50]));
    assert!(bench.out.is_empty(), "the last frame goes on");
    bench.send(40, &ended(1));
    let exchange = bench.only();
    assert_eq!((exchange.role, exchange.version, &*exchange.method), (Role::Server, "2", "GET"));
    assert_eq!((exchange.path.as_deref(), exchange.query.as_deref()), (Some("/a"), Some("b=1")));
    assert_eq!(
        (exchange.host.as_deref(), exchange.status, exchange.end),
        (Some("shop"), Some(200), End::Complete)
    );
    assert_eq!(exchange.request_headers, [("user-agent", "x".to_owned())]);
    let response = exchange.response.unwrap();
    assert_eq!([exchange.request.first_ns, response.first_ns, exchange.end_ns], [10 * MS, 20 * MS, 40 * MS]);
    assert_eq!((exchange.request.body_bytes, response.body_bytes), (Some(0), Some(150)));
    assert_eq!((exchange.grpc, bench.losses()), (None, vec![]));
}

#[test]
fn streams_are_interleaved_and_frames_split_over_records() {
    let mut bench = Bench::new();
    let mut bytes = Vec::new();
    for stream in (1..200).step_by(2) {
        let head = [&GET[..2], &field(":path", &format!("/{stream}"))].concat();
        let (first, rest) = head.split_at(3);
        bytes.extend(frame(HEADERS, END_STREAM, stream, first));
        bytes.extend(frame(CONTINUATION, END_HEADERS, stream, rest));
    }
    bytes.chunks(7).enumerate().for_each(|(at, part)| bench.receive(10 + at as u64, part));
    for stream in (1..200).rev().step_by(2) {
        bench.send(2000, &frame(HEADERS, END_HEADERS | END_STREAM, stream, &OK));
    }
    assert_eq!(bench.out.len(), 100);
    for exchange in &bench.out {
        assert_eq!(exchange.path.as_deref(), Some(&*format!("/{}", exchange.request_number)));
        assert_eq!(exchange.status, Some(200));
    }
    assert_eq!(bench.losses(), []);
}

#[test]
fn padding_and_priority_are_passed_over() {
    let mut bench = Bench::new();
    let head = [&[3, 0, 0, 0, 0, 200][..], &GET, &[0, 0, 0]].concat();
    bench.receive(10, &frame(HEADERS, END_HEADERS | PADDED | PRIORITY, 1, &head));
    bench.receive(11, &frame(DATA, PADDED, 1, &[4, b'b', b'o', 0, 0, 0, 0]));
    bench.receive(12, &frame(DATA, END_STREAM, 1, &[]));
    bench.send(20, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &OK));
    let exchange = bench.only();
    assert_eq!((exchange.path.as_deref(), exchange.request.body_bytes), (Some("/"), Some(2)));
}

#[test]
fn interim_responses_trailers_and_pushes() {
    let mut bench = Bench::new();
    bench.receive(10, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &GET));
    bench.send(15, &frame(HEADERS, END_HEADERS, 1, &field(":status", "103")));
    // A pushed request adds to the table.
    let pushed = [&[0, 0, 0, 2][..], &GET, &literal(0x40, "x-pushed", "1")].concat();
    bench.send(16, &frame(PUSH_PROMISE, END_HEADERS, 1, &pushed));
    bench.send(17, &frame(HEADERS, END_HEADERS | END_STREAM, 2, &OK));
    bench.send(20, &frame(HEADERS, END_HEADERS, 1, &[0x88, 0xbe]));
    bench.send(30, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &field("checksum", "1")));
    let exchange = bench.only();
    assert_eq!(
        (exchange.status, exchange.response.unwrap().first_ns, exchange.end_ns),
        (Some(200), 20 * MS, 30 * MS)
    );
    assert_eq!(bench.losses(), []);
}

#[test]
fn resets_and_the_connections_end() {
    let mut bench = Bench::new();
    for stream in [1, 3, 5, 7] {
        bench.receive(10, &frame(HEADERS, END_HEADERS | END_STREAM, stream, &GET));
    }
    bench.receive(20, &frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()));
    assert_eq!(bench.only().end, End::Reset(8));
    bench.send(30, &frame(GOAWAY, 0, 0, &[0, 0, 0, 5, 0, 0, 0, 0]));
    let refused = bench.only();
    assert_eq!((refused.request_number, refused.end), (7, End::Reset(7)));
    bench.send(40, &frame(HEADERS, END_HEADERS, 3, &OK));
    bench.close(50);
    bench.out.sort_by_key(|exchange| exchange.request_number);
    let ends: Vec<_> =
        bench.out.iter().map(|exchange| (exchange.end, exchange.status, exchange.end_ns / MS)).collect();
    assert_eq!(ends, [(End::ResponseCut, Some(200), 40), (End::NoResponse, None, 50)]);
}

#[test]
fn a_grpc_call() {
    let mut bench = Bench::new();
    bench.receive(10, &frame(HEADERS, END_HEADERS, 1, &call("/shop.Cart/Add")));
    bench.receive(11, &[frame(DATA, END_STREAM, 1, &[0, 0, 0, 0, 1, 9]), ended(1)].concat());
    bench.send(20, &frame(HEADERS, END_HEADERS, 1, &OK));
    bench.send(25, &frame(DATA, 0, 1, &[0, 0, 0, 0, 2, 9, 9]));
    bench.send(26, &frame(DATA, 0, 1, &[0, 0, 0, 0, 0]));
    bench.send(30, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &field("grpc-status", "5")));
    let exchange = bench.only();
    let grpc = exchange.grpc.unwrap();
    assert_eq!((grpc.status, grpc.first_message_ns), (Some(5), Some(25 * MS)));
    assert_eq!((grpc.request_messages, grpc.response_messages), (Some(1), Some(2)));
    assert_eq!((exchange.path.as_deref(), exchange.end_ns), (Some("/shop.Cart/Add"), 30 * MS));
    // Trailers only.
    bench.receive(40, &frame(HEADERS, END_HEADERS | END_STREAM, 3, &call("/shop.Cart/Add")));
    let trailers = [OK.to_vec(), field("grpc-status", "12")].concat();
    bench.send(50, &frame(HEADERS, END_HEADERS | END_STREAM, 3, &trailers));
    assert_eq!(bench.only().grpc.unwrap().status, Some(12));
}

#[test]
fn who_joins_in_the_middle_knows_less_and_nothing_wrong() {
    let mut bench = Bench::new();
    bench.record(Direction::Send, 5, true, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &OK));
    // Path and authority are in the table that is not known.
    bench.record(
        Direction::Receive,
        10,
        true,
        &frame(HEADERS, END_HEADERS | END_STREAM, 3, &[0x83, 0x86, 0xbf, 0xbe]),
    );
    // A path that is added is known from then on.
    let added = [vec![0x83, 0x86], literal(0x40, ":path", "/b")].concat();
    bench.receive(11, &frame(HEADERS, END_HEADERS | END_STREAM, 5, &added));
    bench.receive(12, &frame(HEADERS, END_HEADERS | END_STREAM, 7, &[0x83, 0x86, 0xbe]));
    let trailers = [OK.to_vec(), field("grpc-status", "0")].concat();
    for stream in [3, 5, 7] {
        bench.send(20, &frame(HEADERS, END_HEADERS | END_STREAM, stream, &trailers));
    }
    let paths: Vec<_> =
        bench.out.iter().map(|exchange| (&*exchange.method, exchange.path.as_deref())).collect();
    assert_eq!(paths, [("POST", None), ("POST", Some("/b")), ("POST", Some("/b"))]);
    assert!(bench.out.iter().all(|exchange| exchange.grpc.unwrap().status == Some(0)));
    assert_eq!(bench.losses(), [(Loss::UnmatchedResponse, 1), (Loss::UnknownName, 1)]);
}

/// A client whose send is told when it returns, and by then another thread has received the response.
#[test]
fn a_response_may_be_told_before_its_request() {
    let mut bench = Bench::new();
    bench.send(1, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &GET));
    bench.receive(2, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &OK));
    assert_eq!(bench.only().role, Role::Client);
    bench.receive(20, &frame(HEADERS, END_HEADERS, 3, &OK));
    bench.receive(21, &[frame(DATA, END_STREAM, 3, &[0; 9]), ended(3)].concat());
    bench.receive(21, &frame(HEADERS, END_HEADERS, 5, &OK));
    assert!(bench.out.is_empty());
    bench.send(22, &frame(HEADERS, END_HEADERS | END_STREAM, 3, &GET));
    let exchange = bench.only();
    assert_eq!((exchange.status, exchange.end, exchange.end_ns), (Some(200), End::Complete, 21 * MS));
    assert_eq!((exchange.request.first_ns, exchange.response.unwrap().body_bytes), (20 * MS, Some(9)));
    bench.send(22, &frame(HEADERS, END_HEADERS | END_STREAM, 5, &GET));
    bench.receive(23, &frame(DATA, END_STREAM, 5, &[]));
    assert_eq!(bench.only().end_ns, 23 * MS);
    assert_eq!(bench.losses(), []);
    // One whose request does not come.
    bench.receive(30, &frame(HEADERS, END_HEADERS | END_STREAM, 7, &OK));
    bench.tracker.expire(40 * MS, &mut bench.out);
    assert_eq!(bench.losses(), []);
    bench.tracker.expire(1030 * MS, &mut bench.out);
    assert_eq!(bench.losses(), [(Loss::UnmatchedResponse, 1)]);
    bench.close(2000);
    assert!(bench.out.is_empty());
}

/// The server has answered already when it learns that nobody waits any more.
#[test]
fn a_response_after_its_request_was_cancelled() {
    let mut bench = Bench::new();
    for stream in [1, 3] {
        bench.receive(10, &frame(HEADERS, END_HEADERS | END_STREAM, stream, &GET));
        bench.receive(20, &frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        assert_eq!(bench.only().end, End::Reset(8));
        bench.send(21, &frame(HEADERS, END_HEADERS | END_STREAM, stream, &OK));
    }
    assert!(bench.out.is_empty());
    assert_eq!(bench.losses(), []);
    // One of which nothing was known is lost as ever.
    bench.send(22, &frame(HEADERS, END_HEADERS | END_STREAM, 5, &OK));
    assert_eq!(bench.losses(), [(Loss::UnmatchedResponse, 1)]);
}

#[test]
fn a_gap_forgets_the_table_and_casts_doubt() {
    let mut bench = Bench::new();
    let added = [vec![0x82, 0x86], literal(0x40, ":path", "/a")].concat();
    bench.receive(10, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &added));
    bench.receive(11, &frame(HEADERS, END_HEADERS | END_STREAM, 3, &added));
    bench.numbers[0] += 1;
    bench.receive(12, &frame(HEADERS, END_HEADERS | END_STREAM, 5, &[0x82, 0x86, 0xbe]));
    bench.send(20, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &OK));
    bench.send(20, &frame(HEADERS, END_HEADERS | END_STREAM, 5, &OK));
    bench.close(30);
    let paths: Vec<_> =
        bench.out.iter().map(|exchange| (exchange.path.as_deref(), exchange.status)).collect();
    assert_eq!(paths, [(Some("/a"), Some(200)), (None, Some(200))]);
    assert_eq!(bench.out[0].request.body_bytes, None);
    assert_eq!(bench.losses(), [(Loss::Desynchronized, 1), (Loss::MissedFrames, 1), (Loss::UnknownName, 1)]);
}

#[test]
fn what_waits_too_long_is_given_up() {
    let mut bench = Bench::new();
    bench.receive(10, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &GET));
    let timeout = u64::try_from(TrackerConfig::default().pair_timeout.as_nanos()).unwrap();
    bench.tracker.expire(9 * MS + timeout, &mut bench.out);
    assert_eq!(bench.losses(), []);
    bench.tracker.expire(10 * MS + timeout, &mut bench.out);
    assert_eq!(bench.losses(), [(Loss::PairTimeout, 1)]);
    bench.receive(11, &frame(HEADERS, END_HEADERS | END_STREAM, 3, &GET));
    bench.tracker.finish(12 * MS, &mut bench.out);
    assert_eq!(bench.losses(), [(Loss::PairTimeout, 1), (Loss::Shutdown, 1)]);
    assert!(bench.out.is_empty());
}

#[test]
fn streams_are_bounded() {
    let mut bench = Bench::new();
    for stream in 0..3000 {
        bench.receive(10, &frame(HEADERS, END_HEADERS, 2 * stream + 1, &GET));
    }
    assert_eq!(bench.losses(), [(Loss::PipelineOverflow, 3000 - 2048)]);
}

#[test]
fn what_is_no_method_or_status_is_not_known() {
    let mut bench = Bench::new();
    let head = [field(":method", ""), vec![0x86, 0x84]].concat();
    bench.receive(10, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &head));
    bench.send(20, &frame(HEADERS, END_HEADERS | END_STREAM, 1, &field(":status", "65535")));
    let exchange = bench.only();
    assert_eq!((&*exchange.method, exchange.status), ("*", None));
    assert_eq!(bench.losses(), [(Loss::UnknownName, 1)]);
}
