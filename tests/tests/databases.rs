//! Databases and brokers are named by what real clients say to them.

use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use tests::flows::{expect, sensor};
use tests::https::Certificate;
use tests::metrics::Metrics;
use tests::netns::Netns;
use tests::process::{Process, copy, copy_file, find, program, unique};
use tests::sensor::Sensor;
use tests::wait::{patience, wait_until};
use tests::{calls::Calls, fixtures};

const POSTGRESQL: &str = "/usr/lib/postgresql/15/bin";
/// Neither server runs as root: `nobody`, and whose files are.
const NOBODY: u32 = 65_534;

/// Labels of connections that a client made, by what it is told to speak.
fn labels<'a>(client: &'a str, port: &'a str, protocol: &'a str) -> [(&'static str, &'a str); 3] {
    [("service_name", client), ("server_port", port), ("network_protocol_name", protocol)]
}

/// Requires that all of a client's connections to a port are told as of this protocol, and that the service graph says of what
/// kind that is.
#[track_caller]
fn expect_named(sensor: &Sensor, client: &str, port: u16, protocol: &str, kind: &str, connections: u64) {
    let port = port.to_string();
    expect(sensor, &[connections, 0], |metrics| {
        let closed =
            |protocol| metrics.count("tcp_connections_closed_total", &labels(client, &port, protocol));
        [closed(protocol), closed("")]
    });
    expect(sensor, &connections, |metrics| {
        metrics.count("traces_service_graph_request_total", &[("client", client), ("connection_type", kind)])
    });
}

/// Handshakes of TLS that a client made.
fn handshakes(metrics: &Metrics, client: &str) -> u64 {
    metrics.count("tls_handshake_duration_seconds_count", &[("service_name", client), ("role", "client")])
}

/// A command that runs as [`NOBODY`].
fn as_nobody(path: &Path) -> Command {
    let mut command = program("setpriv");
    command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()]);
    command.arg(path);
    command
}

/// A directory that is [`NOBODY`]'s.
fn place() -> TempDir {
    let place = TempDir::new().expect("make a directory");
    give(place.path());
    place
}

fn give(path: &Path) {
    std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("give a file away");
}

/// A certificate in a place of [`NOBODY`]'s: the options that say where it is.
fn certificate(place: &Path, options: [&str; 2]) -> Vec<String> {
    let made = Certificate::new();
    let put = |(name, option): (&str, &str)| {
        let path = place.join(name);
        std::fs::copy(made.directory().join(name), &path).expect("copy");
        give(&path);
        option.to_owned() + &path.to_string_lossy()
    };
    ["certificate.pem", "key.pem"].into_iter().zip(options).map(put).collect()
}

fn inside(netns: &Netns, command: &Command) -> Command {
    let mut inside = netns.command(Path::new(command.get_program()));
    inside.args(command.get_args());
    inside
}

/// Without TLS, and where the client asks the server for it first.
#[test]
fn postgresql() {
    const PORT: u16 = 5432;
    let (netns, place) = (Netns::new(), place());
    let data = place.path().join("data");
    let bin = |name: &str| Path::new(POSTGRESQL).join(name);
    let _ = Process::start(as_nobody(&bin("initdb")).args(["--auth=trust", "-U", "shop", "-D"]).arg(&data))
        .succeed(120);
    let sensor = sensor();
    let mut server = as_nobody(&bin("postgres"));
    server.arg("-D").arg(&data).args(["-c", "ssl=on", "-c"]);
    server.arg(format!("unix_socket_directories={}", place.path().display()));
    for option in certificate(place.path(), ["ssl_cert_file=", "ssl_key_file="]) {
        server.args(["-c", &option]);
    }
    let server = Process::start(&mut inside(&netns, &server));
    wait_until("postgres to listen", patience(30), || {
        server.stderr().contains("ready to accept").then_some(())
    });
    // Copies, so that these are their names.
    let clients = TempDir::new().expect("make a directory");
    let client = |mode: &str| {
        let name = unique(mode);
        let path = copy_file(&bin("psql"), &clients.path().join(&name));
        for _ in 0..2 {
            let to = format!("host=127.0.0.1 user=shop dbname=postgres sslmode={mode} gssencmode=disable");
            let mut psql = netns.command(&path);
            let said = Process::start(psql.args(["-d", &to, "-tAc", "select 6 * 7"])).succeed(60);
            assert_eq!(said.trim(), "42");
        }
        name
    };
    let (plain, encrypted) = (client("disable"), client("require"));
    expect_named(&sensor, &plain, PORT, "postgresql", "database", 2);
    expect_named(&sensor, &encrypted, PORT, "postgresql", "database", 2);
    expect(&sensor, &[0, 2], |metrics| [&plain, &encrypted].map(|client| handshakes(metrics, client)));
    assert_eq!(sensor.lost(), Calls::new());
}

