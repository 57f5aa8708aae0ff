//! HTTP and gRPC on Unix-domain sockets: every request is one exchange of each end, at the socket's path.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tests::calls::{Calls, Role};
use tests::client::curl;
use tests::fixtures;
use tests::grpc::By;
use tests::link::free_port;
use tests::process::{Process, program};
use tests::sensor::{SETTLE, Sensor};
use tests::spans::Span;
use tests::wait::{patience, wait_for, wait_until};

/// A place for sockets, and the name of one in it.
fn place() -> (TempDir, PathBuf) {
    let directory = TempDir::new().expect("make a directory");
    let path = directory.path().join("service.sock");
    (directory, path)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of UTF-8")
}

/// The spans of one side of a socket by their start, of which there have to be so many.
#[track_caller]
fn spans(sensor: &Sensor, role: Role, address: &str, count: usize) -> Vec<Span> {
    let is_one = |span: &Span| {
        span.kind == role.span_kind()
            && span.attribute("server.address") == address
            && span.attribute("network.transport") == "unix"
    };
    let find = || sensor.spans().into_iter().filter(is_one).collect::<Vec<_>>();
    wait_for(patience(SETTLE), || (find().len() >= count).then_some(()));
    sensor.barrier();
    let mut spans = find();
    assert_eq!(spans.len(), count, "{role:?}: {spans:#?}\nlost {:?}", sensor.lost());
    for span in &spans {
        let ports = ["server.port", "network.peer.port", "client.port"].map(|name| span.attribute(name));
        assert_eq!(ports, [""; 3], "{span:#?}");
        let peer = if role == Role::Client { address } else { "" };
        assert_eq!(span.attribute("network.peer.address"), peer, "{span:#?}");
    }
    spans.sort_by_key(|span| span.start_ns);
    spans
}

fn wait_for_socket(process: &mut Process, path: &Path) {
    wait_until("the server to listen", patience(20), || {
        if let Some(status) = process.ended() {
            panic!("the server ended with {status}\n{}", process.report());
        }
        UnixStream::connect(path).ok().map(drop)
    });
}

/// nginx, whose site is this, and the port that it listens on if it is asked for.
fn nginx(directory: &Path, server: &str) -> Process {
    let root = text(directory);
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {root}/{kind};"))
        .concat();
    let config = directory.join("nginx.conf");
    let text = format!(
        "daemon off; pid {root}/nginx.pid; error_log stderr warn; user root; events {{}} \
         http {{ access_log off; {temporary} server {{ {server} }} }}"
    );
    std::fs::write(&config, text).expect("write nginx.conf");
    Process::start(program("nginx").arg("-c").arg(&config).args(["-e", "stderr"]))
}

/// A client that keeps its connection, and others that make one a request, as those of `docker.sock` do.
#[test]
fn a_server_and_its_clients() {
    let sensor = Sensor::start();
    let (directory, path) = place();
    let script = fixtures::write(directory.path(), "server.js", "server.js");
    let mut server = Process::start(program("node").arg(script).arg(&path));
    server.line("listening ");
    let urls: Vec<String> = (1..=20).map(|item| format!("http://localhost/items/{item}")).collect();
    let mut arguments = vec!["--unix-socket", text(&path)];
    for (number, url) in urls.iter().enumerate() {
        arguments.push(url);
        if number > 0 {
            arguments.extend(["--output", "/dev/null"]);
        }
    }
    assert_eq!(curl(&arguments), 200);
    for _ in 0..10 {
        assert_eq!(curl(&["--unix-socket", text(&path), "http://localhost/fail"]), 500);
    }
    for role in [Role::Server, Role::Client] {
        let spans = spans(&sensor, role, text(&path), 30);
        let paths: Vec<&str> = spans.iter().map(Span::path).collect();
        let expected: Vec<String> =
            (1..=20).map(|item| format!("/items/{item}")).chain((0..10).map(|_| "/fail".into())).collect();
        assert_eq!(paths, expected);
        let failed = spans.iter().filter(|span| span.attribute("http.response.status_code") == "500");
        assert_eq!(failed.count(), 10);
    }
    let (name, labels) = (Role::Client.duration("_count"), [("server_address", text(&path))]);
    assert_eq!(sensor.metrics().count(&name, &labels), 30);
    assert_eq!(sensor.lost(), Calls::new());
}

