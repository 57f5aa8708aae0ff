//! 100 000 connections leave no trace in the kernel's maps or the daemon's memory.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use nix::sys::socket::{setsockopt, sockopt};
use tests::calls::{Calls, calls};
use tests::link::Link;
use tests::sensor::{Options, Sensor, lost};
use tests::wait::{patience, portion, wait_for};

/// A part of them on machines slower than most: what the kernel's maps hold must be exact all the same.
const CONNECTIONS: u32 = 100_000;
/// As many fill the daemon's tables and the allocator's arenas to their working size.
const WARM_UP: u32 = 20_000;
/// Connections over which the test asks the sensor itself.
const SCRAPES: u64 = 2;
/// The allocator keeps some of what was freed: this much more than before is no leak, 100 000 connections of 72
/// bytes alone would be more.
const MEMORY_TOLERANCE: f64 = 4.0 * 1024.0 * 1024.0;

const REQUEST: &[u8] = b"GET /churn HTTP/1.1\r\nHost: localhost\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CUT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nok";

fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    let mut buffer = [0; 256];
    from.write_all(bytes).expect("send");
    to.read_exact(&mut buffer[..bytes.len()]).expect("receive");
}

/// Opens and closes `count` connections in four manners in turn, and returns what happened on them.
fn churn(listener: &TcpListener, count: u32) -> Calls {
    let port = listener.local_addr().expect("an address").port();
    for i in 0..count {
        // There are fewer ports for clients than connections: each server address has its own set of them.
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + i % 16);
        let mut client = TcpStream::connect(SocketAddr::from((address, port))).expect("connect");
        let (mut server, _) = listener.accept().expect("accept");
        pass(&mut client, &mut server, REQUEST);
        match i % 4 {
            0 => pass(&mut server, &mut client, RESPONSE),
            1 => {
                pass(&mut server, &mut client, RESPONSE);
                pass(&mut client, &mut server, REQUEST);
                pass(&mut server, &mut client, RESPONSE);
            }
            2 => pass(&mut server, &mut client, CUT),
            _ => {}
        }
        if i % 8 < 4 {
            // A reset leaves no connection behind that waits for its time to pass.
            let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
            setsockopt(&client, sockopt::Linger, &linger).expect("set SO_LINGER");
        }
    }
    let quarter = u64::from(count / 4);
    calls(&[
        ("GET /churn 200", 3 * quarter),
        ("GET /churn 200 response_cut", quarter),
        ("GET /churn - no_response", quarter),
    ])
}

/// Opens so many connections, and requires that these, and the few over which the test asks, are all that the kernel
/// side follows once they have been counted; and none when they are closed.
#[track_caller]
fn only_followed(sensor: &Sensor, links: u64) {
    let open: Vec<Link> = (0..links)
        .map(|_| {
            let mut link = Link::open(Ipv4Addr::LOCALHOST.into());
            link.request(REQUEST);
            link
        })
        .collect();
    // The figure is brought up to date from time to time, so that of now has the new connections in it.
    between(sensor, 2 * links, 2 * links + SCRAPES);
    drop(open);
    between(sensor, 0, SCRAPES);
}

#[track_caller]
fn between(sensor: &Sensor, least: u64, most: u64) {
    let entries = || sensor.metrics().count("sensor_map_entries", &[("map", "connections")]);
    wait_for(patience(20), || (least..=most).contains(&entries()).then_some(()));
    let entries = entries();
    assert!(
        (least..=most).contains(&entries),
        "the map has {entries} entries, and {least} to {most} are open"
    );
}

/// Connections of which the daemon remembers something, closed ones among them, up to a limit of its own.
fn remembered(sensor: &Sensor) -> u64 {
    sensor.metrics().count("sensor_open_connections", &[])
}

fn memory(sensor: &Sensor) -> f64 {
    sensor.metrics().sum("process_resident_memory_bytes", &[])
}

#[test]
fn connections_come_and_go() {
    // Only this process, so that no connection of others on this machine is among those that are looked at.
    let sensor = Options::default().processes(&[&tests::sensor::own_name()]).start();
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("bind a port");
    let port = listener.local_addr().expect("an address").port();
    let warm_up = churn(&listener, WARM_UP);
    sensor.expect_both(port, &warm_up);
    only_followed(&sensor, 10);
    let (memory_before, remembered_before) = (memory(&sensor), remembered(&sensor));
    let lost_before = sensor.lost();

    let mut expected = churn(&listener, portion(CONNECTIONS));
    for (call, count) in warm_up {
        *expected.entry(call).or_default() += count;
    }
    sensor.expect_both(port, &expected);
    assert_eq!(sensor.lost(), lost_before, "something was lost");
    only_followed(&sensor, 11);
    let remembered_after = remembered(&sensor);
    assert!(
        remembered_after <= remembered_before + SCRAPES,
        "the daemon remembered {remembered_before} connections, and now {remembered_after}"
    );

    wait_for(patience(20), || (memory(&sensor) <= memory_before + MEMORY_TOLERANCE).then_some(()));
    let memory_after = memory(&sensor);
    assert!(
        memory_after <= memory_before + MEMORY_TOLERANCE,
        "{memory_before} bytes resident before, {memory_after} after"
    );
}

/// Connections beyond the limit are counted as lost, and later ones are followed again.
#[test]
fn more_connections_than_the_limit() {
    const LIMIT: usize = 64;
    let sensor = Options::default().capture("max_connections", &LIMIT.to_string()).start();
    let links: Vec<Link> = (0..LIMIT)
        .map(|_| {
            let mut link = Link::open(Ipv4Addr::LOCALHOST.into());
            link.request(REQUEST);
            link
        })
        .collect();
    let lost = || lost(&sensor.metrics());
    wait_for(patience(20), || lost().contains_key("connections_full").then_some(()));
    let lost = lost();
    assert!(
        lost.contains_key("connections_full"),
        "two ends of {LIMIT} connections fit into {LIMIT}: {lost:?}"
    );
    drop(links);
    // The barrier's own exchange.
    sensor.barrier();
}