/// The server speaks first, and the client may ask for TLS in its answer.
#[test]
fn mysql() {
    const PORT: u16 = 3306;
    let (netns, place) = (Netns::new(), place());
    let data = format!("--datadir={}", place.path().join("data").display());
    let mut install = as_nobody(&find("mariadb-install-db").expect("mariadb-install-db"));
    let install =
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
    let _ = Process::start(install.arg(&data)).succeed(120);
    let sensor = sensor();
    let mut server = as_nobody(Path::new("/usr/sbin/mariadbd"));
    server.args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-grant-tables", "--skip-networking=0"]);
    server.arg(&data).args(certificate(place.path(), ["--ssl-cert=", "--ssl-key="]));
    for (option, name) in [("--socket=", "socket"), ("--pid-file=", "pid")] {
        server.arg(option.to_owned() + &place.path().join(name).to_string_lossy());
    }
    let server = Process::start(&mut inside(&netns, &server));
    wait_until("mariadbd to listen", patience(60), || {
        server.stderr().contains("ready for connections").then_some(())
    });
    let clients = TempDir::new().expect("make a directory");
    let client = |options: &[&str]| {
        let name = unique("mariadb");
        let path = copy("mariadb", clients.path(), &name);
        for _ in 0..2 {
            let mut mariadb = netns.command(&path);
            let mariadb =
                mariadb.args(["--no-defaults", "--protocol=tcp", "--host=127.0.0.1", "-NBe", "select 6 * 7"]);
            assert_eq!(Process::start(mariadb.args(options)).succeed(60).trim(), "42");
        }
        name
    };
    let (plain, encrypted) = (client(&["--skip-ssl"]), client(&["--ssl"]));
    expect_named(&sensor, &plain, PORT, "mysql", "database", 2);
    expect_named(&sensor, &encrypted, PORT, "mysql", "database", 2);
    expect(&sensor, &[0, 2], |metrics| [&plain, &encrypted].map(|client| handshakes(metrics, client)));
    assert_eq!(sensor.lost(), Calls::new());
}

/// What clients of others say first, to a server that only listens: their own cannot be installed as lightly.
#[test]
fn first_words() {
    let netns = Netns::new();
    let directory = TempDir::new().expect("make a directory");
    let is_told = std::env::var_os("NODE_PATH").is_some();
    assert!(is_told, "NODE_PATH must lead to the clients; hint: cargo xtask test installs them");
    let sensor = sensor();
    for (protocol, port, kind) in [
        ("amqp", 5672_u16, "messaging_system"),
        ("kafka", 9092, "messaging_system"),
        ("mongodb", 27_017, "database"),
    ] {
        let listener = netns.run(|| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("listen"));
        let name = unique(protocol) + ".js";
        let script = fixtures::write(directory.path(), "ask.js", &name);
        let mut node = netns.command(Path::new("node"));
        let client = Process::start(node.arg(script).args([protocol, &port.to_string()]));
        let (mut server, _) = listener.accept().expect("accept");
        assert!(server.read(&mut [0; 256]).expect("read") > 0);
        let open = [("server_port", port.to_string())];
        let open = [(open[0].0, &*open[0].1), ("network_protocol_name", protocol)];
        // Both ends are of this host, and both have seen it.
        expect(&sensor, &2, |metrics| metrics.count("tcp_connections_active", &open));
        drop((listener, server));
        let _ = client.succeed(60);
        expect_named(&sensor, &name, port, protocol, kind, 1);
    }
    assert_eq!(sensor.lost(), Calls::new());
}