#[test]
fn a_listener_of_nginx() {
    let sensor = Sensor::start();
    let (directory, path) = place();
    std::fs::write(directory.path().join("file"), "x".repeat(300_000)).expect("write a file");
    let listen = format!("listen unix:{}; root {};", text(&path), text(directory.path()));
    let mut nginx = nginx(directory.path(), &format!("{listen} sendfile on; location = / {{ return 204; }}"));
    wait_for_socket(&mut nginx, &path);
    for _ in 0..10 {
        assert_eq!(curl(&["--unix-socket", text(&path), "http://localhost/"]), 204);
        assert_eq!(curl(&["--unix-socket", text(&path), "http://localhost/file"]), 200);
    }
    for role in [Role::Server, Role::Client] {
        for span in spans(&sensor, role, text(&path), 20) {
            let size = if span.path() == "/file" { "300000" } else { "0" };
            assert_eq!(span.attribute("http.response.body.size"), size, "{span:#?}");
        }
    }
    assert_eq!(sensor.lost(), Calls::new());
}

/// nginx before gunicorn: each call of the one is the request of the other, in one trace.
#[test]
fn an_upstream() {
    let sensor = Sensor::start();
    let (directory, path) = place();
    fixtures::write(directory.path(), "log_app.py", "log_app.py");
    let mut gunicorn = program("gunicorn");
    gunicorn.args(["--workers=2", "--bind"]).arg(format!("unix:{}", text(&path))).arg("log_app:app");
    let mut gunicorn = Process::start(gunicorn.current_dir(directory.path()));
    wait_for_socket(&mut gunicorn, &path);
    let port = free_port();
    let proxy = format!("location / {{ proxy_pass http://unix:{}:; }}", text(&path));
    let _nginx = nginx(directory.path(), &format!("listen 127.0.0.1:{port}; {proxy}"));
    wait_until("nginx to listen", patience(20), || {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(drop)
    });
    for number in 0..50 {
        assert_eq!(curl(&[&format!("http://127.0.0.1:{port}/items/{number}")]), 200);
    }
    let calls: BTreeMap<String, Span> = spans(&sensor, Role::Client, text(&path), 50)
        .into_iter()
        .map(|call| (call.id.clone(), call))
        .collect();
    for request in spans(&sensor, Role::Server, text(&path), 50) {
        let call = calls.get(&request.parent_id).unwrap_or_else(|| panic!("{request:#?} of {calls:#?}"));
        assert_eq!((call.path(), &call.trace_id), (request.path(), &request.trace_id));
        assert_eq!((call.service.as_str(), request.service.as_str()), ("nginx", "gunicorn"));
    }
    assert_eq!(sensor.expect_spans(Role::Server, port, 50).len(), 50);
    assert_eq!(sensor.lost(), Calls::new());
}

#[test]
fn grpc() {
    const TIMES: usize = 5;
    let sensor = Sensor::start();
    let (directory, path) = place();
    let target = format!("unix:{}", text(&path));
    let mut server = Process::start(By::Python.command(&directory, "grpc_server").arg(&target));
    server.line("listening ");
    let mut client = By::Python.command(&directory, "grpc_client");
    let _ = Process::start(client.arg(&target).arg(TIMES.to_string())).succeed(60);
    for role in [Role::Server, Role::Client] {
        let spans = spans(&sensor, role, text(&path), 8 * TIMES);
        let of = |name: &str, status: &str| {
            let is_one =
                |span: &&Span| span.name == name && span.attribute("rpc.response.status_code") == status;
            spans.iter().filter(is_one).count()
        };
        for method in ["Unary", "ServerStream", "ClientStream", "BothStreams"] {
            assert_eq!(of(&format!("test.Shop/{method}"), "OK"), TIMES, "{spans:#?}");
        }
        assert_eq!(of("test.Shop/Fail", "NOT_FOUND"), TIMES);
        assert_eq!(of("_OTHER", "UNIMPLEMENTED"), TIMES);
    }
    assert_eq!(sensor.lost(), Calls::new());
}

/// Both ends of connections to a listener, in this process.
struct Ends {
    client: UnixStream,
    server: UnixStream,
}

impl Ends {
    fn connect(listener: &UnixListener) -> Self {
        let address = listener.local_addr().expect("the bound address");
        let client = UnixStream::connect_addr(&address).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        Self { client, server }
    }

