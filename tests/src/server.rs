//! Real web servers that know themselves what they answered.

use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::calls::Calls;
use crate::fixtures;
use crate::link::free_port;
use crate::pods::Pod;
use crate::process::{Process, copy, program};
use crate::wait::{patience, wait_until};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// nginx with two workers.
    Nginx,
    /// `ThreadingHTTPServer` of Python's `http.server`.
    Python,
    /// Node's `http`.
    Node,
    /// `com.sun.net.httpserver.HttpServer`.
    Jdk,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Nginx, Self::Python, Self::Node, Self::Jdk];

    /// The `service_name` that the sensor has to give it.
    #[must_use]
    pub fn service(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Python => "server.py",
            Self::Node => "server.js",
            Self::Jdk => "server.jar",
        }
    }
}

/// A running web server on a port of 127.0.0.1.
pub struct Server {
    kind: Kind,
    name: String,
    /// Its port.
    pub port: u16,
    process: Process,
    directory: TempDir,
}

impl Server {
    /// Starts one and waits until it listens.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    #[must_use]
    pub fn start(kind: Kind) -> Self {
        let directory = TempDir::new().expect("make a directory");
        let (process, port) = match kind {
            Kind::Nginx => nginx(directory.path(), program("nginx")),
            Kind::Python => {
                let script = fixtures::write(directory.path(), "server.py", "server.py");
                listening(Process::start(program("python3").arg(script)))
            }
            Kind::Node => {
                let script = fixtures::write(directory.path(), "server.js", "server.js");
                listening(Process::start(program("node").arg(script)))
            }
            Kind::Jdk => {
                let jar = fixtures::java(directory.path(), "server.jar", "server.jar");
                let mut command = program("java");
                // Without it the second part of a response waits for a delayed acknowledgement.
                command
                    .args(["-Dsun.net.httpserver.nodelay=true", "-XX:TieredStopAtLevel=1", "-jar"])
                    .arg(jar);
                listening(Process::start(&mut command))
            }
        };
        Self { kind, name: kind.service().to_owned(), port, process, directory }
    }

    /// Starts Python's server in a pod.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    #[must_use]
    pub fn in_pod(pod: &Pod) -> Self {
        let directory = TempDir::new().expect("make a directory");
        let script = fixtures::write(directory.path(), "server.py", "server.py");
        let (process, port) = listening(Process::start(&mut pod.command(program("python3").arg(script))));
        let kind = Kind::Python;
        Self { kind, name: kind.service().to_owned(), port, process, directory }
    }

    /// Starts a copy of nginx that has this name.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    #[must_use]
    pub fn nginx_named(name: &str) -> Self {
        let directory = TempDir::new().expect("make a directory");
        let copied = Command::new(copy("nginx", directory.path(), name));
        let (process, port) = nginx(directory.path(), copied);
        Self { kind: Kind::Nginx, name: name.to_owned(), port, process, directory }
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The `service_name` that the sensor has to give it.
    #[must_use]
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// Where a path is.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The directory that nginx serves files from, for those of a test's own.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Stops nginx, of which only `/fast` or `/fast-file` were asked, and returns how many requests it got, and for
    /// how many of these it could not send a byte of the response.
    ///
    /// # Panics
    /// When it is not nginx, or it does not stop.
    #[track_caller]
    #[must_use]
    pub fn stop_fast(mut self) -> (u64, u64) {
        // Once no connection but the question's own is open, both workers have read all that clients sent.
        let mut questions = 0;
        let requests = wait_until("clients' connections to be closed", patience(30), || {
            questions += 1;
            let (active, requests) = self.nginx_status();
            (active == 1).then_some(requests)
        });
        self.process.signal(Signal::SIGQUIT);
        self.process.wait(30);
        let unsent = std::fs::read_to_string(self.directory.path().join("unsent.log")).expect("read a log");
        (requests - questions, unsent.lines().count() as u64)
    }

    /// nginx: open connections and requests so far, this question included in both.
    fn nginx_status(&self) -> (u64, u64) {
        let text = ureq::get(self.url("/status")).call().expect("ask nginx").body_mut().read_to_string();
        let text = text.expect("read nginx' status");
        // "Active connections: 1 \nserver accepts handled requests\n 1 1 31 \nReading: …"
        let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        (numbers[0], numbers[3])
    }

    /// Stops it and returns what it answered, by its own account.
    ///
    /// # Panics
    /// When it does not stop or says nothing.
    #[track_caller]
    #[must_use]
    pub fn stop(mut self) -> Calls {
        if self.kind == Kind::Nginx {
            self.process.signal(Signal::SIGQUIT);
            self.process.wait(30);
            return nginx_calls(&self.directory.path().join("access.log"));
        }
        self.process.signal(Signal::SIGTERM);
        let json = self.process.line("calls ");
        let object: serde_json::Value = serde_json::from_str(&json).expect("the server's calls are JSON");
        let calls = object.as_object().expect("the server's calls are an object").iter();
        calls.map(|(call, count)| (call.clone(), count.as_u64().expect("a count"))).collect()
    }
}

fn listening(mut process: Process) -> (Process, u16) {
    let port = process.line("listening ").parse().expect("a port");
    (process, port)
}

fn nginx(directory: &Path, mut command: Command) -> (Process, u16) {
    let port = free_port();
    let root = directory.join("root");
    std::fs::create_dir(&root).expect("make the document root");
    std::fs::create_dir(root.join("items")).expect("make a directory");
    for item in ["1", "31337"] {
        std::fs::write(root.join("items").join(item), "x".repeat(100)).expect("write a file");
    }
    std::fs::write(root.join("stream"), "y".repeat(1000)).expect("write a file");
    std::fs::write(root.join("fast-file"), "z".repeat(2000)).expect("write a file");
    let text = fixtures::text("nginx.conf").replace("PORT", &port.to_string());
    let config = directory.join("nginx.conf");
    std::fs::write(&config, text.replace("DIRECTORY", &directory.to_string_lossy()))
        .expect("write nginx.conf");
    let mut process = Process::start(command.arg("-c").arg(&config).arg("-e").arg("stderr"));
    wait_until("nginx to listen", patience(20), || {
        if let Some(status) = process.ended() {
            panic!("nginx ended with {status}\n{}", process.report());
        }
        std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(drop)
    });
    (process, port)
}

/// Calls by nginx' access log: a call without a byte of response has no status, whatever nginx wanted to answer.
fn nginx_calls(log: &Path) -> Calls {
    let text = std::fs::read_to_string(log).expect("read the access log");
    let mut calls = Calls::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [method, path, status, sent] = fields[..] else { panic!("not a line of the access log: {line}") };
        let item =
            path.strip_prefix("/items/").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
        let route = if item { "/items/{id}" } else { path };
        let status = if sent == "0" { "- no_response" } else { status };
        *calls.entry(format!("{method} {route} {status}")).or_default() += 1;
    }
    calls
}
