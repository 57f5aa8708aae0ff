use std::time::Duration;

use super::super::diag::{Listening as ListeningSocket, Sockets};
use super::super::namespace::Namespace;
use super::*;
use crate::metric::graph::graph;
use crate::metric::{Sample, Source as _};
use crate::protocol::Task;

mod translated;

const NETNS: u32 = 1;

/// Process 1 is `web`, 2 is `client`, 3 is left alone.
struct Fixed;

impl Names for Fixed {
    fn service(&mut self, tgid: u32, _comm: Option<[u8; 16]>) -> Option<Service> {
        match tgid {
            1 => Some("web".into()),
            2 => Some("client".into()),
            3 => Some("alone".into()),
            _ => None,
        }
    }

    fn is_wanted(&self, service: Option<&Service>) -> bool {
        service.is_none_or(|service| &**service != "alone")
    }

    fn other_end(&mut self, _: View) -> Option<View> {
        None
    }

    fn peer(&self, _: IpAddr, _: u64) -> Option<Arc<Peer>> {
        None
    }

    fn zone(&self) -> Arc<str> {
        Arc::default()
    }
}

fn places() -> Places {
    Places::new(Some(NETNS), crate::config::Networks::default(), 100)
}

struct Bench {
    table: Table,
    metrics: FlowMetrics,
}

impl Bench {
    fn new() -> Self {
        let config = TableConfig { max_connections: 3 };
        Self { table: Table::new(config, places()), metrics: FlowMetrics::new(100) }
    }

    fn event(&mut self, event: Event) {
        self.table.event(&event, &mut Fixed, &mut self.metrics);
    }

    fn look(&mut self, started_ns: u64, connected: Vec<Connected>) {
        self.look_at(started_ns, connected, Vec::new());
    }

    fn look_at(&mut self, started_ns: u64, connected: Vec<Connected>, listening: Vec<ListeningSocket>) {
        let sockets = Sockets { connected, listening };
        let dump = Dump {
            started_ns,
            namespaces: vec![Namespace { inode: NETNS, sockets, addresses: Vec::new() }],
            failed: 0,
            holders: Some([(77, vec![2]), (78, vec![1])].into()),
            conntrack: None,
            cpu: Duration::ZERO,
        };
        self.table.apply(&dump, &mut Fixed, &mut self.metrics, started_ns);
    }

    /// Services with those at the other end.
    fn pairs(&self) -> Vec<[String; 2]> {
        let source = self.metrics.sources()[0];
        (0..source.slots())
            .filter_map(|slot| source.read(2, slot))
            .map(|(labels, _)| ["service_name", "peer_service_name"].map(|name| labels.get(name).to_owned()))
            .collect()
    }

    /// The sum of a metric over the series of a service.
    fn sum(&self, name: &str, service: &str) -> f64 {
        self.sum_of(name, "service_name", service)
    }

    /// The same over those with this label.
    fn sum_of(&self, name: &str, label: &str, value: &str) -> f64 {
        let mut sum = 0.0;
        for source in self.metrics.sources() {
            for (number, family) in
                source.families().iter().enumerate().filter(|(_, family)| family.name == name)
            {
                assert_eq!(family.name, name);
                for slot in 0..source.slots() {
                    match source.read(number, slot) {
                        Some((labels, Sample::Counter(sample) | Sample::Gauge(sample)))
                            if labels.get(label) == value =>
                        {
                            sum += sample;
                        }
                        _ => {}
                    }
                }
            }
        }
        sum
    }
}

fn ends(port: u16) -> Ends {
    Ends { netns: NETNS, local: ([127, 0, 0, 1], port).into(), remote: ([127, 0, 0, 1], 80).into() }
}

/// The pairs of [`ends`] and of the other end.
fn both_ends() -> [[String; 2]; 2] {
    [["client", "web"], ["web", "client"]].map(|pair| pair.map(str::to_owned))
}

fn event(what: What, ends: Ends, time_ns: u64) -> Event {
    Event {
        what,
        time_ns,
        started_ns: None,
        error: 0,
        totals: Totals::default(),
        task: None,
        ends,
        cookie: None,
    }
}

