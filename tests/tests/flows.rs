//! TCP connections below HTTP: bytes, retransmits, failures and pairs are those of the kernel and of the test.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::socket::Backlog;
use tempfile::TempDir;
use tests::client::curl;
use tests::flows::{PORT, burst, expect, expect_all_of, of, passed, sensor};
use tests::metrics::Metrics;
use tests::netns::{ADDRESSES, Figures, Netns};
use tests::node::Node;
use tests::process::{Process, copy, unique};
use tests::sensor::{Options, SETTLE, lost, own_name};
use tests::server::Server;
use tests::wait::{patience, wait_for, wait_until};

/// The same by ss(8).
fn shown(figures: &Figures) -> [u64; 5] {
    [
        figures.get("bytes_sent") - figures.get("bytes_retrans"),
        figures.get("bytes_received"),
        figures.get("segs_out"),
        figures.get("segs_in"),
        figures.get("retrans"),
    ]
}

/// Copies of nc(1) under names of their own.
struct Nc {
    _directory: TempDir,
    server: PathBuf,
    client: PathBuf,
}

impl Nc {
    fn new() -> Self {
        let directory = TempDir::new().expect("make a directory");
        let [server, client] =
            ["nc-server", "nc-client"].map(|name| copy("nc", directory.path(), &unique(name)));
        Self { _directory: directory, server, client }
    }
}

fn name(path: &Path) -> String {
    path.file_name().expect("a file").to_string_lossy().into_owned()
}

/// Sends `bytes` by nc from the first namespace to the second and leaves the connection open. Before it starts the client it
/// does what is to be done once the server listens.
fn transfer(nc: &Nc, netns: &[Netns; 2], bytes: u64, listening: impl FnOnce(&str)) -> [Process; 2] {
    let port = PORT.to_string();
    let server = Process::start(netns[1].command(&nc.server).args(["-n", "-l", "-v", &port]));
    wait_until("nc to listen", patience(20), || server.stderr().contains("Listening").then_some(()));
    listening(&name(&nc.server));
    let script =
        format!("{{ head -c {bytes} /dev/zero; exec sleep 1000; }} | \"$0\" -n {} {port}", ADDRESSES[1]);
    let mut shell = netns[0].command(Path::new("sh"));
    let client = Process::start(shell.args(["-c", &script]).arg(&nc.client).stdin(Stdio::null()));
    wait_until("all bytes to arrive", patience(60), || {
        (std::fs::metadata(server.stdout_path()).ok()?.len() == bytes).then_some(())
    });
    [client, server]
}

/// A connection is told while it lives, by exactly what ss shows, and at its end each byte was told once.
#[track_caller]
fn told_as_the_kernel_has_it(bytes: u64, rule: Option<&str>) -> u64 {
    let sensor = sensor();
    let netns = Netns::pair();
    if let Some(rule) = rule {
        netns[1].incoming(rule);
    }
    let nc = Nc::new();
    let (client, server) = (name(&nc.client), name(&nc.server));
    let both = |metrics: &Metrics| [&client, &server].map(|service| passed(metrics, service, PORT));
    let [sending, receiving] = transfer(&nc, &netns, bytes, |server| {
        // Once its listener is known, the addresses of its namespace are.
        expect(&sensor, &1, |metrics| metrics.count("tcp_listen_queue_limit", &[("service_name", server)]));
    });
    // ss is asked last: where both are the same, nothing has moved since the sensor's look.
    let look = || (both(&sensor.metrics()), netns.each_ref().map(|netns| shown(&netns.ss(PORT))));
    wait_for(patience(SETTLE), || {
        let (told, figures) = look();
        (told == figures && [told[0][0], told[1][1]] == [bytes, bytes]).then_some(())
    });
    let (told, figures) = look();
    assert_eq!(told, figures, "told (left), shown by ss (right)");
    assert_eq!([told[0][0], told[1][1]], [bytes, bytes]);
    let active = |metrics: &Metrics| {
        [&client, &server].map(|name| metrics.count("tcp_connections_active", &[("service_name", name)]))
    };
    assert_eq!(active(&sensor.metrics()), [1, 1]);

    drop(sending);
    drop(receiving);
    expect(&sensor, &[0, 0], active);
    let metrics = sensor.metrics();
    let [sent, received] = both(&metrics);
    // The kernel counts the end of the stream as a byte received.
    assert_eq!([sent[0], received[0]], [bytes, 0]);
    assert!((bytes..=bytes + 1).contains(&received[1]), "{received:?}");
    assert!(sent[4] >= figures[0][4], "{sent:?}");
    let peer = |service: &str, peer: &str, what: &str| {
        let labels = [("service_name", service), ("peer_service_name", peer), ("peer_network", "pod")];
        metrics.count(&format!("tcp_connections_{what}_total"), &labels)
    };
    assert_eq!([peer(&client, &server, "opened"), peer(&server, &client, "accepted")], [1, 1]);
    assert_eq!([peer(&client, &server, "closed"), peer(&server, &client, "closed")], [1, 1]);
    let connects = metrics.count("tcp_connect_duration_seconds_count", &[("service_name", &client)]);
    assert_eq!(connects, 1);
    figures[0][4]
}

