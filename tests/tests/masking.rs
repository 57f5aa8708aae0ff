//! Card numbers do not leave the kernel: neither the ring buffer nor the daemon's memory holds one.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use tests::cards::{card, masked, search};
use tests::process::program;
use tests::sensor::{SETTLE, Sensor};
use tests::wait::{patience, wait_until};

const REQUESTS: u64 = 400;

/// A connection on which each request is read in one piece and answered.
fn ask(parts: &[&[String]]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port");
    let address = listener.local_addr().expect("the port");
    let mut client = TcpStream::connect(address).expect("connect");
    let (mut server, _) = listener.accept().expect("accept");
    client.set_nodelay(true).expect("send at once");
    for request in parts {
        for part in *request {
            client.write_all(part.as_bytes()).expect("send");
            let mut read = vec![0; part.len()];
            server.read_exact(&mut read).expect("receive");
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        server.write_all(answer).expect("answer");
        client.read_exact(&mut [0; 38]).expect("read the answer");
    }
    address.port()
}

fn request(card: &str) -> String {
    format!("GET /pay/{card}/now?pan={card} HTTP/1.1\r\nHost: shop\r\nUser-Agent: till {card}\r\n\r\n")
}

/// Numbers in a path, a query and a header value, sent and received whole.
#[test]
fn whole_numbers_stay_in_the_kernel() {
    let sensor = Sensor::start();
    let requests: Vec<[String; 1]> = (0..REQUESTS).map(|index| [request(&card(index))]).collect();
    let requests: Vec<&[String]> = requests.iter().map(|request| &request[..]).collect();
    let port = ask(&requests).to_string();

    let expected: HashSet<String> =
        (0..REQUESTS).map(|index| format!("/pay/{}/now", masked(&card(index)))).collect();
    wait_until("all paths, masked", patience(SETTLE), || {
        let spans = sensor.spans();
        let own = spans.iter().filter(|span| span.attribute("server.port") == port && span.kind == 2);
        let paths: HashSet<String> = own.map(|span| span.path().to_owned()).collect();
        (paths == expected).then_some(())
    });
    let spans = sensor.spans();
    let span = spans.iter().find(|span| span.attribute("server.port") == port).expect("a span");
    assert_eq!(span.attribute("http.route"), "/pay/{id}/now");
    let (found, in_ring) = search(sensor.id());
    assert!(found.is_empty(), "in the sensor's memory: {found:?}");
    assert!(in_ring, "the ring buffer was not searched");

    let counted = || sensor.metrics().count("sensor_masked_total", &[("layer", "kernel"), ("rule", "card")]);
    let at_least = REQUESTS * 3 * 2;
    wait_until("the numbers to be counted", patience(SETTLE), || (counted() >= at_least).then_some(()));
}

/// A number that no write held whole is masked where the daemon puts the head together.
#[test]
fn split_numbers_are_masked_by_the_daemon() {
    let sensor = Sensor::start();
    let parts: Vec<[String; 2]> = (0..40)
        .map(|index| {
            let whole = request(&card(index));
            // Between the first and the last digit of the path's number.
            let (start, rest) =
                whole.split_at("GET /pay/".len() + 1 + usize::try_from(index).expect("small") % 15);
            [start.to_owned(), rest.to_owned()]
        })
        .collect();
    let parts: Vec<&[String]> = parts.iter().map(|parts| &parts[..]).collect();
    let port = ask(&parts).to_string();
    wait_until("all paths, masked", patience(SETTLE), || {
        let spans = sensor.spans();
        let own = spans.iter().filter(|span| span.attribute("server.port") == port && span.kind == 2);
        (own.count() == parts.len()).then_some(())
    });
    for span in sensor.spans().iter().filter(|span| span.attribute("server.port") == port) {
        for text in [span.path(), span.attribute("url.full"), span.attribute("url.query")] {
            let whole = (0..40).map(card).find(|card| text.contains(card.as_str()));
            assert_eq!(whole, None, "{text}");
        }
    }
}

/// What a program is given on its command line, and what it is called.
#[test]
fn the_arguments_of_programs_stay_in_the_kernel() {
    let sensor = Sensor::start();
    for index in 0..40 {
        let number = card(index);
        let status = program("true").args([&number, &format!("--pan={number}")]).status().expect("run true");
        assert!(status.success());
    }
    sensor.barrier();
    let (found, in_ring) = search(sensor.id());
    assert!(found.is_empty(), "in the sensor's memory: {found:?}");
    assert!(in_ring, "the ring buffer was not searched");
}