fn by(tgid: u32) -> Option<Task> {
    Some(Task { tgid, tid: tgid, comm: [0; 16] })
}

fn sent(bytes: u64) -> Totals {
    Totals { sent_bytes: bytes, ..Totals::default() }
}

fn socket(ends: Ends, cookie: u64, totals: Totals) -> Connected {
    Connected { local: ends.local, remote: ends.remote, cookie, inode: 77, totals }
}

#[test]
fn each_byte_is_told_once_by_both_sources() {
    let mut bench = Bench::new();
    let opened = Event { started_ns: Some(5), task: by(2), ..event(What::Opened, ends(1000), 10) };
    bench.event(opened);
    bench.look(20, vec![socket(ends(1000), 9, sent(100))]);
    bench.look(30, vec![socket(ends(1000), 9, sent(150))]);
    assert_eq!(bench.sum("tcp_sent_bytes_total", "client"), 150.0);
    assert_eq!(bench.sum("tcp_connections_active", "client"), 1.0);
    bench.event(Event { totals: sent(180), cookie: Some(9), ..event(What::Closed, ends(1000), 40) });
    // A look that began before the end still has it.
    bench.look(35, vec![socket(ends(1000), 9, sent(170))]);
    assert_eq!(bench.sum("tcp_sent_bytes_total", "client"), 180.0);
    assert_eq!(bench.sum("tcp_connections_active", "client"), 0.0);
    assert_eq!(bench.sum("tcp_connections_opened_total", "client"), 1.0);
    assert_eq!(bench.sum("tcp_connections_closed_total", "client"), 1.0);
    assert!(bench.table.is_empty());
}

#[test]
fn what_passed_before_the_sensor_is_not_told() {
    let mut bench = Bench::new();
    bench.look(10, vec![socket(ends(1000), 9, sent(1000))]);
    assert_eq!(bench.sum("tcp_sent_bytes_total", "client"), 0.0);
    assert_eq!(bench.sum("tcp_connections_active", "client"), 1.0, "its owner holds the socket");
    bench.look(20, vec![socket(ends(1000), 9, sent(1100))]);
    assert_eq!(bench.sum("tcp_sent_bytes_total", "client"), 100.0);
    // One whose establishment was lost is newer than the sensor.
    bench.look(30, vec![socket(ends(1000), 9, sent(1100)), socket(ends(1001), 10, sent(7))]);
    assert_eq!(bench.sum("tcp_sent_bytes_total", "client"), 107.0);
    assert_eq!(bench.sum("tcp_connections_opened_total", "client"), 0.0);
}

#[test]
fn both_ends_on_this_host_name_each_other() {
    let mut bench = Bench::new();
    let listen = Ends { netns: NETNS, local: ([0, 0, 0, 0], 80).into(), remote: ([0, 0, 0, 0], 0).into() };
    bench.event(Event { task: by(1), ..event(What::Listen, listen, 1) });
    bench.event(Event { task: by(2), ..event(What::Opened, ends(1000), 10) });
    let other = Ends { netns: NETNS, local: ends(1000).remote, remote: ends(1000).local };
    bench.event(event(What::Accepted, other, 11));
    assert_eq!(bench.pairs(), both_ends());
    assert_eq!(bench.sum("tcp_connections_accepted_total", "web"), 1.0);
}

#[test]
fn what_is_spoken_is_told_from_then_on() {
    let mut bench = Bench::new();
    bench.event(Event { task: by(2), ..event(What::Opened, ends(1000), 10) });
    bench.look(20, vec![socket(ends(1000), 9, sent(100))]);
    let Bench { table, metrics, .. } = &mut bench;
    table.named(&ends(1000), NetworkProtocol::Postgresql, metrics, 25);
    table.named(&ends(1000), NetworkProtocol::Tls, metrics, 26);
    table.named(&ends(1001), NetworkProtocol::Kafka, metrics, 27);
    bench.look(30, vec![socket(ends(1000), 9, sent(150))]);
    let told = |bench: &Bench| {
        ["", "postgresql"].map(|protocol| {
            ["tcp_connections_opened_total", "tcp_connections_active", "tcp_sent_bytes_total"]
                .map(|family| bench.sum_of(family, "network_protocol_name", protocol))
        })
    };
    assert_eq!(told(&bench), [[1.0, 0.0, 100.0], [0.0, 1.0, 50.0]]);
    bench.event(Event { totals: sent(180), ..event(What::Closed, ends(1000), 40) });
    assert_eq!(told(&bench), [[1.0, 0.0, 100.0], [0.0, 0.0, 80.0]]);
    let mut edges = graph(10);
    bench.table.tell_edges(60_000_000_000, &mut edges);
    let labels: Vec<_> = edges.read(0, 0).unwrap().0.iter().collect();
    assert_eq!(labels, [("client", "client"), ("connection_type", "database"), ("server", "node")]);
}

