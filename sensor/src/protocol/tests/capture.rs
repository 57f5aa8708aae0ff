//! Heads and messages that the capture does not reach.

use super::*;

#[test]
fn a_head_longer_than_the_capture() {
    for role in [Role::Server, Role::Client] {
        let mut bench = Bench::new(role);
        let request = format!("GET /long?q=1 HTTP/1.1\r\nHost: x\r\nCookie: {}\r\n\r\n", "c".repeat(65_536));
        bench.request(0, &request[..16_384]).request(1, &request[16_384..]).response(5, OK);
        let exchange = bench.only();
        assert_eq!(brief(&exchange), ("GET", Some("/long"), Some(200), End::Complete));
        assert_eq!((exchange.query.as_deref(), exchange.host.as_deref()), (Some("q=1"), Some("x")));
        assert_eq!((exchange.request.head_bytes, exchange.request.body_bytes), (None, None));
        assert_eq!(times(&exchange), [0, 1, 5, 5, 5]);
        assert_eq!(bench.losses(), [(Loss::TruncatedHead, 1)]);
        bench.request(10, GET).response(11, OK);
        assert_eq!(briefs(&bench.exchanges()), ["GET /a 200 Complete"]);
    }
}

#[test]
fn a_target_longer_than_the_capture() {
    let mut bench = Bench::server();
    bench.request(0, get(&format!("/{}", "x".repeat(2000)))).response(5, OK);
    let exchange = bench.only();
    assert_eq!(brief(&exchange), ("GET", None, Some(200), End::Complete));
    assert_eq!(exchange.version, "1.1");
    bench.request(10, get(&format!("/path?{}", "x".repeat(2000)))).response(15, OK);
    let exchange = bench.only();
    assert_eq!((exchange.path.as_deref(), exchange.query), (Some("/path"), None));
    assert_eq!(bench.losses(), [(Loss::TruncatedHead, 2)]);
}

#[test]
fn a_long_line_of_another_protocol_is_no_request() {
    let mut bench = Bench::server();
    bench.request(0, format!("SET key {}\r\n", "x".repeat(2000))).close(5);
    assert_eq!((bench.exchanges().len(), bench.losses()), (0, vec![(Loss::Unparsed, 1)]));
}

#[test]
fn a_response_head_longer_than_the_capture() {
    let mut bench = Bench::server();
    let response =
        format!("HTTP/1.1 302 Found\r\nSet-Cookie: {}\r\nContent-Length: 2\r\n\r\nok", "c".repeat(3000));
    bench.request(0, GET).response(5, &response).request(1000, get("/b")).response(1001, OK);
    let exchanges = bench.exchanges();
    assert_eq!(briefs(&exchanges), ["GET /a 302 Complete", "GET /b 200 Complete"]);
    assert_eq!(times(&exchanges[0]), [0, 0, 5, 5, 5]);
    assert_eq!(bench.losses(), [(Loss::TruncatedHead, 1)]);

    bench.request(2000, GET).response(2005, response).request(2006, "x").close(2010);
    assert_eq!(briefs(&bench.exchanges()), ["GET /a 302 Complete"]);
}

#[test]
fn a_body_behind_a_long_head_is_no_request() {
    let mut bench = Bench::server();
    let fields = format!("Cookie: {}\r\nContent-Length: 100", "c".repeat(2000));
    bench
        .request(0, format!("POST /p HTTP/1.1\r\n{fields}\r\n\r\n"))
        .request(1, get("/trap"))
        .response(2, OK);
    assert_eq!(briefs(&bench.exchanges()), ["POST /p 200 Complete"]);
}

#[test]
fn a_larger_capture_reads_longer_heads() {
    let mut bench = Bench::with(Role::Server, TrackerConfig { head_limit: 4096, ..config() });
    let request = format!("GET /x HTTP/1.1\r\nCookie: {}\r\n\r\n", "c".repeat(3000));
    bench.request(0, &request[..1500]).request(1, &request[1500..]).response(2, OK);
    assert_eq!(bench.only().request.head_bytes, Some(request.len() as u64));
    assert_eq!(bench.losses(), []);
}
