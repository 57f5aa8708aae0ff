//! How connections end.

use super::*;

const UNTIL_CLOSE: &str = "HTTP/1.0 200 OK\r\n\r\n";

#[test]
fn a_body_until_close_on_the_server() {
    let mut bench = Bench::server();
    bench
        .request(0, "GET / HTTP/1.0\r\n\r\n")
        .response(5, UNTIL_CLOSE)
        .response(10, "x".repeat(5000))
        .close(20);
    let exchange = bench.only();
    assert_eq!(brief(&exchange), ("GET", Some("/"), Some(200), End::Complete));
    assert_eq!((exchange.version, times(&exchange)), ("1.0", [0, 0, 5, 10, 10]));
    assert_eq!(body_bytes(&exchange).1, Some(5000));
}

#[test]
fn a_body_until_close_on_the_client() {
    let mut bench = Bench::client();
    bench.request(0, "GET / HTTP/1.0\r\n\r\n").response(5, UNTIL_CLOSE).response(10, "x".repeat(5000));
    bench.end_of_file(20);
    assert_eq!(times(&bench.only()), [0, 0, 5, 10, 10]);
    bench.close(30);
    assert!(bench.exchanges().is_empty());
    assert_eq!(bench.losses(), []);
}

#[test]
fn a_body_until_close_in_one_operation() {
    let mut bench = Bench::server();
    bench.request(0, "GET / HTTP/1.0\r\n\r\n").response(5, format!("{UNTIL_CLOSE}body")).close(6);
    assert_eq!(times(&bench.only()), [0, 0, 5, 5, 5]);
    assert_eq!((bench.losses(), bench.tracker.open_connections()), (vec![], 0));
}

#[test]
fn an_abort_before_the_response() {
    for role in [Role::Server, Role::Client] {
        let mut bench = Bench::new(role);
        bench.request(0, GET).close(700);
        let exchange = bench.only();
        assert_eq!(brief(&exchange), ("GET", Some("/a"), None, End::NoResponse));
        assert!(exchange.response.is_none());
        assert_eq!(exchange.end_ns, 700 * MS);
        assert_eq!(bench.losses(), []);
    }
}

#[test]
fn an_abort_in_the_upload() {
    let mut bench = Bench::server();
    bench.request(0, "POST /up HTTP/1.1\r\nContent-Length: 100\r\n\r\n").request(1, "x".repeat(60)).close(2);
    let exchange = bench.only();
    assert_eq!(brief(&exchange), ("POST", Some("/up"), None, End::NoResponse));
    assert_eq!(body_bytes(&exchange), (Some(60), None));
}

#[test]
fn an_abort_in_the_request_head() {
    let mut bench = Bench::server();
    bench.request(0, "GET /x HTTP/1.1\r\nHost:").close(2);
    let exchange = bench.only();
    assert_eq!(brief(&exchange), ("GET", Some("/x"), None, End::NoResponse));
    assert_eq!((exchange.request.head_bytes, bench.losses()), (None, vec![]));

    let mut bench = Bench::server();
    bench.request(0, "GET /x HT").close(2);
    assert_eq!((bench.exchanges().len(), bench.losses()), (0, vec![(Loss::Unparsed, 1)]));
}

#[test]
fn an_abort_in_the_response() {
    for role in [Role::Server, Role::Client] {
        for response in [
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n1234",
            "HTTP/1.1 200 OK\r\nContent-Le",
        ] {
            let mut bench = Bench::new(role);
            bench.request(0, GET).response(5, response).request(6, "x").close(9);
            let exchange = bench.only();
            assert_eq!(brief(&exchange), ("GET", Some("/a"), Some(200), End::ResponseCut), "{response}");
            assert_eq!(times(&exchange), [0, 0, 5, 5, 5]);
            assert_eq!(bench.losses(), []);
        }
    }
}

#[test]
fn an_abort_in_a_chunked_response_beyond_the_capture() {
    let mut bench = Bench::server();
    bench.request(0, GET).response(5, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    bench
        .response(6, format!("1000\r\n{}", "x".repeat(4096)))
        .response(7, "\r\n10\r\n")
        .response(8, "cut")
        .close(9);
    assert_eq!(brief(&bench.only()), ("GET", Some("/a"), Some(200), End::ResponseCut));
}

#[test]
fn an_abort_in_the_status_line_invents_no_status() {
    let mut bench = Bench::server();
    bench.request(0, GET).response(5, "HTTP/1.1 20").request(6, "x").close(9);
    assert!(bench.exchanges().is_empty());
    assert_eq!(bench.losses(), [(Loss::CutStartLine, 1)]);
}

#[test]
fn a_half_closed_connection_still_answers() {
    let mut bench = Bench::server();
    bench.request(0, GET);
    // A kernel that tells a server of its client's half-close must not end the exchange by it.
    let Some(Recorded::Close(close)) = bench.kernel.close(1) else { panic!("a request waits") };
    let end_of_file = super::super::Event::Close(super::super::Close { end_of_file: true, ..close });
    bench.tracker.on_event(&end_of_file, &mut bench.out);
    assert!(bench.exchanges().is_empty());
    bench.response(50, OK);
    assert_eq!(times(&bench.only()), [0, 0, 50, 50, 50]);
}

#[test]
fn a_server_that_closes_on_a_client() {
    let mut bench = Bench::client();
    bench.request(0, GET).response(1, OK).request(2, get("/b")).end_of_file(3).close(4);
    assert_eq!(briefs(&bench.exchanges()), ["GET /a 200 Complete", "GET /b 0 NoResponse"]);
}

#[test]
fn an_answer_to_a_request_that_is_not_whole() {
    // The rest of a head that the server did not want to see is no request of its own.
    let mut bench = Bench::server();
    bench.request(0, "POST /slow HTTP/1.1\r\nHost: x\r\n").response(9, answer(408, "slow")).close(10);
    let exchange = bench.only();
    assert_eq!(brief(&exchange), ("POST", Some("/slow"), Some(408), End::Complete));
    assert_eq!(exchange.request.head_bytes, None);
    assert_eq!(bench.losses(), []);
}

#[test]
fn a_close_that_was_lost_is_found_by_asking() {
    let mut bench = Bench::server();
    bench.request(0, GET).drop_next(1).close(5).poll(60).poll(120);
    assert!(bench.exchanges().is_empty());
    assert_eq!((bench.losses(), bench.tracker.open_connections()), (vec![(Loss::LostClose, 1)], 0));
}
