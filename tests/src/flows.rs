//! What the tests of TCP connections share.

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use nix::sys::socket::{setsockopt, sockopt};

use crate::metrics::Metrics;
use crate::netns::Netns;
use crate::sensor::{Options, SETTLE, Sensor, lost, own_name};
use crate::wait::{patience, wait_for};

/// Below the ports of clients, so that it is a label. Each test has network namespaces of its own.
pub const PORT: u16 = 5201;

/// A sensor that looks at all sockets once a second.
#[track_caller]
#[must_use]
pub fn sensor() -> Sensor {
    Options::default().flow("interval", "1s").start()
}

/// Waits until what a scrape says passes.
///
/// # Panics
/// When it does not, with what it says instead.
#[track_caller]
pub fn expect<T: PartialEq + std::fmt::Debug>(sensor: &Sensor, expected: &T, read: impl Fn(&Metrics) -> T) {
    wait_for(patience(SETTLE), || (read(&sensor.metrics()) == *expected).then_some(()));
    let found = read(&sensor.metrics());
    assert_eq!(found, *expected, "told (left), true (right); lost {:?}", lost(&sensor.metrics()));
}

/// Labels of a service's series at this port of a server.
#[must_use]
pub fn of<'a>(service: &'a str, port: &'a str) -> [(&'static str, &'a str); 2] {
    [("service_name", service), ("server_port", port)]
}

/// Bytes sent and received, segments sent and received, and retransmits of a service, by the sensor.
#[must_use]
pub fn passed(metrics: &Metrics, service: &str, port: u16) -> [u64; 5] {
    let port = port.to_string();
    ["sent_bytes", "received_bytes", "sent_segments", "received_segments", "retransmits"]
        .map(|name| metrics.count(&format!("tcp_{name}_total"), &of(service, &port)))
}

/// Opens and cuts this many connections as fast as one thread can. The listener is left, so that who accepted stays
/// known.
///
/// # Panics
/// When one fails.
#[must_use]
pub fn burst(netns: &Netns, connections: u32) -> TcpListener {
    netns.run(|| {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).expect("listen");
        for i in 0..connections {
            // Each server address has its own set of client ports.
            let address = Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + i % 16);
            let client = TcpStream::connect((address, PORT)).expect("connect");
            let (server, _) = listener.accept().expect("accept");
            let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
            setsockopt(&client, sockopt::Linger, &linger).expect("set SO_LINGER");
            drop((client, server));
        }
        listener
    })
}

/// What happens to a connection.
pub const CHANGES: [&str; 3] = ["opened", "accepted", "closed"];

/// Connections of [`burst`] that were opened, accepted and closed, by the sensor.
#[must_use]
pub fn told(metrics: &Metrics) -> [u64; 3] {
    let (port, service) = (PORT.to_string(), own_name());
    // An end whose beginning was lost has no known owner.
    CHANGES.map(|what| {
        let of_service =
            |service| metrics.count(&format!("tcp_connections_{what}_total"), &of(service, &port));
        of_service(&service) + of_service("")
    })
}

/// The same of those that were lost, here and elsewhere on the host.
#[must_use]
pub fn untold(metrics: &Metrics) -> [u64; 3] {
    CHANGES.map(|what| metrics.count("sensor_lost_total", &[("cause", &format!("flow_ring_full_{what}"))]))
}

/// Waits until everything that happened was told or lost, and requires that no more was told than happened: what
/// was told, and what was lost.
///
/// # Panics
/// When that is not so.
#[track_caller]
pub fn expect_all_of(sensor: &Sensor, connections: u32) -> [[u64; 3]; 2] {
    let all = [1, 1, 2].map(|ends| ends * u64::from(connections));
    let look = || {
        let metrics = sensor.metrics();
        [told(&metrics), untold(&metrics)]
    };
    let is_whole = |[told, lost]: [[u64; 3]; 2]| (0..3).all(|i| told[i] + lost[i] >= all[i]);
    wait_for(patience(SETTLE), || is_whole(look()).then_some(()));
    let found = look();
    let [told, lost] = found;
    eprintln!("{connections} connections: told {told:?}, lost {lost:?}");
    assert!(is_whole(found), "{CHANGES:?}: told {told:?}, lost {lost:?} of {all:?}");
    assert!((0..3).all(|i| told[i] <= all[i]), "{CHANGES:?}: told {told:?} of {all:?}");
    found
}
