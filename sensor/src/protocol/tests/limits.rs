//! Bounds.

use super::*;
use crate::protocol::{Event, Head, Stream};

/// An operation on a connection of its own.
fn tell(
    tracker: &mut Tracker,
    out: &mut Vec<Exchange>,
    id: u64,
    way: Direction,
    bytes: &str,
    before: [u64; 2],
) {
    let stream = |bytes| Stream { bytes, last_ns: 0, tail: [0; 8] };
    let head = Head {
        connection: Connection { id, key: id },
        direction: way,
        continuation: false,
        time_ns: id,
        bytes: bytes.as_bytes(),
        operation_len: u32::try_from(bytes.len()).unwrap(),
        received: stream(before[0]),
        sent: stream(before[1]),
        task: kernel::TASK,
        endpoints: kernel::endpoints(),
    };
    tracker.on_event(&Event::Head(head), out);
}

#[test]
fn idle_connections_are_bounded_without_loss() {
    let mut tracker = Tracker::new(TrackerConfig { max_idle_connections: 100, ..config() });
    let mut out = Vec::new();
    for id in 0..10_000 {
        tell(&mut tracker, &mut out, id, Direction::Receive, GET, [0, 0]);
        tell(&mut tracker, &mut out, id, Direction::Send, OK, [GET.len() as u64, 0]);
    }
    assert_eq!((out.len(), tracker.open_connections(), tracker.counts().lost_requests()), (10_000, 100, 0));
}

#[test]
fn the_oldest_waiting_connection_is_evicted_and_counted() {
    let mut tracker = Tracker::new(TrackerConfig { max_connections: 10, ..config() });
    let mut out = Vec::new();
    for id in 0..25 {
        tell(&mut tracker, &mut out, id, Direction::Receive, GET, [0, 0]);
    }
    assert_eq!(tracker.open_connections(), 10);
    assert_eq!(tracker.counts().get(Loss::EvictedConnection), 15);
    tell(&mut tracker, &mut out, 20, Direction::Send, OK, [GET.len() as u64, 0]);
    tell(&mut tracker, &mut out, 3, Direction::Send, OK, [GET.len() as u64, 0]);
    assert_eq!(briefs(&out), ["GET /a 200 Complete"]);
    assert_eq!(tracker.counts().get(Loss::UnmatchedResponse), 1);
    tracker.finish(99, &mut out);
    assert_eq!((out.len() as u64 + tracker.counts().lost_requests(), tracker.open_connections()), (25, 0));
}

#[test]
fn upgraded_connections_are_bounded_and_counted() {
    let mut tracker = Tracker::new(TrackerConfig { max_connections: 10, ..config() });
    let mut out = Vec::new();
    for id in 0..25 {
        tell(&mut tracker, &mut out, id, Direction::Receive, GET, [0, 0]);
        tell(&mut tracker, &mut out, id, Direction::Send, "HTTP/1.1 101 X\r\n\r\n", [GET.len() as u64, 0]);
    }
    assert_eq!((out.len(), tracker.open_connections()), (25, 10));
    assert_eq!(tracker.counts().get(Loss::ForgottenConnection), 15);
    assert_eq!(tracker.counts().lost_requests(), 0);
}

#[test]
fn a_pipeline_deeper_than_the_limit() {
    let mut bench = Bench::with(Role::Server, TrackerConfig { max_pending_per_connection: 3, ..config() });
    for number in 1..=5 {
        bench.request(number, get(&format!("/{number}")));
    }
    for number in 1..=5 {
        bench.response(10 + number, answer(200 + u16::try_from(number).unwrap(), ""));
    }
    let ends = ["GET /1 201 Complete", "GET /2 202 Complete", "GET /3 203 Complete"];
    assert_eq!(briefs(&bench.exchanges()), ends);
    assert_eq!(bench.tracker.counts().get(Loss::PipelineOverflow), 1);
    assert_eq!(bench.tracker.counts().lost_requests(), 2);
}

#[test]
fn a_request_without_answer_times_out() {
    let mut bench = Bench::with(Role::Server, config());
    bench.request(0, GET);
    bench.tracker.expire(59_999 * MS, &mut bench.out);
    assert_eq!(bench.losses(), []);
    bench.tracker.expire(60_000 * MS, &mut bench.out);
    assert_eq!(bench.losses(), [(Loss::PairTimeout, 1)]);
    bench.response(70_000, OK).request(80_000, get("/b")).response(80_001, OK);
    assert_eq!(briefs(&bench.exchanges()), ["GET /b 200 Complete"]);
}

#[test]
fn a_body_that_moves_does_not_time_out() {
    let mut bench = Bench::with(Role::Server, config());
    bench.request(0, GET).response(1, "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n");
    for second in 1..=100 {
        let ms = second * 30_000;
        bench.bulk(Direction::Send, ms, 100).poll(ms);
        bench.tracker.expire(ms * MS, &mut bench.out);
    }
    assert_eq!(briefs(&bench.exchanges()), ["GET /a 200 Complete"]);
    assert_eq!(bench.losses(), []);
}

#[test]
fn shutting_down_counts_what_waits() {
    let mut bench = Bench::server();
    bench.request(0, get("/1")).request(1, get("/2")).request(2, "GET /3 HTTP/1.1\r\nHost");
    bench.tracker.finish(9, &mut bench.out);
    assert_eq!((bench.exchanges().len(), bench.losses()), (0, vec![(Loss::Shutdown, 3)]));
}

#[test]
fn shutting_down_tells_what_is_complete() {
    let mut bench = Bench::server();
    let chunk = format!("800\r\n{}\r\n", "x".repeat(2048));
    let response = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n");
    bench.request(0, GET).response(1, response).poll(60);
    bench.tracker.finish(70, &mut bench.out);
    assert_eq!(briefs(&bench.exchanges()), ["GET /a 200 Complete"]);
}

#[test]
fn names_are_unique() {
    let names: std::collections::HashSet<_> = Loss::ALL.iter().map(|loss| loss.name()).collect();
    assert_eq!(names.len(), Loss::ALL.len());
    assert!(Loss::ALL.iter().enumerate().all(|(index, &loss)| loss as usize == index));
}