#[test]
fn an_address_that_is_used_again_is_another_connection() {
    let mut bench = Bench::new();
    bench.event(Event { task: by(2), ..event(What::Opened, ends(1000), 10) });
    bench.look(20, vec![socket(ends(1000), 9, sent(100))]);
    // The first one's end was lost.
    bench.event(Event { task: by(2), ..event(What::Opened, ends(1000), 30) });
    // A look that began before the second one has the first one's figures.
    bench.look(25, vec![socket(ends(1000), 9, sent(120))]);
    assert_eq!(bench.sum("tcp_sent_bytes_total", "client"), 100.0);
    bench.look(40, vec![socket(ends(1000), 10, sent(5))]);
    assert_eq!(bench.sum("tcp_sent_bytes_total", "client"), 105.0);
    assert_eq!(bench.sum("tcp_connections_active", "client"), 1.0);
}

#[test]
fn ends_that_are_older_than_the_sensor_name_each_other() {
    let [client, server] =
        [ends(1000), Ends { local: ends(1000).remote, remote: ends(1000).local, ..ends(1000) }];
    let both = [socket(client, 9, sent(100)), Connected { inode: 78, ..socket(server, 10, sent(100)) }];
    let listener =
        ListeningSocket { local: server.local, cookie: 5, inode: 78, queue: 0, queue_limit: 128, drops: 0 };
    for order in [[0, 1], [1, 0]] {
        let mut bench = Bench::new();
        bench.look_at(10, order.map(|end| both[end]).to_vec(), vec![listener]);
        assert_eq!(bench.pairs(), both_ends());
    }
}

#[test]
fn a_hello_names_the_other_end() {
    let mut bench = Bench::new();
    let ends = |port| Ends { remote: ([192, 0, 2, 1], 443).into(), ..ends(port) };
    let open = |bench: &mut Bench, port, time_ns| {
        bench.event(Event { task: by(2), ..event(What::Opened, ends(port), time_ns) });
    };
    let named = |bench: &Bench, family: &str| {
        let name =
            bench.metrics.sources()[0].families().iter().position(|known| known.name == family).unwrap();
        let source = bench.metrics.sources()[0];
        let of = |(labels, sample): (&crate::metric::Labels, Sample<'_>)| match sample {
            Sample::Counter(value) | Sample::Gauge(value) => (labels.get("peer_dns_name").to_owned(), value),
            Sample::Histogram(_) => unreachable!(),
        };
        (0..source.slots()).filter_map(|slot| source.read(name, slot)).map(of).collect::<Vec<_>>()
    };
    open(&mut bench, 1000, 10);
    bench.table.hello(&ends(1000), &"shop.test".into(), 2, &mut bench.metrics, 11);
    open(&mut bench, 1001, 12);
    let all = |unnamed, named| vec![(String::new(), unnamed), ("shop.test".to_owned(), named)];
    // The first was counted before its hello was seen.
    assert_eq!(named(&bench, "tcp_connections_opened_total"), all(1.0, 1.0));
    assert_eq!(named(&bench, "tcp_connections_active"), all(0.0, 2.0));
}

#[test]
fn what_is_gone_without_an_end_is_active_no_more() {
    let mut bench = Bench::new();
    bench.event(Event { task: by(2), ..event(What::Opened, ends(1000), 10) });
    bench.look(20, Vec::new());
    assert_eq!(bench.sum("tcp_connections_active", "client"), 0.0);
    assert_eq!(bench.sum("tcp_connections_closed_total", "client"), 0.0, "the end is told by its loss");
}

