//! Any events, possible or not: no panic, bounded state, and no exchange that contradicts itself.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sensor::protocol::{
    Close, Connection, Direction, End, Endpoints, Event, Exchange, Head, Progress, Stream, Task, Tracker,
    TrackerConfig,
};

/// One step. Offsets are what a kernel would tell, plus what the step adds to them: usually nothing.
#[derive(Arbitrary, Debug)]
struct Step<'a> {
    connection: u8,
    is_send: bool,
    is_continuation: bool,
    is_lost: bool,
    wait_ms: u16,
    unseen: u16,
    received_more: i8,
    sent_more: i8,
    what: What<'a>,
}

#[derive(Arbitrary, Debug)]
enum What<'a> {
    Bytes(&'a [u8]),
    Message { template: u8, length: u16 },
    Close { end_of_file: bool },
    Poll,
    Gone,
    Expire,
}

const MESSAGES: [&str; 16] = [
    "GET /a HTTP/1.1\r\nHost: x\r\n\r\n",
    "POST /b?c HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
    "POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "HEAD /h HTTP/1.0\r\n\r\n",
    "CONNECT a:1 HTTP/1.1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 204 X\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.0 200 OK\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "HTTP/1.1 408 X\r\nContent-Length: 0\r\n\r\n",
    "0\r\n\r\n",
    "GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HT",
    "HTTP/1.1 200 A\r\nContent-Length: 0\r\n\r\nHTTP/1.1 404 B\r\nContent-Length: 9\r\n\r\n",
];

const CONFIG: TrackerConfig = TrackerConfig {
    max_connections: 6,
    max_idle_connections: 3,
    max_pending_per_connection: 4,
    pair_timeout: Duration::from_secs(60),
    head_limit: 64,
    has_signals: true,
};

#[derive(Clone, Copy, Default)]
struct State {
    received: Stream,
    sent: Stream,
}

fuzz_target!(|steps: Vec<Step<'_>>| {
    let mut tracker = Tracker::new(CONFIG);
    let mut states = [State::default(); 8];
    let mut out = Vec::new();
    let mut now_ns = 0;
    for step in &steps {
        now_ns += u64::from(step.wait_ms) * 1_000_000;
        play(&mut tracker, &mut states, step, now_ns, &mut out);
        assert!(tracker.open_connections() <= CONFIG.max_connections);
        out.drain(..).for_each(|exchange| check(&exchange));
    }
    tracker.finish(now_ns, &mut out);
    out.iter().for_each(check);
    assert_eq!(tracker.open_connections(), 0);
});

fn play(
    tracker: &mut Tracker,
    states: &mut [State; 8],
    step: &Step<'_>,
    now_ns: u64,
    out: &mut Vec<Exchange>,
) {
    let id = step.connection % 8;
    let connection = Connection { id: id.into(), key: id.into() };
    let state = &mut states[usize::from(id)];
    let shifted = |stream: Stream, more: i8| {
        // Large shifts only: small ones would keep the fuzzer from plain sequences.
        let more = if more.unsigned_abs() > 100 { i64::from(more) } else { 0 };
        Stream { bytes: stream.bytes.saturating_add_signed(more), ..stream }
    };
    let received = shifted(state.received, step.received_more);
    let sent = shifted(state.sent, step.sent_more);
    let bytes = match &step.what {
        What::Bytes(bytes) => *bytes,
        What::Message { template, length } => {
            let message = MESSAGES[usize::from(*template) % MESSAGES.len()].as_bytes();
            &message[..message.len().min(usize::from(*length).max(1))]
        }
        What::Close { end_of_file } => {
            let close = Close { connection, time_ns: now_ns, end_of_file: *end_of_file, received, sent };
            tracker.on_event(&Event::Close(close), out);
            return;
        }
        What::Poll => {
            let mut ask = Vec::new();
            tracker.due(now_ns, &mut ask);
            for connection in ask {
                let state = states[usize::try_from(connection.id).unwrap_or(0) % 8];
                let streams = Some((state.received, state.sent));
                tracker.on_event(&Event::Progress(Progress { connection, streams }), out);
            }
            return;
        }
        What::Gone => {
            tracker.on_event(&Event::Progress(Progress { connection, streams: None }), out);
            return;
        }
        What::Expire => {
            tracker.expire(now_ns, out);
            return;
        }
    };
    let length = bytes.len() as u64 + u64::from(step.unseen % 512);
    let stream = if step.is_send { &mut state.sent } else { &mut state.received };
    stream.bytes += length;
    stream.last_ns = now_ns;
    stream.tail = [0; 8];
    if step.unseen.is_multiple_of(512) {
        let known = bytes.len().min(8);
        stream.tail[8 - known..].copy_from_slice(&bytes[bytes.len() - known..]);
    }
    if step.is_lost {
        return;
    }
    let local = ([127, 0, 0, 1], 80).into();
    tracker.on_event(
        &Event::Head(Head {
            connection,
            direction: if step.is_send { Direction::Send } else { Direction::Receive },
            continuation: step.is_continuation,
            time_ns: now_ns,
            bytes,
            operation_len: u32::try_from(length).unwrap_or(u32::MAX),
            received,
            sent,
            task: Task { tgid: 1, tid: 1, comm: [0; 16] },
            endpoints: Endpoints { local, remote: local, netns: 1, cookie: None, path: None },
        }),
        out,
    );
}

fn check(exchange: &Exchange) {
    assert!(!exchange.method.is_empty());
    assert_eq!(exchange.status.is_none(), exchange.end == End::NoResponse);
    assert_eq!(exchange.response.is_none(), exchange.end == End::NoResponse);
    assert!(exchange.status.is_none_or(|status| (101..=999).contains(&status)));
    assert!(exchange.request.first_ns <= exchange.request.last_ns || exchange.request.last_ns == 0);
    if let Some(response) = exchange.response {
        assert!(response.first_ns <= response.last_ns);
        assert_eq!(exchange.end_ns, response.last_ns);
    }
}
