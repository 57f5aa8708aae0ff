//! Lost events, connections older than the sensor, and events out of order.

use super::*;

#[test]
fn a_connection_that_is_open_already() {
    for role in [Role::Server, Role::Client] {
        let mut bench = Bench::new(role);
        bench.response(0, OK).request(10, GET).response(11, OK);
        assert_eq!(briefs(&bench.exchanges()), ["GET /a 200 Complete"]);
        assert_eq!(bench.losses(), [(Loss::UnmatchedResponse, 1)]);
    }
}

#[test]
fn a_connection_that_is_open_already_in_the_middle_of_a_body() {
    let mut bench = Bench::server();
    bench.response(0, "x".repeat(2000)).response(1, "x".repeat(2000)).request(10, GET).response(11, OK);
    assert_eq!(briefs(&bench.exchanges()), ["GET /a 200 Complete"]);
    assert_eq!(bench.losses(), []);
}

#[test]
fn a_lost_request() {
    for role in [Role::Server, Role::Client] {
        let mut bench = Bench::new(role);
        bench.request(0, get("/1")).response(1, OK);
        bench.drop_next(1).request(10, get("/2")).response(11, answer(404, ""));
        bench.request(20, get("/3")).response(21, answer(503, "")).close(30);
        assert_eq!(briefs(&bench.exchanges()), ["GET /1 200 Complete", "GET /3 503 Complete"]);
        assert_eq!(bench.losses(), [(Loss::UnmatchedResponse, 1)]);
    }
}

#[test]
fn a_lost_response() {
    for role in [Role::Server, Role::Client] {
        let mut bench = Bench::new(role);
        bench.request(0, get("/1")).drop_next(1).response(1, OK);
        bench.request(10, get("/2")).response(11, answer(404, "")).close(30);
        assert_eq!(briefs(&bench.exchanges()), ["GET /2 404 Complete"]);
        assert_eq!(bench.losses(), [(Loss::LostResponse, 1)]);
    }
}

#[test]
fn a_lost_response_and_a_lost_request() {
    let mut bench = Bench::server();
    bench.request(0, get("/1")).drop_next(2).response(1, OK).request(10, get("/2"));
    bench.response(11, answer(404, "")).request(20, get("/3")).response(21, answer(503, ""));
    assert_eq!(briefs(&bench.exchanges()), ["GET /3 503 Complete"]);
    assert_eq!(bench.losses(), [(Loss::UnmatchedResponse, 1), (Loss::LostResponse, 1)]);
}

#[test]
fn a_lost_exchange() {
    let mut bench = Bench::server();
    bench.request(0, get("/1")).response(1, OK).drop_next(2).request(10, get("/2")).response(11, OK);
    bench.request(20, get("/3")).response(21, answer(503, ""));
    assert_eq!(briefs(&bench.exchanges()), ["GET /1 200 Complete", "GET /3 503 Complete"]);
    assert_eq!(bench.losses(), []);
}

#[test]
fn a_lost_request_that_another_one_overtakes() {
    let mut bench = Bench::server();
    bench.request(0, get("/1")).response(1, OK);
    bench.drop_next(1).request(10, get("/2")).request(11, get("/3"));
    bench.response(12, answer(404, "")).response(13, answer(503, "")).close(20);
    assert_eq!(briefs(&bench.exchanges()), ["GET /1 200 Complete"]);
    assert_eq!(bench.losses(), [(Loss::UnmatchedResponse, 2), (Loss::Desynchronized, 1)]);
}

#[test]
fn a_lost_response_in_a_pipeline() {
    let mut bench = Bench::server();
    bench.request(0, format!("{}{}{}", get("/1"), get("/2"), get("/3")));
    bench.response(1, answer(201, "")).drop_next(1).response(2, answer(202, "")).response(3, answer(203, ""));
    bench.request(10, get("/4")).response(11, answer(204, ""));
    assert_eq!(briefs(&bench.exchanges()), ["GET /1 201 Complete"]);
    assert_eq!(bench.tracker.counts().get(Loss::LostResponse), 1);
    assert_eq!(bench.tracker.counts().get(Loss::Desynchronized), 2);
}

#[test]
fn the_rest_of_a_split_head_is_no_request() {
    // "G" is lost, and "ET /…" must not become a method.
    let mut bench = Bench::server();
    bench.request(0, get("/1")).response(1, OK).drop_next(1).request(10, "G").request(11, &GET[1..]);
    bench.response(12, OK).request(20, get("/3")).response(21, OK);
    assert_eq!(briefs(&bench.exchanges()), ["GET /1 200 Complete", "GET /3 200 Complete"]);
    assert_eq!(bench.losses(), [(Loss::CutStartLine, 1)]);
}

#[test]
fn a_lost_part_of_a_head() {
    let mut bench = Bench::server();
    bench.request(0, "GET /x HTTP/1.1\r\nHos").drop_next(1).request(1, "t: x\r\n\r\n").response(2, OK);
    let exchange = bench.only();
    assert_eq!(brief(&exchange), ("GET", Some("/x"), Some(200), End::Complete));
    assert_eq!((exchange.host.as_deref(), bench.losses()), (None, vec![(Loss::TruncatedHead, 1)]));

    bench.request(10, "GET /x").drop_next(1).request(11, "y HTTP/1.1\r\n\r\n").response(12, OK);
    assert_eq!(brief(&bench.only()), ("GET", None, Some(200), End::Complete));
    bench.request(20, get("/b")).response(21, OK);
    assert_eq!(briefs(&bench.exchanges()), ["GET /b 200 Complete"]);
}

#[test]
fn a_send_that_is_told_after_its_response() {
    // The thread that sends is interrupted; another one receives the response first.
    let mut bench = Bench::client();
    bench.request(0, get("/1")).response(1, OK);
    bench.only();
    let late = bench.kernel.operation(Direction::Send, get("/2").as_bytes(), 12 * MS);
    // What the kernel has counted when the response is told does not include the request yet.
    let Some(Recorded::Head { mut head, bytes }) =
        bench.kernel.operation(Direction::Receive, answer(404, "").as_bytes(), 11 * MS)
    else {
        panic!("a head")
    };
    let Some(Recorded::Head { head: mut request, bytes: request_bytes }) = late else { panic!("a head") };
    head.sent = request.sent;
    request.received.bytes = head.received.bytes + u64::from(head.operation_len);
    bench.tell(Some(Recorded::Head { head, bytes }));
    assert!(bench.exchanges().is_empty());
    bench.tell(Some(Recorded::Head { head: request, bytes: request_bytes }));
    let exchange = bench.only();
    assert_eq!(brief(&exchange), ("GET", Some("/2"), Some(404), End::Complete));
    assert_eq!(times(&exchange)[0], 11);
    bench.request(20, get("/3")).response(21, OK);
    assert_eq!(briefs(&bench.exchanges()), ["GET /3 200 Complete"]);
    assert_eq!(bench.losses(), []);
}

#[test]
fn a_timeout_response_to_an_idle_connection_is_no_response() {
    let mut bench = Bench::client();
    bench
        .request(0, get("/1"))
        .response(1, OK)
        .response(5000, answer(408, ""))
        .request(5001, get("/2"))
        .close(5002);
    assert_eq!(briefs(&bench.exchanges()), ["GET /1 200 Complete"]);
    // Whether 408 came before the request or was its response is not known.
    assert_eq!(bench.losses(), [(Loss::UnmatchedResponse, 1), (Loss::Desynchronized, 1)]);
}
