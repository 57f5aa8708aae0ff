//! What is inside TLS of .NET, as in `plaintext`: many threads, of which any goes on with any connection, and an OpenSSL that never
//! touches a socket.

use nix::sys::signal::Signal;
use tests::calls::{Calls, Role, calls};
use tests::dotnet::{Https, OpenSsl};
use tests::https::{Certificate, Nginx};
use tests::plaintext::{expect_turns, sensor, told, untold};
use tests::process::{Process, program};

/// The servers are older than the sensor, the client younger.
fn a_hundred_connections(openssl: OpenSsl) {
    let (https, certificate) = (Https::new(openssl), Certificate::new());
    let servers = [https.serve(&certificate), https.serve(&certificate)];
    https.expect_library(&servers[0].0);
    let ports = [servers[0].1, servers[1].1];
    let sensor = sensor();
    let told = told(&https.get(&certificate, "1.1", [100, 4], &ports));
    expect_turns(&sensor, ports, &told);
    assert_eq!(untold(&sensor), Calls::new());
}

#[test]
fn a_hundred_connections_of_openssl_3() {
    a_hundred_connections(OpenSsl::V3);
}

#[test]
fn a_hundred_connections_of_openssl_1_1() {
    a_hundred_connections(OpenSsl::V1_1);
}

/// Each end with another program; HTTP/2 as well.
#[test]
fn curl_and_nginx() {
    let (https, nginx) = (Https::new(OpenSsl::V3), Nginx::start("TLSv1.2 TLSv1.3", "http2"));
    let sensor = sensor();
    let (_server, port) = https.serve(&nginx.certificate);
    let _ = nginx.certificate.get(port, &mut program("curl"), &[], &["/first", "/missing", "/first"]);
    sensor.expect_both(port, &calls(&[("GET /first 200", 2), ("GET /missing 404", 1)]));
    let _ = https.get(&nginx.certificate, "2.0", [1, 3], &[nginx.port]);
    for role in [Role::Server, Role::Client] {
        let spans = sensor.expect_spans(role, nginx.port, 3);
        let seen: Vec<_> = spans
            .iter()
            .map(|span| (span.path().to_owned(), span.attribute("network.protocol.version").to_owned()))
            .collect();
        let expected = [0, 1, 2].map(|turn| (format!("/c/p{}n0t{turn}", nginx.port), "2".to_owned()));
        assert_eq!(seen, expected);
    }
    assert_eq!(untold(&sensor), Calls::new());
}

/// Of a connection that is older than the sensor no hello was seen. Python's end is known by the socket in the call; .NET's is not, and
/// what it hands to OpenSSL is counted: what it reads, and what it writes.
#[test]
fn a_connection_older_than_the_sensor() {
    let (https, certificate) = (Https::new(OpenSsl::V3), Certificate::new());
    let (_server, port) = https.serve(&certificate);
    let script = certificate.script(
        ".py",
        &"import signal, socket, ssl\n\
         signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})\n\
         context = ssl.create_default_context(cafile='DIRECTORY/certificate.pem')\n\
         plain = socket.create_connection(('127.0.0.1', PORT))\n\
         s = context.wrap_socket(plain, server_hostname='shop.test')\n\
         def get(path):\n\
        \x20   s.sendall(f'GET {path} HTTP/1.1\\r\\nHost: shop.test\\r\\n\\r\\n'.encode())\n\
        \x20   answer = b''\n\
        \x20   while not answer.endswith(b'\\r\\n\\r\\n' + str(plain_port).encode()): answer += s.recv(1000)\n\
         plain_port = s.getsockname()[1]\n\
         get('/before')\n\
         print('before', flush=True)\n\
         signal.sigwait({signal.SIGUSR1})\n\
         get('/first')\n"
            .replace("PORT", &port.to_string()),
    );
    let mut python = Process::start(program("python3").arg(script));
    let _ = python.line("before");
    let sensor = sensor();
    python.signal(Signal::SIGUSR1);
    let _ = python.succeed(60);
    let _ = certificate.get(port, &mut program("curl"), &[], &["/missing"]);
    let (first, missing) = (("GET /first 200", 1), ("GET /missing 404", 1));
    sensor.expect(Role::Client, port, &calls(&[first, missing]));
    sensor.expect(Role::Server, port, &calls(&[missing]));
    assert_eq!(untold(&sensor), calls(&[("tls_no_socket", 2)]));
}
