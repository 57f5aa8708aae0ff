//! TLS seen from outside: what hellos say, how long handshakes took, and that nothing else is made of what is encrypted.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use tests::calls::{Calls, Role, calls};
use tests::flows::expect;
use tests::https::Nginx;
use tests::metrics::Metrics;
use tests::netns::Netns;
use tests::process::{Process, copy, program, unique};
use tests::sensor::{Options, Sensor, lost, own_name};
use tests::wait::{patience, wait_until};

const DURATION: &str = "tls_handshake_duration_seconds";

/// A copy of curl that asks for a page of a server, and its `service_name`.
fn asked(server: &Nginx, arguments: &[&str]) -> (Process, String) {
    let name = unique("curl");
    let mut command = Command::new(copy("curl", server.certificate.directory(), &name));
    (Process::start(server.reach(&mut command).args(arguments).arg("https://shop.test/")), name)
}

/// A script in a file of its own, and its `service_name`.
fn script_for(server: &Nginx, end: &str, text: &str) -> (PathBuf, String) {
    let path = server.script(end, text);
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    (path, name)
}

/// A server of the internet, by its address: what a connection to it asks for is what it is called, where no lookup has said so,
/// as long as there is room for names.
#[test]
fn hellos_name_what_no_lookup_has() {
    const ADDRESSES: [&str; 2] = ["198.51.100.7", "198.51.100.8"];
    let netns = Netns::new();
    // All of that network is here, but on no interface.
    netns.ip("route add local 198.51.100.0/24 dev lo");
    let server = Nginx::start_in(&netns);
    let [long, short] = ["openssl", "curl"].map(|program| {
        let name = unique(program);
        (copy(program, server.certificate.directory(), &name), name)
    });
    let options = Options::default().processes(&[&long.1, &short.1]);
    let sensor = options.flow("interval", "1s").flow("dns", "{max_names: 1}").start();
    let port = server.port.to_string();
    let open = |address: &str, name: &str| {
        let mut command = netns.command(&long.0);
        let to = format!("{address}:{port}");
        Process::start(command.args(["s_client", "-quiet", "-connect", &to, "-servername", name]))
    };
    let first = open(ADDRESSES[0], "shop.test");
    expect(&sensor, &1, |metrics| {
        let labels =
            [("service_name", &*long.1), ("peer_dns_name", "shop.test"), ("peer_network", "internet")];
        metrics.count("tcp_connections_active", &labels)
    });
    // Another process of the same address, and one whose name finds no room.
    let mut command = netns.command(&short.0);
    let resolve = format!("shop.test:{port}:{}", ADDRESSES[0]);
    command.args(["-sSk", "--noproxy", "*", "--resolve", &resolve, &format!("https://shop.test:{port}/")]);
    let _ = Process::start(&mut command).succeed(30);
    let other = open(ADDRESSES[1], "bank.test");
    expect(&sensor, &1, |metrics| {
        let labels = [("service_name", &*long.1), ("tls_client_server_name", "bank.test")];
        metrics.count(&format!("{DURATION}_count"), &labels)
    });
    drop((first, other));
    expect(&sensor, &[1, 1, 1], |metrics| {
        let closed = |service: &str, name: &str| {
            let labels = [("service_name", service), ("peer_network", "internet"), ("peer_dns_name", name)];
            metrics.count("tcp_connections_closed_total", &labels)
        };
        [closed(&long.1, "shop.test"), closed(&long.1, ""), closed(&short.1, "shop.test")]
    });
    // One to where another process's hello went has the name from the start.
    let labels = [("service_name", &*short.1), ("peer_dns_name", "shop.test")];
    assert_eq!(sensor.metrics().count("tcp_connections_opened_total", &labels), 1);
    expect(&sensor, &[1, 1], |metrics| {
        ["shop.test", "internet"].map(|name| {
            let labels = [("client", &*long.1), ("server", name), ("connection_type", "tcp")];
            metrics.count("traces_service_graph_request_total", &labels)
        })
    });
}

/// Role, name, version, protocol inside, error, and how often.
type Row = (String, String, String, String, String, u64);

fn row(role: &str, name: &str, version: &str, protocol: &str, error: &str, count: u64) -> Row {
    (role.into(), name.into(), version.into(), protocol.into(), error.into(), count)
}

