//! A connection that goes over to HTTP/2 at any time, before or behind any frames: no panic, and no
//! exchange without a start.
#![no_main]

mod frame;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sensor::protocol::{
    Close, Connection, Direction, Endpoints, Event, FrameRecord, Head, Signal, Stream, Task, Tracker,
    TrackerConfig,
};

use frame::frame;

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    /// One of [`MESSAGES`] in the direction that it has.
    Message(u8),
    /// A header block that is a whole request or response.
    Call {
        is_request: bool,
        is_lost: bool,
        is_resync: bool,
        stream: u8,
        ends: bool,
    },
    /// Any frame.
    Frame {
        is_request: bool,
        kind: u8,
        flags: u8,
        stream: u8,
        payload: &'a [u8],
    },
    Expire,
    Close,
}

/// Whether it is a request, and its bytes.
const MESSAGES: [(bool, &str); 6] = [
    (true, "GET /a?b HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\n\r\n"),
    (true, "POST /b HTTP/1.1\r\nContent-Length: 9\r\nUpgrade: h2c\r\n\r\nhello"),
    (false, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"),
    (false, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    (false, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"),
    (true, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
];

const CONNECTION: Connection = Connection { id: 1, key: 8 };
const TASK: Task = Task { tgid: 1, tid: 1, comm: [0; 16] };

fuzz_target!(|input: (bool, Vec<Step<'_>>)| {
    let (is_server, steps) = input;
    let mut tracker = Tracker::new(TrackerConfig::default());
    let mut out = Vec::new();
    let mut streams = [Stream::default(); 2];
    let mut numbers = [0_u32; 2];
    let mut now_ns = 0;
    let local = ([127, 0, 0, 1], 80).into();
    let endpoints = Endpoints { local, remote: local, netns: 1, cookie: None, path: None };
    let way = |is_request| if is_request == is_server { Direction::Receive } else { Direction::Send };
    for step in &steps {
        now_ns += 100_000_000;
        let [received, sent] = streams;
        let mut frames = |direction: Direction, is_lost: bool, is_resync: bool, bytes: &[u8]| {
            let number = &mut numbers[direction as usize];
            let sequence = *number + u32::from(is_lost);
            *number = sequence + 1;
            let record = FrameRecord {
                connection: CONNECTION,
                direction,
                time_ns: now_ns,
                sequence,
                is_resync,
                bytes,
                task: TASK,
                endpoints,
            };
            tracker.on_event(&Event::Frames(record), &mut out);
        };
        match step {
            Step::Message(number) => {
                let (is_request, text) = MESSAGES[usize::from(*number) % MESSAGES.len()];
                let direction = way(is_request);
                let stream = &mut streams[direction as usize];
                stream.bytes += text.len() as u64;
                stream.last_ns = now_ns;
                stream.tail.copy_from_slice(&text.as_bytes()[text.len() - 8..]);
                let head = Head {
                    connection: CONNECTION,
                    direction,
                    continuation: false,
                    time_ns: now_ns,
                    bytes: text.as_bytes(),
                    operation_len: u32::try_from(text.len()).unwrap_or(u32::MAX),
                    received,
                    sent,
                    task: TASK,
                    endpoints,
                };
                tracker.on_event(&Event::Head(head), &mut out);
            }
            Step::Call { is_request, is_lost, is_resync, stream, ends } => {
                let block: &[u8] = if *is_request { &[0x82, 0x86, 0x84] } else { &[0x88] };
                let bytes = frame(1, 4 | u8::from(*ends), *stream, block);
                frames(way(*is_request), *is_lost, *is_resync, &bytes);
            }
            Step::Frame { is_request, kind, flags, stream, payload } => {
                frames(way(*is_request), false, false, &frame(*kind, *flags, *stream, payload));
            }
            Step::Expire => tracker.expire(now_ns, &mut out),
            Step::Close => {
                let close =
                    Close { connection: CONNECTION, time_ns: now_ns, end_of_file: false, received, sent };
                tracker.on_event(&Event::Close(close), &mut out);
                // A number of a connection is never used again.
                break;
            }
        }
    }
    tracker.finish(now_ns, &mut out);
    assert_eq!(tracker.open_connections(), 0);
    for exchange in &out {
        assert!(exchange.end_ns >= exchange.request.first_ns, "{exchange:#?}");
        assert!(exchange.response.is_some() || exchange.status.is_none(), "{exchange:#?}");
    }
    let started: Vec<_> = tracker
        .signals()
        .filter_map(|signal| match signal {
            Signal::Started(started) => Some(started.key),
            _ => None,
        })
        .collect();
    for exchange in &out {
        assert!(started.contains(&exchange.key()), "an exchange without a start: {exchange:#?}");
    }
    assert!(out.len() <= started.len(), "more exchanges than starts");
});