    fn request(&mut self, number: u32) {
        let request = format!("GET /items/{number} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.client.write_all(request.as_bytes()).expect("ask");
        let mut buffer = [0; 256];
        assert_eq!(self.server.read(&mut buffer).expect("read"), request.len());
    }

    fn response(&mut self, response: &str) {
        self.server.write_all(response.as_bytes()).expect("answer");
        let mut buffer = [0; 256];
        assert_eq!(self.client.read(&mut buffer).expect("read"), response.len());
    }
}

const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";

/// A socket that comes to the address of one that has gone is another connection, on every way in, also where nothing tells of
/// an end.
#[test]
fn one_connection_after_the_other() {
    let sensor = Sensor::start();
    let (_directory, path) = place();
    let listener = UnixListener::bind(&path).expect("bind a socket");
    for number in 0..200 {
        let mut ends = Ends::connect(&listener);
        ends.request(number);
        ends.response(NO_CONTENT);
    }
    for role in [Role::Server, Role::Client] {
        let spans = spans(&sensor, role, text(&path), 200);
        for (number, span) in spans.iter().enumerate() {
            assert_eq!(span.path(), format!("/items/{number}"));
            assert_eq!(span.attribute("http.response.status_code"), "204");
        }
    }
    assert_eq!(sensor.lost(), Calls::new());
}

/// The end of a connection ends what it leaves open: a response without a length, a request without a response.
#[test]
fn what_ends_with_its_connection() {
    let sensor = Sensor::start();
    let (_directory, path) = place();
    let listener = UnixListener::bind(&path).expect("bind a socket");
    let mut ends = Ends::connect(&listener);
    ends.request(1);
    ends.response("HTTP/1.0 200 OK\r\n\r\nhello");
    drop(ends.server);
    assert_eq!(ends.client.read(&mut [0; 8]).expect("read"), 0);
    let mut ends = Ends::connect(&listener);
    ends.request(2);
    drop(ends.client);
    assert_eq!(ends.server.read(&mut [0; 8]).expect("read"), 0);
    for role in [Role::Server, Role::Client] {
        let spans = spans(&sensor, role, text(&path), 2);
        let told = spans.iter().map(|span| {
            ["http.response.status_code", "http.response.body.size", "error.type"]
                .map(|name| span.attribute(name))
        });
        assert_eq!(told.collect::<Vec<_>>(), [["200", "5", ""], ["", "", "no_response"]], "{role:?}");
    }
    assert_eq!(sensor.lost(), Calls::new());
}

/// Names in the abstract name space have no file; a client may have a name of its own, and a pair of sockets has none.
#[test]
fn names_without_a_file() {
    let sensor = Sensor::start();
    let (directory, path) = place();
    let name = format!("sensor-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let listener = UnixListener::bind_addr(&address).expect("bind a socket");
    let mut ends = Ends::connect(&listener);
    ends.request(1);
    ends.response(NO_CONTENT);

    // The standard library cannot bind a client: Python can.
    let listener = UnixListener::bind(&path).expect("bind a socket");
    let script = "import socket, sys\n\
                  end = socket.socket(socket.AF_UNIX)\n\
                  end.bind(sys.argv[1])\n\
                  end.connect(sys.argv[2])\n\
                  end.sendall(b'GET /items/2 HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n')\n\
                  assert end.recv(256)";
    let own = directory.path().join("client.sock");
    let client = Process::start(program("python3").args(["-c", script]).arg(&own).arg(&path));
    let (mut server, _) = listener.accept().expect("accept");
    assert_ne!(server.read(&mut [0; 256]).expect("read"), 0);
    server.write_all(NO_CONTENT.as_bytes()).expect("answer");
    let _ = client.succeed(20);

    let (client, server) = UnixStream::pair().expect("a pair");
    let mut ends = Ends { client, server };
    ends.request(3);
    ends.response(NO_CONTENT);

    for role in [Role::Server, Role::Client] {
        assert_eq!(spans(&sensor, role, &format!("@{name}"), 1)[0].path(), "/items/1");
        assert_eq!(spans(&sensor, role, text(&path), 1)[0].path(), "/items/2");
    }
    let is_nameless = |span: &Span| {
        span.path() == "/items/3"
            && span.attribute("network.transport") == "unix"
            && span.attribute("server.address") == "localhost"
    };
    let find = || sensor.spans().into_iter().filter(is_nameless).count();
    wait_for(patience(SETTLE), || (find() >= 2).then_some(()));
    assert_eq!(find(), 2);
    assert_eq!(sensor.lost(), Calls::new());
}
