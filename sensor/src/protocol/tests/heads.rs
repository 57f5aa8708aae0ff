//! Ordinary exchanges, and heads in every shape.

use super::*;

#[test]
fn an_exchange_on_either_side() {
    for role in [Role::Server, Role::Client] {
        let mut bench = Bench::new(role);
        let request = "POST /a?b=c HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: curl/8\r\n\
                       Content-Length: 5\r\n\r\nhello";
        bench.request(10, request).response(30, OK);
        let exchange = bench.only();
        assert_eq!(brief(&exchange), ("POST", Some("/a"), Some(200), End::Complete));
        assert_eq!((exchange.role, exchange.version), (role, "1.1"));
        assert_eq!(exchange.query.as_deref(), Some("b=c"));
        assert_eq!(exchange.host.as_deref(), Some("shop.example"));
        assert_eq!(exchange.request_headers, [("user-agent", "curl/8".to_owned())]);
        assert_eq!(times(&exchange), [10, 10, 30, 30, 30]);
        assert_eq!(body_bytes(&exchange), (Some(5), Some(2)));
        assert_eq!(exchange.request.head_bytes, Some(request.len() as u64 - 5));
        assert_eq!(exchange.task, kernel::TASK);
        assert_eq!(exchange.endpoints, kernel::endpoints());
        assert_eq!(bench.losses(), []);
        assert_eq!(bench.tracker.open_connections(), 1);
    }
}

#[test]
fn keep_alive_leaves_idle_time_out() {
    let mut bench = Bench::server();
    bench.request(0, GET).response(5, OK).request(3005, GET).response(3010, OK);
    let exchanges = bench.exchanges();
    assert_eq!(times(&exchanges[0]), [0, 0, 5, 5, 5]);
    assert_eq!(times(&exchanges[1]), [3005, 3005, 3010, 3010, 3010]);
}

#[test]
fn heads_split_anywhere() {
    let request = "POST /split HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    let response = "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok";
    for role in [Role::Server, Role::Client] {
        for at in 1..request.len() {
            let mut bench = Bench::new(role);
            bench.request(1, &request[..at]).request(2, &request[at..]).response(3, response);
            let exchange = bench.only();
            assert_eq!(brief(&exchange), ("POST", Some("/split"), Some(201), End::Complete), "{at}");
            assert_eq!(times(&exchange), [1, 2, 3, 3, 3], "{at}");
            assert_eq!(body_bytes(&exchange), (Some(3), Some(2)), "{at}");
        }
        for at in 1..response.len() {
            let mut bench = Bench::new(role);
            bench.request(1, request).response(2, &response[..at]).response(3, &response[at..]).close(9);
            let exchange = bench.only();
            assert_eq!(brief(&exchange), ("POST", Some("/split"), Some(201), End::Complete), "{at}");
            assert_eq!(times(&exchange), [1, 1, 2, 3, 3], "{at}");
            assert_eq!(bench.losses(), [], "{at}");
        }
    }
}

#[test]
fn heads_of_single_bytes() {
    let mut bench = Bench::server();
    for round in 0..2 {
        let start = round * 1000;
        for (index, byte) in GET.bytes().enumerate() {
            bench.request(start + index as u64, [byte]);
        }
        for (index, byte) in OK.bytes().enumerate() {
            bench.response(start + 500 + index as u64, [byte]);
        }
        // The last byte of a body is told by the next event, or on asking.
        bench.poll(start + 900);
        let exchange = bench.only();
        let end = start + 500 + OK.len() as u64 - 1;
        assert_eq!(times(&exchange), [start, start + GET.len() as u64 - 1, start + 500, end, end]);
    }
    assert_eq!(bench.losses(), []);
}

#[test]
fn a_byte_read_ahead_begins_the_next_request() {
    // Go's server reads one byte while it works on a request, to see the client hang up.
    let mut bench = Bench::server();
    bench.request(0, get("/1")).request(1, "G").response(2, OK).request(3, &get("/2")[1..]).response(4, OK);
    let exchanges = bench.exchanges();
    assert_eq!(briefs(&exchanges), ["GET /1 200 Complete", "GET /2 200 Complete"]);
    assert_eq!(times(&exchanges[1]), [1, 3, 4, 4, 4]);
    assert_eq!(bench.losses(), []);
}

