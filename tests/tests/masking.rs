//! Card numbers do not leave the kernel: neither the ring buffer nor the daemon's memory holds one.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;

use memchr::memmem;
use tests::sensor::{SETTLE, Sensor};
use tests::wait::{patience, wait_until};

const REQUESTS: u64 = 400;
/// Sixteen digits of a brand.
const DIGITS: usize = 16;

/// A Visa number of its own for each index, with its check digit.
fn card(index: u64) -> String {
    let start = format!("402400{index:05}7193");
    let sum: u32 = start
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, byte)| {
            let digit = u32::from(byte - b'0');
            let doubled = if digit > 4 { 2 * digit - 9 } else { 2 * digit };
            if place % 2 == 0 { doubled } else { digit }
        })
        .sum();
    format!("{start}{}", (10 - sum % 10) % 10)
}

fn masked(card: &str) -> String {
    format!("{}******{}", &card[..6], &card[12..])
}

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

/// All digits that stand in a row of sixteen at least in the memory of a process, where they begin like the test's
/// cards; and whether a masked one is in the memory of an eBPF map.
fn search(pid: u32) -> (HashSet<String>, bool) {
    let memory = File::open(format!("/proc/{pid}/mem")).expect("open the memory");
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("read the mappings");
    let (mut found, mut in_ring) = (HashSet::new(), false);
    for line in maps.lines() {
        let Some((start, rest)) = line.split_once('-') else { continue };
        let Some((end, rest)) = rest.split_once(' ') else { continue };
        let bounds = [start, end].map(|bound| u64::from_str_radix(bound, 16).expect("an address"));
        if !rest.starts_with('r') || rest.contains("[v") {
            continue;
        }
        let mut page = vec![0; 1 << 20];
        let mut at = bounds[0];
        while at < bounds[1] {
            let length = usize::try_from(bounds[1] - at).expect("a size").min(page.len());
            // Not all that is mapped can be read.
            let Ok(read) = memory.read_at(&mut page[..length], at) else {
                at += 4096;
                continue;
            };
            let bytes = &page[..read];
            in_ring |= rest.contains("bpf-map") && memmem::find(bytes, b"402400******").is_some();
            for offset in memmem::find_iter(bytes, b"402400") {
                let Some(number) = bytes.get(offset..offset + DIGITS) else { continue };
                if number.iter().all(u8::is_ascii_digit) {
                    found.insert(format!("{} at {:x}", String::from_utf8_lossy(number), at + offset as u64));
                }
            }
            // The windows of two pieces overlap.
            let step = if read == length && length > 4096 { read - 64 } else { read };
            at += step.max(1) as u64;
        }
    }
    (found, in_ring)
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
