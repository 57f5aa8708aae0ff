//! What the kernel tells of TCP connections by itself: this part needs nothing but loopback interfaces.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt};
use tests::flows::{PORT, burst, expect, expect_all_of, of, passed, sensor};
use tests::metrics::Metrics;
use tests::netns::Netns;
use tests::sensor::{Options, own_name};

/// Connections that come and go between two looks at all sockets are told by their end.
#[test]
fn a_short_connection_is_told_by_its_end() {
    let sensor = Options::default().flow("interval", "1h").start();
    let netns = Netns::new();
    let (port, service) = (PORT.to_string(), own_name());
    netns.run(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).expect("listen");
        for _ in 0..10 {
            let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).expect("connect");
            let (mut server, _) = listener.accept().expect("accept");
            client.write_all(&[1; 1000]).expect("send");
            server.read_exact(&mut [0; 1000]).expect("receive");
            server.write_all(&[2; 300]).expect("send");
            client.read_exact(&mut [0; 300]).expect("receive");
        }
    });
    expect(&sensor, &[10, 10, 20], |metrics| {
        ["opened", "accepted", "closed"]
            .map(|what| metrics.count(&format!("tcp_connections_{what}_total"), &of(&service, &port)))
    });
    let [sent, received, ..] = passed(&sensor.metrics(), &service, PORT);
    assert_eq!(sent, 10 * 1_300);
    // The end of each stream is a byte more, where it came before the socket's own end.
    assert!((13_000..=13_020).contains(&received), "{received}");
}

/// An established connection that the other end cuts.
#[test]
fn a_reset_is_told_at_both_ends() {
    let sensor = sensor();
    let netns = Netns::new();
    netns.run(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).expect("listen");
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(&server, sockopt::Linger, &linger).expect("set SO_LINGER");
        drop(server);
        client.read(&mut [0; 1]).expect_err("the connection is reset");
    });
    let (port, service) = (PORT.to_string(), own_name());
    expect(&sensor, &[1, 1, 1, 2], |metrics| {
        let count = |name: &str, label: (&'static str, &'static str)| {
            let [service, port] = of(&service, &port);
            metrics.count(name, &[service, port, label])
        };
        [
            count("tcp_resets_total", ("direction", "sent")),
            count("tcp_resets_total", ("direction", "received")),
            count("tcp_connections_closed_total", ("error_type", "reset")),
            metrics.count("tcp_connections_closed_total", &of(&service, &port)),
        ]
    });
}

/// While the sensor does not read, what has no room is counted by what it was.
#[test]
fn what_has_no_room_is_counted() {
    const CONNECTIONS: u32 = 5_000;
    let sensor = sensor();
    let netns = Netns::new();
    sensor.signal(Signal::SIGSTOP);
    let listener = burst(&netns, CONNECTIONS);
    sensor.signal(Signal::SIGCONT);
    let [told, lost] = expect_all_of(&sensor, CONNECTIONS);
    for what in [told, lost] {
        assert!(what.iter().all(|count| *count > 0), "told {told:?}, lost {lost:?}");
    }
    drop(listener);
}

/// Where no way leads, the attempt never becomes a connection of the kernel's; only the functions or the call tell of it.
#[test]
fn an_attempt_without_a_way_is_told_where_it_can_be_seen() {
    let sensor = sensor();
    let netns = Netns::new();
    let (service, port) = (own_name(), "5204");
    netns.run(|| {
        for address in ["198.51.100.1:5204", "[2001:db8::1]:5204"] {
            let address: SocketAddr = address.parse().expect("an address");
            let error = TcpStream::connect(address).expect_err("there is no way");
            assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
        }
        // By the same process, later: what is told of this one was preceded by what is told of the others.
        let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, 5204)).expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
    let [service, port] = of(&service, port);
    let failed = |metrics: &Metrics, reason: &str| {
        metrics.count("tcp_connections_failed_total", &[service, port, ("error_type", reason)])
    };
    expect(&sensor, &1, |metrics| failed(metrics, "refused"));
    let metrics = sensor.metrics();
    let is_blind = metrics.count("sensor_info", &[("route", "socket")]) == 1;
    assert_eq!(failed(&metrics, "unreachable"), if is_blind { 0 } else { 2 });
}
