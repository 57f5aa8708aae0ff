//! Which processes are observed is the user's choice.

use tests::calls::{Role, calls};
use tests::client::curl;
use tests::logs::Script;
use tests::process::{Process, unique};
use tests::sensor::{Options, own_name};
use tests::server::{Kind, Server};
use tests::wait::{patience, portion, wait_for, wait_until};

/// Only the chosen ones, and their peers are no reason to look at others.
#[test]
fn only_the_chosen() {
    let (chosen, other) = (Server::nginx_named(&unique("chosen")), Server::start(Kind::Python));
    let sensor = Options::default().processes(&[&chosen.name(), &own_name()]).start();
    for server in [&other, &chosen] {
        assert_eq!(curl(&[&server.url("/")]), 200);
    }
    sensor.expect(Role::Server, chosen.port, &calls(&[("GET / 200", 1)]));
    sensor.expect(Role::Client, chosen.port, &calls(&[]));
    sensor.expect(Role::Server, other.port, &calls(&[]));
}

#[test]
fn all_but_the_excluded() {
    let (excluded, other) = (Server::nginx_named(&unique("excluded")), Server::start(Kind::Python));
    let sensor = Options::default().exclude(&[&excluded.name()]).start();
    for server in [&excluded, &other] {
        assert_eq!(curl(&[&server.url("/")]), 200);
    }
    sensor.expect(Role::Server, excluded.port, &calls(&[]));
    sensor.expect(Role::Client, excluded.port, &calls(&[("GET / 200", 1)]));
    sensor.expect(Role::Server, other.port, &calls(&[("GET / 200", 1)]));
}

/// nginx makes its workers at once when it starts; they are observed when it is.
#[test]
fn a_chosen_process_that_starts_later() {
    let name = unique("later");
    let sensor = Options::default().processes(&[&name]).start();
    for _ in 0..5 {
        let server = Server::nginx_named(&name);
        // A process that just started may answer before it is known to be chosen.
        let counted = || sensor.counted(Role::Server, server.port);
        wait_until("a worker to be observed", patience(10), || {
            assert_eq!(curl(&[&server.url("/")]), 200);
            wait_for(patience(1), || (!counted().is_empty()).then_some(()))
        });
        // Both workers are: what is asked now is all counted.
        let before = counted()["GET / 200"];
        let more = portion(50);
        for _ in 0..more {
            assert_eq!(curl(&[&server.url("/")]), 200);
        }
        let all = before + u64::from(more);
        wait_for(patience(10), || (counted()["GET / 200"] >= all).then_some(()));
        assert_eq!(counted(), calls(&[("GET / 200", all)]));
    }
}

/// Serves in other threads than the first, which ends when it is asked to.
const FIRST_THREAD_ENDS: &str = "
import ctypes, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

leave = threading.Event()

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        if self.path == '/leave':
            leave.set()

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
threading.Thread(target=server.serve_forever).start()
print('listening', server.server_port, flush=True)
leave.wait()
ctypes.CDLL(None).pthread_exit(None)
";

/// A process lives as long as any of its threads: it stays a target, and is found as one by a sensor that starts later.
#[test]
fn one_whose_first_thread_has_ended() {
    let script = Script::new(".py", FIRST_THREAD_ENDS);
    let mut process = Process::start(&mut script.run("python3"));
    let port: u16 = process.line("listening ").parse().expect("a port");
    let ask = |path: &str| assert_eq!(curl(&[&format!("http://127.0.0.1:{port}{path}")]), 200);
    let start = || Options::default().processes(&[&script.name, &own_name()]).start();

    let sensor = start();
    ask("/leave");
    wait_until("the first thread to end", patience(20), || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).expect("a process");
        status.contains("State:\tZ").then_some(())
    });
    (0..3).for_each(|_| ask("/"));
    sensor.expect(Role::Server, port, &calls(&[("GET /leave 200", 1), ("GET / 200", 3)]));
    drop(sensor);

    let sensor = start();
    ask("/");
    sensor.expect(Role::Server, port, &calls(&[("GET / 200", 1)]));
    assert_eq!(sensor.service(Role::Server, port), script.name);
}
