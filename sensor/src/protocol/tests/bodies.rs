//! Bodies: how their end is found, and what in them must not be taken for a message.

use super::*;

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_length_delimited_body_in_many_operations() {
    for role in [Role::Server, Role::Client] {
        let mut bench = Bench::new(role);
        bench.request(0, GET).response(50, "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n");
        for ms in [60, 70, 80] {
            bench.response(ms, "0123456789");
        }
        bench.request(3000, get("/b"));
        let exchange = bench.only();
        assert_eq!(times(&exchange), [0, 0, 50, 80, 80]);
        assert_eq!(body_bytes(&exchange), (Some(0), Some(30)));
    }
}

#[test]
fn a_body_of_gigabytes() {
    let mut bench = Bench::server();
    let way = Direction::Send;
    bench.request(0, GET).response(1, "HTTP/1.1 200 OK\r\nContent-Length: 50000000000\r\n\r\n");
    for second in 1..=500 {
        bench.bulk(way, second * 1000, 100_000_000).poll(second * 1000 + 10);
    }
    bench.poll(506_000);
    let exchange = bench.only();
    assert_eq!(times(&exchange), [0, 0, 1, 500_000, 500_000]);
    assert_eq!(body_bytes(&exchange), (Some(0), Some(50_000_000_000)));
}