/// The handshakes of a service.
fn handshakes(metrics: &Metrics, service: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = metrics
        .select(&format!("{DURATION}_count"), &[("service_name", service)])
        .map(|sample| {
            let [role, name, version, protocol, error] =
                ["role", "tls_client_server_name", "tls_protocol_version", "tls_next_protocol", "error_type"]
                    .map(|label| sample.label(label));
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            let count = sample.value as u64;
            row(role, name, version, protocol, error, count)
        })
        .collect();
    rows.sort();
    rows
}

/// What of TLS was not told.
fn untold(metrics: &Metrics) -> Calls {
    lost(metrics).into_iter().filter(|(cause, _)| cause.starts_with("tls_")).collect()
}

/// What the spans of a service's handshakes say, and how often each.
fn spans(sensor: &Sensor, service: &str) -> Vec<Row> {
    let mut counts: BTreeMap<[String; 5], u64> = BTreeMap::new();
    for span in sensor.spans().iter().filter(|span| span.service == service && span.name == "TLS handshake") {
        let is_client = span.attribute("client.address").is_empty();
        let told = ["tls.client.server_name", "tls.protocol.version", "tls.next_protocol", "error.type"]
            .map(|name| span.attribute(name).to_owned());
        let [name, version, protocol, error] = told;
        assert_eq!(span.attribute("tls.established"), error.is_empty().to_string(), "{span:?}");
        assert_eq!(span.attribute("server.address"), "shop.test", "{span:?}");
        // Internal, a trace of its own, and of some length.
        assert_eq!((span.kind, span.parent_id.as_str()), (1, ""), "{span:?}");
        assert!(span.end_ns > span.start_ns, "{span:?}");
        let role = if is_client { "client" } else { "server" };
        *counts.entry([role.to_owned(), name, version, protocol, error]).or_default() += 1;
    }
    let rows = counts
        .into_iter()
        .map(|([role, name, version, protocol, error], count)| (role, name, version, protocol, error, count));
    rows.collect()
}

#[test]
fn names_and_versions() {
    let sensor = Sensor::start();
    let server = Nginx::start("TLSv1.2 TLSv1.3", "");
    let known = server.certificate.path();
    let known = ["--cacert", known.to_str().expect("a path")];
    let begun = Instant::now();
    for (most, protocol) in [("1.2", "http/1.1"), ("1.3", "")] {
        let (curl, service) = asked(&server, &[&known[..], &["--tls-max", most]].concat());
        assert!(curl.succeed(60).parse::<u16>().is_ok(), "the client's port");
        expect(&sensor, &vec![row("client", "shop.test", most, protocol, "", 1)], |metrics| {
            handshakes(metrics, &service)
        });
    }
    // A handshake is a part of what happened meanwhile.
    let took = sensor.metrics().sum(&format!("{DURATION}_sum"), &[("service_name", &server.name)]);
    assert!(took > 0.0 && took < begun.elapsed().as_secs_f64(), "{took} s");

    let (script, python) = script_for(
        &server,
        ".py",
        "import socket, ssl\n\
         context = ssl.create_default_context(cafile='DIRECTORY/certificate.pem')\n\
         for _ in range(20):\n\
        \x20   with socket.create_connection(('127.0.0.1', PORT)) as plain:\n\
        \x20       with context.wrap_socket(plain, server_hostname='shop.test') as s:\n\
        \x20           s.sendall(b'GET / HTTP/1.1\\r\\nHost: shop.test\\r\\nConnection: close\\r\\n\\r\\n')\n\
        \x20           while s.recv(9000): pass\n",
    );
    let _ = Process::start(program("python3").arg(script)).succeed(60);
    // Each on a connection of its own; sessions may be taken up again.
    let (script, node) = script_for(
        &server,
        ".js",
        "const https = require('https');\n\
         const ca = require('fs').readFileSync('DIRECTORY/certificate.pem');\n\
         const get = () => new Promise((good, bad) => https.get(\n\
           {host: '127.0.0.1', port: PORT, servername: 'shop.test', ca, agent: false},\n\
           answer => answer.on('end', good).resume()).on('error', bad));\n\
         Promise.all([...Array(20)].map(get)).catch(error => { console.error(error); process.exit(1); });\n",
    );
    let _ = Process::start(program("node").arg(script)).succeed(60);
    for service in [python, node] {
        expect(&sensor, &vec![row("client", "shop.test", "1.3", "", "", 20)], |metrics| {
            handshakes(metrics, &service)
        });
    }
    let expected = vec![
        row("server", "shop.test", "1.2", "http/1.1", "", 1),
        row("server", "shop.test", "1.3", "", "", 41),
    ];
    expect(&sensor, &expected, |metrics| handshakes(metrics, &server.name));
    expect(&sensor, &expected, |_| spans(&sensor, &server.name));
    // Not one of the requests in it was seen, and nothing was taken for one.
    let metrics = sensor.metrics();
    for role in [Role::Client, Role::Server] {
        assert_eq!(tests::calls::counted(&metrics, role, server.port), Calls::new());
    }
    assert_eq!(untold(&metrics), Calls::new());
}