#[test]
fn beyond_the_limit_a_connection_is_told_at_its_end() {
    let mut bench = Bench::new();
    for port in 1000..1005 {
        bench.event(Event { task: by(2), ..event(What::Opened, ends(port), 10) });
    }
    assert_eq!((bench.table.len(), bench.table.losses().table_full), (3, 2));
    assert_eq!(bench.sum("tcp_connections_opened_total", "client"), 5.0);
    bench.event(Event { totals: sent(3), ..event(What::Closed, ends(1004), 20) });
    assert_eq!(bench.sum("tcp_sent_bytes_total", ""), 3.0);
}

#[test]
fn failures_and_resets_are_told_with_their_pair() {
    let mut bench = Bench::new();
    let failed = |error| Event { error, task: by(2), ..event(What::Failed, ends(1000), 10) };
    bench.event(failed(libc::ECONNREFUSED));
    bench.event(failed(0));
    assert_eq!(bench.sum("tcp_connections_failed_total", "client"), 2.0);
    bench.event(Event { task: by(2), ..event(What::Opened, ends(1000), 10) });
    bench.event(event(What::Closed, ends(1000), 20));
    // A connection that is closed with unread data sends its reset after that.
    bench.event(event(What::ResetSent, ends(1000), 21));
    assert_eq!(bench.sum("tcp_resets_total", "client"), 1.0);
}

#[test]
fn services_that_are_left_alone_are_not_told() {
    let mut bench = Bench::new();
    bench.event(Event { task: by(3), ..event(What::Opened, ends(1000), 10) });
    bench.event(Event { totals: sent(3), ..event(What::Closed, ends(1000), 20) });
    for service in ["alone", ""] {
        assert_eq!(bench.sum("tcp_connections_opened_total", service), 0.0);
        assert_eq!(bench.sum("tcp_sent_bytes_total", service), 0.0);
    }
}

#[test]
fn listeners_tell_their_queue_and_what_they_dropped() {
    let mut bench = Bench::new();
    let listening = |drops, queue| ListeningSocket {
        local: ([0, 0, 0, 0], 80).into(),
        cookie: 5,
        inode: 77,
        queue,
        queue_limit: 128,
        drops,
    };
    bench.look_at(10, Vec::new(), vec![listening(3, 0)]);
    bench.look_at(20, Vec::new(), vec![listening(5, 128)]);
    assert_eq!(bench.sum("tcp_listen_overflows_total", "client"), 2.0);
    assert_eq!(bench.sum("tcp_listen_queue_depth", "client"), 128.0);
    assert_eq!(bench.sum("tcp_listen_queue_limit", "client"), 128.0);
    bench.look_at(30, Vec::new(), Vec::new());
    assert_eq!(bench.sum("tcp_listen_queue_depth", "client"), 0.0);
    assert_eq!(bench.sum("tcp_listen_overflows_total", "client"), 2.0);
}

#[test]
fn a_connection_without_an_exchange_is_an_edge() {
    let mut bench = Bench::new();
    let mut edges = graph(10);
    for port in [1000, 1001] {
        bench.event(Event { task: by(2), ..event(What::Opened, ends(port), 10) });
        bench.event(event(What::Closed, ends(port), 20));
    }
    bench.event(Event { error: libc::ECONNREFUSED, task: by(2), ..event(What::Failed, ends(1002), 30) });
    // One of them is told to have carried an exchange, after its end.
    assert!(
        bench.table.used(&ends(1001), Role::Client, || "client".into(), At::the(0), &mut Fixed).is_some()
    );
    bench.table.tell_edges(1_000_000_000, &mut edges);
    assert!(edges.is_empty(), "exchanges may still come");
    bench.table.tell_edges(10_000_000_000, &mut edges);
    let (labels, requests) = edges.read(0, 0).unwrap();
    assert_eq!(requests, Sample::Counter(2.0));
    assert_eq!(edges.read(1, 0).unwrap().1, Sample::Counter(1.0));
    let labels: Vec<_> = labels.iter().collect();
    assert_eq!(labels, [("client", "client"), ("connection_type", "tcp"), ("server", "node")]);
}
