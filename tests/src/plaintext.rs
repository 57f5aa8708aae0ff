//! What programs say inside TLS, and on which of a hundred connections: they tell themselves what they asked for, and from which port.

use std::collections::BTreeMap;
use std::process::Command;

use crate::calls::{Calls, Role};
use crate::https::{Certificate, Nginx};
use crate::link::free_port;
use crate::process::Process;
use crate::sensor::{Options, Sensor};
use crate::spans::Span;

/// A sensor that reads what is inside TLS.
#[must_use]
pub fn sensor() -> Sensor {
    Options::default().capture("tls", "true").spans().start()
}

/// What of TLS was not told.
#[must_use]
pub fn untold(sensor: &Sensor) -> Calls {
    let causes = ["tls_no_socket", "tls_unclear", "tls_busy"];
    sensor.lost().into_iter().filter(|(cause, _)| causes.contains(&cause.as_str())).collect()
}

/// By path, the port from which it was asked for.
pub type Told = BTreeMap<String, String>;

/// What a client has printed: a path and a port a line.
#[must_use]
pub fn told(text: &str) -> Told {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(path, port)| (path.to_owned(), port.to_owned()))
        .collect()
}

/// Each path was asked for from the port that the client and the server tell.
///
/// # Panics
/// When that is not so.
#[track_caller]
fn expect_ports(spans: &[Span], told: &Told) {
    let seen: Told =
        spans.iter().map(|span| (span.path().to_owned(), span.attribute("client.port").to_owned())).collect();
    assert_eq!(seen, *told);
}

/// Two servers were asked for 200 pages each: they from the ports that the client tells, and the client each at the port that is in
/// the path, `/c/p<port>n…`.
///
/// # Panics
/// When that is not so.
#[track_caller]
pub fn expect_turns(sensor: &Sensor, ports: [u16; 2], told: &Told) {
    assert_eq!(told.len(), 400);
    let mut served = Vec::new();
    for port in ports {
        served.extend(sensor.expect_spans(Role::Server, port, 200));
        // Its sockets are told apart by where they lead.
        let spans = sensor.expect_spans(Role::Client, port, 200);
        let start = format!("/c/p{port}n");
        assert!(spans.iter().all(|span| span.path().starts_with(&start)), "port {port}: {spans:?}");
    }
    expect_ports(&served, told);
}

/// A hundred threads of this Python, each with a connection to nginx, all at once.
///
/// # Panics
/// When the sensor does not tell just what they did.
#[track_caller]
pub fn expect_python(sensor: &Sensor, server: &Nginx, python: &mut Command) {
    let script = server.script(
        ".py",
        "import http.client, ssl, threading\n\
         context = ssl.create_default_context(cafile='DIRECTORY/certificate.pem')\n\
         context.check_hostname = False\n\
         ready, lines = threading.Barrier(100), []\n\
         def one(number):\n\
        \x20   connection = http.client.HTTPSConnection('127.0.0.1', PORT, context=context, timeout=60)\n\
        \x20   connection.connect()\n\
        \x20   ready.wait()\n\
        \x20   for turn in range(3):\n\
        \x20       path = f'/c/n{number}t{turn}'\n\
        \x20       connection.request('GET', path)\n\
        \x20       port = connection.getresponse().read().decode()\n\
        \x20       assert port == str(connection.sock.getsockname()[1])\n\
        \x20       lines.append(f'{path} {port}')\n\
         threads = [threading.Thread(target=one, args=[number]) for number in range(100)]\n\
         [thread.start() for thread in threads]\n\
         [thread.join() for thread in threads]\n\
         print(*lines, sep='\\n')\n",
    );
    let told = told(&Process::start(python.arg(script)).succeed(120));
    assert_eq!(told.len(), 300);
    expect_ports(&sensor.expect_spans(Role::Server, server.port, 300), &told);
    let _ = sensor.expect_spans(Role::Client, server.port, 300);
}

/// Servers of HTTPS in a Node.js, which answer each request with the client's port.
pub struct Node {
    _process: Process,
    ports: [u16; 2],
    certificate: Certificate,
}

impl Node {
    /// Starts them.
    ///
    /// # Panics
    /// When they do not listen.
    #[track_caller]
    #[must_use]
    pub fn start(node: &mut Command) -> Self {
        let (certificate, ports) = (Certificate::new(), [free_port(), free_port()]);
        let script = certificate.script(
            ".js",
            "const https = require('https'), fs = require('fs');\n\
             const [key, cert] = ['key', 'certificate'].map(name => fs.readFileSync(`DIRECTORY/${name}.pem`));\n\
             let open = process.argv.slice(2).length;\n\
             for (const port of process.argv.slice(2))\n\
             \x20 https.createServer({key, cert, keepAliveTimeout: 60000}, (request, answer) => {\n\
             \x20   if (request.url.startsWith('/missing')) answer.statusCode = 404;\n\
             \x20   answer.end(String(request.socket.remotePort));\n\
             \x20 }).listen(port, '127.0.0.1', () => { if (--open === 0) console.log('listening'); });\n",
        );
        let mut process = Process::start(node.arg(script).args(ports.map(|port| port.to_string())));
        let _ = process.line("listening");
        Self { _process: process, ports, certificate }
    }
}

/// A hundred connections of this Node.js to another's servers, all at once.
///
/// # Panics
/// When the sensor does not tell just what they did.
#[track_caller]
pub fn expect_node(sensor: &Sensor, server: &Node, node: &mut Command) {
    let script = server.certificate.script(
        ".js",
        "const https = require('https'), fs = require('fs');\n\
         const ca = fs.readFileSync('DIRECTORY/certificate.pem'), ports = process.argv.slice(2);\n\
         const agent = new https.Agent({keepAlive: true, maxSockets: 50, ca, servername: 'shop.test'});\n\
         const get = number => new Promise((good, bad) => {\n\
         \x20 const port = ports[number % ports.length], path = `/c/p${port}n${number}`;\n\
         \x20 https.get({host: '127.0.0.1', port, path, agent, servername: 'shop.test'}, answer => {\n\
         \x20   let body = '';\n\
         \x20   answer.on('data', data => body += data);\n\
         \x20   answer.on('end', () => { console.log(path, body); good(); });\n\
         \x20 }).on('error', bad);\n\
         });\n\
         Promise.all([...Array(400).keys()].map(get)).then(() => process.exit(0),\n\
         \x20 error => { console.error(error); process.exit(1); });\n",
    );
    let ports = server.ports.map(|port| port.to_string());
    let told = told(&Process::start(node.arg(script).args(ports)).succeed(120));
    expect_turns(sensor, server.ports, &told);
}