#[test]
fn failures() {
    let sensor = Sensor::start();
    let (old, new) = (Nginx::start("TLSv1.2", ""), Nginx::start("TLSv1.3", ""));
    let [of_old, of_new] =
        [&old, &new].map(|server| server.certificate.path().to_string_lossy().into_owned());
    // Its certificate is not known: the client says so, in clear.
    let (mut curl, service) = asked(&old, &["--cacert", &of_new]);
    assert!(!curl.wait(60).success());
    let expected = vec![row("client", "shop.test", "1.2", "http/1.1", "unknown_ca", 1)];
    expect(&sensor, &expected, |metrics| handshakes(metrics, &service));
    let expected = vec![row("server", "shop.test", "1.2", "http/1.1", "unknown_ca", 1)];
    expect(&sensor, &expected, |metrics| handshakes(metrics, &old.name));

    // The same before it has keys.
    let (mut curl, service) = asked(&new, &["--cacert", &of_old]);
    assert!(!curl.wait(60).success());
    expect(&sensor, &vec![row("client", "shop.test", "1.3", "", "unknown_ca", 1)], |metrics| {
        handshakes(metrics, &service)
    });
    // The server says that it does not speak this version.
    let (mut curl, service) = asked(&new, &["--cacert", &of_new, "--tls-max", "1.2"]);
    assert!(!curl.wait(60).success());
    expect(&sensor, &vec![row("client", "shop.test", "", "", "protocol_version", 1)], |metrics| {
        handshakes(metrics, &service)
    });
    let mut expected = vec![
        row("server", "shop.test", "", "", "protocol_version", 1),
        row("server", "shop.test", "1.3", "", "unknown_ca", 1),
    ];
    expected.sort();
    expect(&sensor, &expected, |metrics| handshakes(metrics, &new.name));
    expect(&sensor, &expected, |_| spans(&sensor, &new.name));
    assert_eq!(untold(&sensor.metrics()), Calls::new());
}

/// A record's body can begin like a request: it is none on a connection that began with a hello, nor on one whose
/// first operation that was seen is one record.
#[test]
fn encrypted_bytes_are_no_request() {
    const REQUEST: &[u8] = b"GET /secret HTTP/1.1\r\nHost: a\r\n\r\n";
    const RESPONSE: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
    let sensor = Sensor::start();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
    let port = listener.local_addr().expect("an address").port();
    let exchange = |before: &[&[u8]], is_read_in_two: bool| {
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect");
        let (mut server, _) = listener.accept().expect("accept");
        for bytes in before {
            client.write_all(bytes).expect("send");
            let mut buffer = vec![0; bytes.len()];
            let (first, rest) = buffer.split_at_mut(if is_read_in_two { 5 } else { 0 });
            server.read_exact(first).expect("receive");
            server.read_exact(rest).expect("receive");
        }
        client.write_all(REQUEST).expect("send");
        server.read_exact(&mut [0; REQUEST.len()]).expect("receive");
        server.write_all(RESPONSE).expect("send");
        client.read_exact(&mut [0; RESPONSE.len()]).expect("receive");
    };
    let hello = [&[22, 3, 1, 0, 204, 1, 0, 0, 200, 3, 3][..], &[7; 198]].concat();
    let data = [&[23, 3, 3, 0, 40][..], &[0xd5; 40]].concat();
    for is_read_in_two in [false, true] {
        exchange(&[&hello], is_read_in_two);
        exchange(&[&data], is_read_in_two);
        exchange(&[&hello, &data], is_read_in_two);
    }
    exchange(&[], false);
    sensor.expect_both(port, &calls(&[("GET /secret 204", 1)]));
    // That hello was none.
    let malformed = || untold(&sensor.metrics());
    wait_until("the hellos to be counted", patience(20), || {
        (malformed() == calls(&[("tls_malformed", 8)])).then_some(())
    });
    assert_eq!(handshakes(&sensor.metrics(), &own_name()), Vec::<Row>::new());
}