#[test]
fn bytes_are_those_of_the_kernel() {
    told_as_the_kernel_has_it(10_000_000, None);
}

#[test]
fn retransmits_are_those_of_the_kernel() {
    // Every hundredth packet that comes in is lost. netem would do as well, but not every kernel has it.
    let lost = told_as_the_kernel_has_it(20_000_000, Some("numgen inc mod 100 0 drop"));
    assert!(lost > 0, "nothing was lost on the way");
}

/// IPv6 and an IPv4 client of an IPv6 listener.
#[test]
fn both_families_are_told() {
    let sensor = sensor();
    let netns = Netns::new();
    let listener: SocketAddr = format!("[::]:{PORT}").parse().expect("an address");
    netns.run(|| {
        let listener = TcpListener::bind(listener).expect("listen");
        for address in ["127.0.0.1", "::1"] {
            let to = (address.parse::<IpAddr>().expect("an address"), PORT);
            let client = TcpStream::connect(to).expect("connect");
            drop((client, listener.accept().expect("accept")));
        }
    });
    let (port, service) = (PORT.to_string(), own_name());
    expect(&sensor, &[2, 2, 4], |metrics| {
        let labels = [("service_name", &*service), ("peer_service_name", &*service), ("server_port", &*port)];
        ["opened", "accepted", "closed"]
            .map(|what| metrics.count(&format!("tcp_connections_{what}_total"), &labels))
    });
}

/// Each way to fail has a reason of its own.
#[test]
fn failures_have_their_reasons() {
    let sensor = sensor();
    let netns = Netns::pair();
    // One more try after a second: the kernel gives up after three.
    netns[0].set("ipv4/tcp_syn_retries", "1");
    netns[1].incoming("tcp dport 5203 drop");
    let other = |port: u16| SocketAddr::from((ADDRESSES[1].parse::<Ipv4Addr>().expect("an address"), port));
    let service = own_name();
    let failed = |metrics: &Metrics, port: u16| -> Vec<(String, u64)> {
        let port = port.to_string();
        let labels = of(&service, &port);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter")]
        metrics
            .select("tcp_connections_failed_total", &labels)
            .map(|sample| (sample.label("error_type").to_owned(), sample.value as u64))
            .collect()
    };
    let error = |address: SocketAddr| {
        netns[0].run(|| TcpStream::connect(address).expect_err("the connection fails").kind())
    };
    use std::io::ErrorKind;
    assert_eq!(error(other(5202)), ErrorKind::ConnectionRefused);
    expect(&sensor, &vec![("refused".to_owned(), 1)], |metrics| failed(metrics, 5202));
    assert_eq!(error(other(5203)), ErrorKind::TimedOut);
    expect(&sensor, &vec![("timeout".to_owned(), 1)], |metrics| failed(metrics, 5203));
    // Nobody has this address, which the kernel finds out after three seconds.
    netns[0].set("ipv4/tcp_syn_retries", "6");
    assert_eq!(error("10.99.0.77:5204".parse().expect("an address")), ErrorKind::HostUnreachable);
    expect(&sensor, &vec![("unreachable".to_owned(), 1)], |metrics| failed(metrics, 5204));
}

