//! Lookups of names: what clients of all kinds ask a real resolver, how long it took, and what came of it.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tests::flows::{PORT, expect};
use tests::metrics::Metrics;
use tests::netns::Netns;
use tests::process::{Process, copy, program, unique};
use tests::resolver::{LARGE, Resolver, delay_one};
use tests::sensor::{Options, Sensor};

const LOOKUPS: &str = "dns_lookup_duration_seconds_count";

/// A sensor, a resolver, and programs under names of their own.
struct Bench {
    sensor: Sensor,
    netns: Netns,
    resolver: Resolver,
    directory: TempDir,
}

impl Bench {
    fn start() -> Self {
        let sensor = Options::default().flow("interval", "1s").flow("dns", "{timeout: 1s}").start();
        let netns = Netns::new();
        let resolver = Resolver::start(&netns);
        Self { sensor, netns, resolver, directory: TempDir::new().expect("make a directory") }
    }

    /// A copy of a program, and its `service_name`.
    fn copy(&self, program: &str) -> (PathBuf, String) {
        let name = unique(program);
        (copy(program, self.directory.path(), &name), name)
    }

    /// Runs a program in the namespace until its end.
    fn run(&self, path: &Path, arguments: &[&str]) -> (bool, String) {
        let mut process = Process::start(self.netns.command(path).args(arguments));
        (process.wait(60).success(), process.stdout())
    }

    /// Runs a script of Python, which must succeed; its `service_name` is the script's.
    fn python(&self, text: &str) -> String {
        let name = unique("lookup") + ".py";
        let script = self.directory.path().join(&name);
        std::fs::write(&script, text).expect("write a script");
        let python = program("python3");
        let (succeeded, said) = self.run(Path::new(python.get_program()), &[&script.to_string_lossy()]);
        assert!(succeeded, "{said}");
        name
    }

    #[track_caller]
    fn expect(&self, service: &str, expected: &[(&str, &str, &str, u64)]) {
        let mut expected: Vec<Row> = expected.iter().map(row).collect();
        expected.sort();
        expect(&self.sensor, &expected, |metrics| lookups(metrics, service));
    }
}

/// Name, response code, error and how often.
type Row = (String, String, String, u64);

fn row((name, code, error, count): &(&str, &str, &str, u64)) -> Row {
    ((*name).to_owned(), (*code).to_owned(), (*error).to_owned(), *count)
}

/// The lookups of a service.
fn lookups(metrics: &Metrics, service: &str) -> Vec<Row> {
    let labels = [("service_name", service)];
    let mut rows: Vec<Row> = metrics
        .select(LOOKUPS, &labels)
        .map(|sample| {
            let [name, code, error] =
                ["dns_question_name", "dns_response_code", "error_type"].map(|label| sample.label(label));
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            let count = sample.value as u64;
            row(&(name, code, error, count))
        })
        .collect();
    rows.sort();
    rows
}

/// Each client has its own way: two questions in one `sendmmsg`, sockets that are connected and not, TCP.
#[test]
fn clients_of_all_kinds_are_told() {
    let bench = Bench::start();
    let (getent, service) = bench.copy("getent");
    let (succeeded, said) = bench.run(&getent, &["ahosts", "known.test"]);
    assert!(succeeded && said.contains("192.0.2.7") && said.contains("2001:db8::7"), "{said}");
    // Both families.
    bench.expect(&service, &[("known.test", "NOERROR", "", 2)]);

    for (transport, arguments) in [("UDP", &["known.test"][..]), ("TCP", &["+tcp", "known.test"][..])] {
        let (dig, service) = bench.copy("dig");
        let (succeeded, said) = bench.run(&dig, arguments);
        assert!(succeeded && said.contains("192.0.2.7"), "{transport}: {said}");
        bench.expect(&service, &[("known.test", "NOERROR", "", 1)]);
    }

    let service = bench.python("import socket; print(socket.getaddrinfo('KNOWN.test', 80, socket.AF_INET))");
    bench.expect(&service, &[("known.test", "NOERROR", "", 1)]);

    // A socket that is never connected, and reads with no address.
    let service = bench.python(
        "import socket\n\
         s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         s.sendto(bytes.fromhex('cafe01000001000000000000056b6e6f776e04746573740000010001'), ('127.0.0.1', 53))\n\
         assert s.recv(512)[:2] == b'\\xca\\xfe'\n",
    );
    bench.expect(&service, &[("known.test", "NOERROR", "", 1)]);
}

#[test]
fn failures_have_their_codes() {
    let bench = Bench::start();
    let (dig, service) = bench.copy("dig");
    for name in ["nosuch.test", "elsewhere.example", "known.test"] {
        assert!(bench.run(&dig, &[name]).0);
    }
    bench.expect(
        &service,
        &[
            ("nosuch.test", "NXDOMAIN", "nxdomain", 1),
            ("elsewhere.example", "REFUSED", "refused", 1),
            ("known.test", "NOERROR", "", 1),
        ],
    );
}