#[test]
fn interim_responses_are_not_the_response() {
    for role in [Role::Server, Role::Client] {
        let mut bench = Bench::new(role);
        bench
            .request(0, "PUT /up HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            .response(1, "HTTP/1.1 100 Continue\r\n\r\n")
            .request(2, "abc")
            .response(3, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
            .response(4, OK);
        let exchange = bench.only();
        assert_eq!(brief(&exchange), ("PUT", Some("/up"), Some(200), End::Complete));
        assert_eq!(times(&exchange), [0, 2, 4, 4, 4]);
        assert_eq!(body_bytes(&exchange), (Some(3), Some(2)));
    }
}

#[test]
fn interim_and_final_response_in_one_operation() {
    let mut bench = Bench::client();
    bench.request(0, GET).response(4, format!("HTTP/1.1 103 Early Hints\r\n\r\n{OK}"));
    assert_eq!(brief(&bench.only()), ("GET", Some("/a"), Some(200), End::Complete));
}

#[test]
fn a_switch_of_protocols_leaves_the_connection_alone() {
    for role in [Role::Server, Role::Client] {
        let mut bench = Bench::new(role);
        bench
            .request(0, "GET /chat HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            .response(1, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
            .request(2, GET)
            .response(3, OK)
            .response(4, "HTTP/1.1 500 X\r\n\r\n");
        let exchange = bench.only();
        assert_eq!(brief(&exchange), ("GET", Some("/chat"), Some(101), End::Upgraded));
        assert_eq!(exchange.end_ns, MS);
        bench.close(9);
        assert!(bench.exchanges().is_empty());
        assert_eq!((bench.losses(), bench.tracker.open_connections()), (vec![], 0));
    }
}

#[test]
fn a_tunnel_leaves_the_connection_alone() {
    let mut bench = Bench::server();
    bench.request(0, "CONNECT db.example:443 HTTP/1.1\r\n\r\n").response(1, "HTTP/1.1 200 OK\r\n\r\n");
    bench.request(2, GET).response(3, OK);
    let exchange = bench.only();
    assert_eq!(brief(&exchange), ("CONNECT", Some(""), Some(200), End::Upgraded));
    assert_eq!(exchange.host.as_deref(), Some("db.example:443"));
}

#[test]
fn a_refused_tunnel_is_an_ordinary_exchange() {
    let mut bench = Bench::server();
    bench.request(0, "CONNECT db.example:443 HTTP/1.1\r\n\r\n").response(1, answer(403, "no"));
    bench.request(2, GET).response(3, OK);
    assert_eq!(briefs(&bench.exchanges()), ["CONNECT  403 Complete", "GET /a 200 Complete"]);
}

#[test]
fn an_empty_line_behind_a_body_is_no_request() {
    let mut bench = Bench::server();
    bench.request(0, "POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\na").request(1, "\r\n").response(2, OK);
    bench.request(3, GET).response(4, OK);
    assert_eq!(briefs(&bench.exchanges()), ["POST / 200 Complete", "GET /a 200 Complete"]);
    assert_eq!(bench.losses(), []);
}

#[test]
fn other_protocols_make_no_exchange_and_leave_nothing() {
    let talks: [&[&[u8]]; 7] = [
        &[b"EHLO mail.example\r\n", b"MAIL FROM:<a@example.org>\r\n", b"DATA\r\n", b"QUIT\r\n"],
        &[b"SET key 5\r\n", b"GET key\r\n", b"PING\r\n"],
        &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0"],
        &[b"SSH-2.0-OpenSSH_9.2\r\n"],
        &[b"AB CD\0\x01\x02\xff\xfe", b"HTTP/1.9 200\r\n\r\n"],
        &[b"GET /\r\n"],
        &[b"USER anonymous\r\n", b"PASS x\r\n", b"RETR HTTP/1.1\r\n"],
    ];
    for talk in talks {
        let mut bench = Bench::server();
        for (ms, bytes) in talk.iter().enumerate() {
            bench.request(ms as u64, bytes);
        }
        bench.close(99);
        assert!(bench.exchanges().is_empty());
        assert!(bench.losses().iter().all(|&(loss, _)| loss == Loss::Unparsed), "{:?}", bench.losses());
        assert_eq!(bench.tracker.open_connections(), 0);
    }
}

#[test]
fn a_malformed_head_is_told_with_what_is_known() {
    let mut bench = Bench::server();
    let fields = "a: b\r\n".repeat(150);
    bench.request(0, format!("GET /many HTTP/1.1\r\n{fields}\r\n")).response(1, OK);
    let exchange = bench.only();
    assert_eq!(brief(&exchange), ("GET", Some("/many"), Some(200), End::Complete));
    assert_eq!(bench.losses(), [(Loss::MalformedHead, 1)]);
    bench.request(2, GET).response(3, OK);
    assert_eq!(briefs(&bench.exchanges()), ["GET /a 200 Complete"]);
}