/// A listener that does not accept.
#[test]
fn a_full_queue_is_told() {
    let sensor = sensor();
    let netns = Netns::new();
    netns.set("ipv4/tcp_syn_retries", "1");
    let (port, service) = (PORT.to_string(), own_name());
    let open = netns.run(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).expect("listen");
        nix::sys::socket::listen(&listener, Backlog::new(1).expect("a backlog")).expect("listen");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
        // The queue holds one more than its limit.
        let waiting = [0; 2].map(|_| TcpStream::connect(address).expect("connect"));
        let refused = TcpStream::connect_timeout(&address, Duration::from_secs(1));
        refused.expect_err("there is no room");
        (listener, waiting)
    });
    expect(&sensor, &[2, 1, 1], |metrics| {
        let overflows = metrics.count("tcp_listen_overflows_total", &of(&service, &port));
        [
            metrics.count("tcp_listen_queue_depth", &of(&service, &port)),
            metrics.count("tcp_listen_queue_limit", &of(&service, &port)),
            u64::from(overflows > 0),
        ]
    });
    drop(open);
}

/// 50 000 connections as fast as one thread can make them: counted, or counted as lost.
#[test]
fn a_burst_is_counted() {
    const CONNECTIONS: u32 = 50_000;
    let sensor = sensor();
    let netns = Netns::new();
    let listener = burst(&netns, CONNECTIONS);
    expect_all_of(&sensor, CONNECTIONS);
    drop(listener);
}

/// Many open connections that do nothing cost little.
#[test]
fn idle_connections_cost_little() {
    const CONNECTIONS: usize = 10_000;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("read a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("allow more open files");
    let sensor = sensor();
    let netns = Netns::new();
    netns.set("core/somaxconn", "20000");
    let open = netns.run(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).expect("listen");
        // They wait in the queue of the listener, so that this process needs one file for each and not two.
        nix::sys::socket::listen(&listener, Backlog::MAXALLOWABLE).expect("listen");
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).expect("connect");
        let open: Vec<TcpStream> = std::iter::repeat_with(connect).take(CONNECTIONS).collect();
        (listener, open)
    });
    let (port, service) = (PORT.to_string(), own_name());
    let active = |metrics: &Metrics| metrics.count("tcp_connections_active", &of(&service, &port));
    expect(&sensor, &(2 * CONNECTIONS as u64), active);
    let costs: Vec<f64> = (0..3)
        .map(|_| {
            let look = |metrics: &Metrics| metrics.sum("sensor_flow_interval_cpu_seconds", &[]);
            let before = look(&sensor.metrics());
            wait_until("another look at all sockets", patience(SETTLE), || {
                let metrics = sensor.metrics();
                let all = metrics.count("sensor_flow_sockets", &[]) >= 2 * CONNECTIONS as u64;
                let now = look(&metrics);
                (all && now != before).then_some(now)
            })
        })
        .collect();
    let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
    eprintln!("processor time of looks at {} sockets: {costs:?}", 2 * CONNECTIONS);
    // 100 ms for 10 000 connections, both ends of which are here; a debug build takes several times of that.
    let bound = 0.2 * if cfg!(debug_assertions) { 5.0 } else { 1.0 } * patience(1).as_secs_f64();
    assert!(least < bound, "{costs:?} s");
    drop(open);
}

/// Many connections through the address of a Service are older than the sensor: all of them are asked for with the first look,
/// and have both their ends.
#[test]
fn translated_connections_cost_little() {
    const CONNECTIONS: usize = 10_000;
    const SERVICE: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 96, 0, 10), 80);
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("read a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("allow more open files");
    let mut node = Node::new();
    let [front, back] = [node.pod(), node.pod()];
    back.set("core/somaxconn", "20000");
    let server = SocketAddr::new(Node::address(1)[0].parse().expect("an address"), PORT);
    node.translate(SERVICE.into(), server, true);
    let listener = back.run(|| {
        let listener = TcpListener::bind(server).expect("listen");
        nix::sys::socket::listen(&listener, Backlog::MAXALLOWABLE).expect("listen");
        listener
    });
    let open: Vec<TcpStream> = front.run(|| {
        let connect = || TcpStream::connect(SERVICE).expect("connect");
        std::iter::repeat_with(connect).take(CONNECTIONS).collect()
    });
    let sensor = Options::default().flow("interval", "1h").start();
    let (port, service) = (PORT.to_string(), own_name());
    let labels = [&of(&service, &port)[..], &[("peer_network", "pod")]].concat();
    let named = |name: &str| {
        let labels = [&labels[..], &[("peer_service_name", name)]].concat();
        sensor.metrics().count("tcp_connections_active", &labels)
    };
    // Those in the queue of the listener have no owner yet, but that is no client.
    assert_eq!(named(&service), 2 * CONNECTIONS as u64, "{:?}", lost(&sensor.metrics()));
    let cost = sensor.metrics().sum("sensor_flow_interval_cpu_seconds", &[]);
    eprintln!(
        "processor time of the first look at {} sockets with translated addresses: {cost} s",
        2 * CONNECTIONS
    );
    drop((open, listener));
}