/// An answer that is too long for a datagram is asked for by TCP.
#[test]
fn a_truncated_answer_is_told_apart() {
    let bench = Bench::start();
    let (dig, service) = bench.copy("dig");
    let (_, said) = bench.run(&dig, &["+noedns", LARGE]);
    assert!(said.contains("192.0.2.60"), "{said}");
    bench.expect(&service, &[(LARGE, "NOERROR", "truncated", 1), (LARGE, "NOERROR", "", 1)]);
}

/// What a resolver asks for by its search list fails by design.
#[test]
fn steps_of_a_search_are_told_apart() {
    let bench = Bench::start();
    bench.resolver.configure("nameserver 127.0.0.1\nsearch shop.test svc.test test\noptions ndots:5\n");
    let lookup = |name: &str| {
        // It lives on, as services do: their search list is read while they ask.
        bench.python(&format!(
            "import socket, time\n\
             try: socket.getaddrinfo('{name}', 80, socket.AF_INET)\n\
             except socket.gaierror: pass\n\
             time.sleep(0.3)\n"
        ))
    };
    let service = lookup("known");
    bench.expect(
        &service,
        &[
            ("known.shop.test", "NXDOMAIN", "nxdomain_search", 1),
            ("known.svc.test", "NXDOMAIN", "nxdomain_search", 1),
            ("known.test", "NOERROR", "", 1),
        ],
    );
    let service = lookup("nosuch.example.test");
    bench.expect(
        &service,
        &[
            ("nosuch.example.test.shop.test", "NXDOMAIN", "nxdomain_search", 1),
            ("nosuch.example.test.svc.test", "NXDOMAIN", "nxdomain_search", 1),
            ("nosuch.example.test.test", "NXDOMAIN", "nxdomain_search", 1),
            ("nosuch.example.test", "NXDOMAIN", "nxdomain", 1),
        ],
    );
}

#[test]
fn a_question_without_an_answer_is_counted() {
    let bench = Bench::start();
    let silent = Ipv4Addr::new(127, 0, 0, 9);
    let socket = bench.netns.run(|| UdpSocket::bind((silent, 53)).expect("bind port 53"));
    let (dig, service) = bench.copy("dig");
    let (succeeded, _) = bench.run(&dig, &[&format!("@{silent}"), "+timeout=1", "+tries=1", "known.test"]);
    assert!(!succeeded);
    let labels = [("service_name", &*service), ("dns_question_name", "known.test")];
    expect(&bench.sensor, &1, |metrics| metrics.count("dns_lookups_unanswered_total", &labels));
    assert_eq!(lookups(&bench.sensor.metrics(), &service), []);
    drop(socket);
}

/// The resolver's time is told, neither more than the client waited nor less than the answer was held back.
#[test]
fn durations_are_those_of_the_answers() {
    let bench = Bench::start();
    let slow = Ipv4Addr::new(127, 0, 0, 8);
    let delay = Duration::from_millis(300);
    let (dig, service) = bench.copy("dig");
    let (ready, is_ready) = channel();
    let took = std::thread::scope(|scope| {
        scope.spawn(|| delay_one(&bench.netns, slow, delay, move || ready.send(()).expect("tell")));
        is_ready.recv().expect("the slow resolver starts");
        let started = Instant::now();
        assert!(bench.run(&dig, &[&format!("@{slow}"), "known.test"]).0);
        started.elapsed()
    });
    bench.expect(&service, &[("known.test", "NOERROR", "", 1)]);
    let told = bench.sensor.metrics().sum("dns_lookup_duration_seconds_sum", &[("service_name", &service)]);
    assert!((delay.as_secs_f64()..took.as_secs_f64()).contains(&told), "{told} s of {took:?}");
}

/// A connection has the name that led to it.
#[test]
fn an_answer_names_the_peer() {
    let bench = Bench::start();
    let listener = bench.netns.run(|| TcpListener::bind(("127.0.0.5", PORT)).expect("listen"));
    let service = bench.python(&format!("import socket; socket.create_connection(('web.test', {PORT}))"));
    let labels = [("service_name", &*service), ("peer_dns_name", "web.test")];
    expect(&bench.sensor, &1, |metrics| metrics.count("tcp_connections_opened_total", &labels));
    drop(listener);
}

/// Names are told without what must not leave.
#[test]
fn a_card_number_in_a_name_is_masked() {
    let bench = Bench::start();
    let (dig, service) = bench.copy("dig");
    assert!(bench.run(&dig, &["4111111111111111.test"]).0);
    bench.expect(&service, &[("411111******1111.test", "NXDOMAIN", "nxdomain", 1)]);
}
