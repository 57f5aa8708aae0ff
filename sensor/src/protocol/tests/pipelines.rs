//! Requests that do not wait for the response before.

use super::*;

#[test]
fn requests_and_responses_in_one_operation_each() {
    for role in [Role::Server, Role::Client] {
        let mut bench = Bench::new(role);
        bench.request(0, format!("{}{}{}", get("/1"), get("/2"), get("/3")));
        bench.response(5, format!("{}{}{}", answer(201, "a"), answer(202, "bc"), answer(203, "")));
        let exchanges = bench.exchanges();
        assert_eq!(briefs(&exchanges), ["GET /1 201 Complete", "GET /2 202 Complete", "GET /3 203 Complete"]);
        assert!(exchanges.iter().all(|exchange| times(exchange) == [0, 0, 5, 5, 5]));
        assert_eq!(bench.losses(), []);
    }
}

#[test]
fn requests_that_overtake_each_response() {
    let mut bench = Bench::server();
    bench.request(0, get("/1")).request(1, get("/2"));
    for number in 1..20 {
        bench.response(number * 10, answer(400 + u16::try_from(number).unwrap(), "body"));
        bench.request(number * 10 + 1, get(&format!("/{}", number + 2)));
    }
    let exchanges = bench.exchanges();
    assert_eq!(exchanges.len(), 19);
    for (index, exchange) in exchanges.iter().enumerate() {
        assert_eq!(exchange.path, Some(format!("/{}", index + 1)));
        assert_eq!(exchange.status, Some(401 + u16::try_from(index).unwrap()));
    }
}

#[test]
fn a_response_without_known_end_leaves_the_ones_behind_unknown() {
    let mut bench = Bench::server();
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n{}\r\n0\r\n\r\n",
        "x".repeat(2048)
    );
    bench
        .request(0, format!("{}{}", get("/1"), get("/2")))
        .response(5, &chunked)
        .response(6, answer(404, ""));
    assert!(bench.exchanges().is_empty());
    assert_eq!(bench.losses(), [(Loss::UnmatchedResponse, 1), (Loss::Desynchronized, 2)]);
}

#[test]
fn requests_beyond_the_capture_are_not_seen_and_their_responses_counted() {
    let mut bench = Bench::server();
    let requests: Vec<_> = (0..60).map(|number| get(&format!("/{number:02}"))).collect();
    let seen = 1024 / requests[0].len() as u64;
    bench.request(0, requests.concat());
    for ms in 1..=60 {
        bench.response(ms, OK);
    }
    let exchanges = bench.exchanges();
    // The one that the capture cuts is known by its start line.
    assert!((seen..=seen + 1).contains(&(exchanges.len() as u64)));
    for (number, exchange) in exchanges.iter().enumerate() {
        assert_eq!(exchange.end_ns, (number as u64 + 1) * MS);
        if (number as u64) < seen {
            assert_eq!(exchange.path, Some(format!("/{number:02}")));
        }
    }
    assert_eq!(bench.tracker.counts().get(Loss::UnmatchedResponse), 60 - exchanges.len() as u64);
    // Nothing proves that all of them are answered.
    bench.request(100, get("/late")).response(101, OK);
    assert!(bench.exchanges().is_empty());
    assert_eq!(bench.tracker.counts().get(Loss::Desynchronized), 1);
}

#[test]
fn an_abort_leaves_the_ones_behind_without_response() {
    let mut bench = Bench::server();
    bench.request(0, format!("{}{}{}", get("/1"), get("/2"), get("/3"))).response(1, OK);
    bench.response(2, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab").close(5);
    let ends = ["GET /1 200 Complete", "GET /2 200 ResponseCut", "GET /3 0 NoResponse"];
    assert_eq!(briefs(&bench.exchanges()), ends);
    assert_eq!(bench.losses(), []);
}
