//! Questions to the kernel and their answers.

use super::*;
use crate::protocol::{Event, Progress};

#[test]
fn questions_are_spaced() {
    let mut bench = Bench::server();
    bench.request(0, GET);
    let mut asked = Vec::new();
    for ms in 0..20_000 {
        let mut ask = Vec::new();
        bench.tracker.due(ms * MS, &mut ask);
        asked.extend(ask.iter().map(|_| ms));
    }
    assert_eq!(asked, [50, 150, 350, 750, 1550, 3150, 6350, 11_350, 16_350]);
}

#[test]
fn no_question_when_nothing_is_waited_for() {
    let mut bench = Bench::server();
    let mut ask = Vec::new();
    for ms in 0..1000 {
        bench.request(ms * 10, GET).response(ms * 10 + 5, OK);
        bench.tracker.due(ms * 10 + 6, &mut ask);
    }
    bench.tracker.due(u64::MAX, &mut ask);
    assert_eq!(ask, []);
}

#[test]
fn a_length_delimited_body_ends_on_one_answer() {
    let mut bench = Bench::client();
    bench.request(0, GET).response(5, "HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n");
    bench.response(9, "x".repeat(3000)).poll(60);
    assert_eq!(times(&bench.only()), [0, 0, 5, 9, 9]);
}

#[test]
fn an_answer_ahead_of_the_events_does_no_harm() {
    let mut bench = Bench::server();
    let events: Vec<_> = [(Direction::Receive, get("/1")), (Direction::Send, OK.to_owned())]
        .into_iter()
        .map(|(way, bytes)| bench.kernel.operation(way, bytes.as_bytes(), MS).unwrap())
        .collect();
    let progress = bench.kernel.progress();
    bench.tell(Some(events[0].clone()));
    bench.tracker.on_event(&progress.event(), &mut bench.out);
    bench.tell(Some(events[1].clone()));
    assert_eq!(briefs(&bench.exchanges()), ["GET /1 200 Complete"]);
    assert_eq!(bench.losses(), []);
}

#[test]
fn answers_show_that_a_response_was_lost() {
    let mut bench = Bench::server();
    bench.request(0, GET).drop_next(1).response(5, OK).poll(60).poll(160);
    assert_eq!(bench.losses(), [(Loss::LostResponse, 1)]);
    bench.request(1000, get("/b")).response(1001, OK);
    assert_eq!(briefs(&bench.exchanges()), ["GET /b 200 Complete"]);
}

#[test]
fn answers_about_nothing_are_ignored() {
    let mut bench = Bench::server();
    let connection = Connection { id: 99, key: 99 };
    bench.tracker.on_event(&Event::Progress(Progress { connection, streams: None }), &mut bench.out);
    assert_eq!((bench.exchanges().len(), bench.losses()), (0, vec![]));
}

#[test]
fn an_answer_beyond_the_body_waits_for_the_events() {
    let mut bench = Bench::server();
    bench.request(0, get("/1")).response(5, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    assert!(bench.kernel.operation(Direction::Send, b"hello", 6 * MS).is_none());
    let request = bench.kernel.operation(Direction::Receive, get("/2").as_bytes(), 7 * MS);
    let response = bench.kernel.operation(Direction::Send, answer(404, "").as_bytes(), 8 * MS);
    let progress = bench.kernel.progress();
    bench.tell(Some(progress)).tell(request).tell(response);
    let exchanges = bench.exchanges();
    assert_eq!(briefs(&exchanges), ["GET /1 200 Complete", "GET /2 404 Complete"]);
    assert_eq!(times(&exchanges[0]), [0, 0, 5, 6, 6]);
    assert_eq!(bench.losses(), []);
}