/// The service graph has an edge of requests, and one of connections where something else is spoken.
#[test]
fn the_graph_has_its_edges() {
    let sensor = sensor();
    let (name, service) = (unique("graph"), own_name());
    let server = Server::nginx_named(&name);
    for (path, status) in [("/", 200), ("/", 200), ("/fail", 500)] {
        assert_eq!(curl(&[&server.url(path)]), status);
    }
    let edge = |metrics: &Metrics, client: &str| {
        let labels = [("client", client), ("server", &*name)];
        ["total", "failed_total", "client_seconds_count", "server_seconds_count"]
            .map(|part| metrics.count(&format!("traces_service_graph_request_{part}"), &labels))
    };
    expect(&sensor, &[3, 1, 3, 3], |metrics| edge(metrics, "curl"));

    let address = server.url("").trim_start_matches("http://").to_owned();
    let before = edge(&sensor.metrics(), &service);
    for _ in 0..2 {
        drop(TcpStream::connect(&address).expect("connect"));
    }
    // The one that waited for nginx to listen is such a connection as well, and may not have been told before.
    expect(&sensor, &true, |metrics| edge(metrics, &service)[0] >= before[0] + 2);
    let tcp = [("client", &*service), ("server", &*name), ("connection_type", "tcp")];
    let requests = "traces_service_graph_request_total";
    expect(&sensor, &true, |metrics| metrics.count(requests, &tcp) >= 2);
    let metrics = sensor.metrics();
    assert_eq!(
        metrics.count(requests, &[("client", "curl"), ("server", &name), ("connection_type", "tcp")]),
        0
    );
}

/// `sensor flows` needs no running sensor.
#[test]
fn the_table_names_both_ends() {
    let netns = Netns::pair();
    let nc = Nc::new();
    let (client, server) = (name(&nc.client), name(&nc.server));
    let open = transfer(&nc, &netns, 1_000_000, |_| ());
    let mut flows = std::process::Command::new(tests::sensor::binary());
    let text = Process::start(flows.args(["flows", "--sort", "received"])).succeed(60);
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let row = |service: &str| {
        // A long name is cut in its column.
        let found = rows.iter().find(|row| service.starts_with(row[0].trim_end_matches('~')));
        found.unwrap_or_else(|| panic!("no row of {service}:\n{text}")).clone()
    };
    let [local, remote] = [format!("{}:{PORT}", ADDRESSES[1]), ADDRESSES[0].to_owned()];
    let receives = row(&server);
    assert_eq!(receives[2], local, "{text}");
    assert!(receives[3].starts_with(&remote), "{text}");
    assert!(client.starts_with(receives[1].trim_end_matches('~')), "{text}");
    assert_eq!(receives[5], "977K", "{text}");
    assert!(server.starts_with(row(&client)[1].trim_end_matches('~')), "{text}");
    drop(open);
}

/// Connections and listeners that are older than the sensor are known by who holds them.
#[test]
fn what_is_older_than_the_sensor_is_known() {
    let netns = Netns::pair();
    let nc = Nc::new();
    let (client, server) = (name(&nc.client), name(&nc.server));
    let [sending, receiving] = transfer(&nc, &netns, 1_000_000, |_| ());
    let sensor = sensor();
    let port = PORT.to_string();
    let active = |metrics: &Metrics| {
        [&client, &server].map(|name| metrics.count("tcp_connections_active", &[("service_name", name)]))
    };
    expect(&sensor, &[1, 1], active);
    let metrics = sensor.metrics();
    assert_eq!(metrics.count("tcp_sent_bytes_total", &[("service_name", &client)]), 0, "that was before");
    assert_eq!(metrics.count("tcp_connections_opened_total", &of(&client, &port)), 0);
    sending.signal(Signal::SIGKILL);
    drop((sending, receiving));
    expect(&sensor, &[0, 0], active);
}