#[test]
fn messages_inside_bodies_are_body() {
    for role in [Role::Server, Role::Client] {
        let mut bench = Bench::new(role);
        let trap = get("/trap");
        let length = trap.len() * 2;
        bench
            .request(0, format!("POST /p HTTP/1.1\r\nContent-Length: {length}\r\n\r\n"))
            .request(1, &trap)
            .request(2, &trap)
            .response(3, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", OK.len() * 2))
            .response(4, OK)
            .response(5, OK)
            .request(6, get("/next"))
            .response(7, OK);
        let exchanges = bench.exchanges();
        assert_eq!(briefs(&exchanges), ["POST /p 200 Complete", "GET /next 200 Complete"]);
        assert_eq!(times(&exchanges[0]), [0, 2, 3, 5, 5]);
        assert_eq!(body_bytes(&exchanges[0]), (Some(length as u64), Some(OK.len() as u64 * 2)));
        assert_eq!(bench.losses(), []);
    }
}

#[test]
fn no_body_where_the_method_or_status_says_so() {
    let mut bench = Bench::server();
    bench.request(0, "HEAD /h HTTP/1.1\r\n\r\n").response(1, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n");
    bench.request(2, GET).response(3, "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n");
    bench.request(4, GET).response(5, "HTTP/1.1 204 No Content\r\n\r\n");
    bench.request(6, GET).response(7, OK);
    let ends = ["HEAD /h 200 Complete", "GET /a 304 Complete", "GET /a 204 Complete", "GET /a 200 Complete"];
    assert_eq!(briefs(&bench.exchanges()), ends);
    assert_eq!(bench.losses(), []);
}

#[test]
fn a_chunked_body_that_is_seen_ends_at_once() {
    for role in [Role::Server, Role::Client] {
        let mut bench = Bench::new(role);
        bench.request(0, GET).response(1, format!("{CHUNKED}5\r\nhello\r\n")).response(2, "0\r\n\r\n");
        let exchange = bench.only();
        assert_eq!(times(&exchange), [0, 0, 1, 2, 2]);
        assert_eq!(body_bytes(&exchange), (Some(0), Some(15)));
    }
}

#[test]
fn a_chunked_body_with_a_trailer_section_that_is_seen() {
    let mut bench = Bench::server();
    bench.request(0, GET).response(1, format!("{CHUNKED}2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"));
    assert_eq!(body_bytes(&bench.only()).1, Some(2 + 3 + 2 + 3 + 10 + 2));
}

#[test]
fn a_chunked_body_beyond_the_capture_ends_with_the_next_request() {
    let mut bench = Bench::server();
    let chunk = format!("800\r\n{}\r\n", "x".repeat(2048));
    bench.request(0, GET).response(10, CHUNKED).response(20, &chunk).response(30, &chunk);
    bench.response(40, "0\r\nX-Sum: 1\r\n\r\n");
    assert!(bench.exchanges().is_empty());
    bench.request(5000, get("/b")).response(5001, OK);
    let exchanges = bench.exchanges();
    assert_eq!(briefs(&exchanges), ["GET /a 200 Complete", "GET /b 200 Complete"]);
    assert_eq!(times(&exchanges[0]), [0, 0, 10, 40, 40]);
    assert_eq!(body_bytes(&exchanges[0]).1, Some(2 * chunk.len() as u64 + 15));
    assert_eq!(bench.losses(), []);
}

#[test]
fn a_chunked_body_beyond_the_capture_ends_on_asking_twice() {
    let mut bench = Bench::server();
    let chunk = format!("800\r\n{}\r\n", "x".repeat(2048));
    bench.request(0, GET).response(10, CHUNKED).response(20, &chunk).response(30, "0\r\n\r\n");
    bench.poll(60);
    assert!(bench.exchanges().is_empty());
    bench.poll(115);
    assert_eq!(times(&bench.only()), [0, 0, 10, 30, 30]);
}

#[test]
fn a_pause_in_a_chunked_body_is_not_its_end() {
    let mut bench = Bench::server();
    let chunk = format!("800\r\n{}\r\n", "x".repeat(2048));
    bench.request(0, GET).response(10, CHUNKED).response(20, &chunk);
    for ms in (0..60_000).step_by(100) {
        bench.poll(ms);
    }
    assert!(bench.exchanges().is_empty());
    bench.response(60_000, "0\r\n\r\n").close(60_001);
    assert_eq!(times(&bench.only()), [0, 0, 10, 60_000, 60_000]);
}

#[test]
fn a_message_inside_a_chunked_body_beyond_the_capture() {
    let mut bench = Bench::server();
    let chunk = format!("800\r\n{}\r\n", "x".repeat(2048));
    bench.request(0, GET).response(10, CHUNKED).response(20, &chunk);
    bench.response(30, format!("{:x}\r\n", OK.len())).response(31, OK).response(32, "\r\n0\r\n\r\n");
    bench.request(40, get("/b")).response(50, OK);
    assert_eq!(briefs(&bench.exchanges()), ["GET /a 200 Complete", "GET /b 200 Complete"]);
    assert_eq!(bench.losses(), []);
}

#[test]
fn a_chunked_upload_beyond_the_capture() {
    let mut bench = Bench::server();
    let chunk = format!("800\r\n{}\r\n", "x".repeat(2048));
    let request = "POST /up HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for round in 0..3 {
        let start = round * 1000;
        bench.request(start, request).request(start + 10, &chunk).request(start + 20, &chunk);
        bench.request(start + 30, "0\r\n\r\n").response(start + 40, OK);
        let exchange = bench.only();
        assert_eq!(times(&exchange), [start, start + 30, start + 40, start + 40, start + 40]);
        assert_eq!(body_bytes(&exchange).0, Some(2 * chunk.len() as u64 + 5));
    }
    for byte in GET.bytes() {
        bench.request(5000, [byte]);
    }
    bench.response(5001, OK);
    assert_eq!(briefs(&bench.exchanges()), ["GET /a 200 Complete"]);
    assert_eq!(bench.losses(), []);
}

#[test]
fn a_transfer_coding_goes_before_a_length() {
    let mut bench = Bench::server();
    bench.request(0, GET).response(
        1,
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    );
    assert_eq!(body_bytes(&bench.only()).1, Some(12));
}

#[test]
fn an_early_response_is_told_with_the_rest_of_the_request() {
    for role in [Role::Server, Role::Client] {
        let mut bench = Bench::new(role);
        bench
            .request(0, "POST /big HTTP/1.1\r\nContent-Length: 3000\r\n\r\n")
            .request(1, "x".repeat(1000))
            .response(2, answer(413, "too big"));
        assert!(bench.exchanges().is_empty());
        // The rest of the body comes all the same, and is no request.
        bench.request(3, "x".repeat(1000)).request(4, format!("GET /trap HTTP/1.1{}", "x".repeat(982)));
        let exchange = bench.only();
        assert_eq!(brief(&exchange), ("POST", Some("/big"), Some(413), End::Complete));
        assert_eq!(times(&exchange), [0, 4, 2, 2, 2]);
        assert_eq!(body_bytes(&exchange).0, Some(3000));
        bench.request(5, get("/next")).response(6, OK);
        assert_eq!(briefs(&bench.exchanges()), ["GET /next 200 Complete"]);
        assert_eq!(bench.losses(), []);
    }
}

#[test]
fn an_early_response_does_not_wait_for_a_body_that_does_not_come() {
    for role in [Role::Server, Role::Client] {
        let mut bench = Bench::new(role);
        bench
            .request(0, "POST /big HTTP/1.1\r\nContent-Length: 3000\r\n\r\n")
            .request(1, "x".repeat(1000))
            .response(2, answer(413, "too big"))
            .poll(200)
            .poll(400);
        let exchange = bench.only();
        assert_eq!(times(&exchange), [0, 1, 2, 2, 2]);
        assert_eq!(body_bytes(&exchange).0, Some(1000));
        assert_eq!(bench.losses(), []);
    }
}

#[test]
fn a_stream_of_minutes() {
    let mut bench = Bench::server();
    bench.request(0, GET).response(5, format!("{CHUNKED}6\r\ndata:1\r\n"));
    for second in 1..300 {
        bench.response(second * 1000, "6\r\ndata:y\r\n").poll(second * 1000 + 500);
    }
    assert!(bench.exchanges().is_empty());
    bench.response(300_000, "0\r\n\r\n").poll(306_000).poll(312_000);
    assert_eq!(times(&bench.only()), [0, 0, 5, 300_000, 300_000]);
}

#[test]
fn what_is_lost_behind_a_chunked_body_beyond_the_capture_is_not_part_of_it() {
    let mut bench = Bench::server();
    let chunk = format!("800\r\n{}\r\n", "x".repeat(2048));
    bench.request(0, GET).response(10, CHUNKED).response(20, &chunk).response(30, "0\r\n\r\n");
    bench.drop_next(2).request(40, get("/b")).response(50, "HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n");
    bench.request(60, get("/c")).response(70, OK);
    assert_eq!(briefs(&bench.exchanges()), ["GET /c 200 Complete"]);
    assert_eq!(bench.losses(), [(Loss::LostResponse, 1)]);
}
