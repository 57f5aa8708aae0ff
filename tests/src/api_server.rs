//! A stand-in for the Kubernetes API server, which can't be installed on the machines that run the tests. It is strict: what
//! the API would refuse is refused, and what the sensor should not ask is a fault that fails the test.
//!
//! Of the API's concepts it has lists in pages with `continue`, watches from a resource version with bookmarks, 410 for
//! versions and pages that were compacted, field selectors of pods and nodes, and tokens. Objects are recorded ones
//! (`fixtures/kubernetes`).

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixtures;

/// How often a quiet watch has a bookmark.
const BOOKMARKS: Duration = Duration::from_millis(500);

/// What may be asked: the path, and the selector that it must have.
const RESOURCES: [(&str, &str, Option<&str>); 4] = [
    ("pods", "/api/v1/pods", Some("spec.nodeName")),
    ("nodes", "/api/v1/nodes", Some("metadata.name")),
    ("services", "/api/v1/services", None),
    ("endpointslices", "/apis/discovery.k8s.io/v1/endpointslices", None),
];

/// A running server. It ends with the test's process, or with [`ApiServer::stop`].
#[derive(Clone)]
pub struct ApiServer(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    account: TempDir,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_stopped: bool,
    version: u64,
    /// Events up to this version are forgotten.
    compacted: u64,
    objects: BTreeMap<String, Value>,
    events: Vec<(u64, String, &'static str, Value)>,
    /// Rests of lists by their `continue`.
    pages: BTreeMap<String, (u64, Vec<Value>)>,
    /// The status that everything gets.
    refuses: Option<u16>,
    requests: BTreeMap<String, usize>,
    faults: Vec<String>,
}

impl ApiServer {
    /// Starts one with a node of the name `node-1`.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start() -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Starts one at an address.
    ///
    /// # Panics
    /// When it is taken.
    #[must_use]
    pub fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("bind a port");
        let account = TempDir::new().expect("make a directory");
        std::fs::write(account.path().join("token"), "token-1").expect("write a token");
        let address = listener.local_addr().expect("an address");
        let server =
            Self(Arc::new(Inner { address, account, state: Mutex::default(), changed: Condvar::new() }));
        server.put("nodes", object("node.json"));
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.state().is_stopped {
                    return;
                }
                let server = serving.clone();
                std::thread::spawn(move || server.connection(&stream));
            }
        });
        server
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// The section of the sensor's configuration that leads to it.
    #[must_use]
    pub fn settings(&self) -> String {
        settings(&format!("http://{}", self.0.address), self.0.account.path())
    }

    /// The directory of the service account.
    #[must_use]
    pub fn account(&self) -> &Path {
        self.0.account.path()
    }

    /// Creates an object, or replaces it.
    ///
    /// # Panics
    /// When it has no name.
    pub fn put(&self, resource: &str, mut object: Value) {
        let mut state = self.state();
        state.version += 1;
        let version = state.version;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let key = key(resource, &object);
        let kind =
            if state.objects.insert(key.clone(), object.clone()).is_some() { "MODIFIED" } else { "ADDED" };
        state.events.push((version, resource.to_owned(), kind, object));
        self.0.changed.notify_all();
    }

    /// Deletes an object.
    ///
    /// # Panics
    /// When there is none.
    pub fn delete(&self, resource: &str, object: &Value) {
        let mut state = self.state();
        state.version += 1;
        let version = state.version;
        let mut object = state.objects.remove(&key(resource, object)).expect("an object to delete");
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        state.events.push((version, resource.to_owned(), "DELETED", object));
        self.0.changed.notify_all();
    }

    /// Ends all watches, and forgets the history: who goes on from an older version gets 410.
    pub fn compact(&self) {
        let mut state = self.state();
        state.version += 1;
        state.compacted = state.version;
        state.events.clear();
        state.pages.clear();
        self.0.changed.notify_all();
    }

    /// Answers everything with this status from now on, and ends all watches; `None` answers again.
    pub fn refuse(&self, status: Option<u16>) {
        self.state().refuses = status;
        self.0.changed.notify_all();
    }

    /// Accepts only another token from now on, which is where the kubelet puts it.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn rotate(&self, token: &str) {
        std::fs::write(self.0.account.path().join("token"), token).expect("write a token");
    }

    /// Ends it.
    pub fn stop(&self) {
        self.state().is_stopped = true;
        self.0.changed.notify_all();
        // The listener looks after it with the next connection.
        drop(TcpStream::connect(self.0.address));
    }

    /// Lists and watches of a resource so far, those that were refused too.
    #[must_use]
    pub fn requests(&self, resource: &str) -> usize {
        self.state().requests.get(resource).copied().unwrap_or_default()
    }

    /// Fails the test when anything was asked that should not be.
    ///
    /// # Panics
    /// See above.
    #[track_caller]
    pub fn assert_no_faults(&self) {
        let state = self.state();
        assert!(state.faults.is_empty(), "{:#?}", state.faults);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if !matches!(reader.read_line(&mut line), Ok(1..)) {
                return;
            }
            let mut token = String::new();
            loop {
                let mut header = String::new();
                if !matches!(reader.read_line(&mut header), Ok(1..)) {
                    return;
                }
                let header = header.trim_end();
                if header.is_empty() {
                    break;
                }
                if let Some((name, value)) = header.split_once(": ")
                    && name.eq_ignore_ascii_case("authorization")
                {
                    token = value.trim_start_matches("Bearer ").to_owned();
                }
            }
            if self.answer(stream, line.trim_end(), &token).is_err() {
                return;
            }
        }
    }

    fn answer(&self, stream: &TcpStream, request: &str, token: &str) -> std::io::Result<()> {
        let mut words = request.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query: BTreeMap<String, String> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), decoded(value)))
            .collect();
        let expected = std::fs::read_to_string(self.0.account.path().join("token")).unwrap_or_default();
        if token != expected {
            return status(stream, 401, "Unauthorized");
        }
        if method != "GET" {
            return self.fault(stream, request);
        }
        let resource = RESOURCES.iter().find(|(_, known, _)| *known == path);
        let name = resource.map_or("jobs", |(name, _, _)| name);
        *self.state().requests.entry(name.to_owned()).or_default() += 1;
        if let Some(code) = self.state().refuses {
            return status(stream, code, "refused");
        }
        let Some((resource, _, selector)) = resource else {
            return self.job(stream, path, request);
        };
        let selected = match (selector, query.get("fieldSelector")) {
            (None, None) => None,
            (Some(field), Some(given)) if given.split_once('=').is_some_and(|(name, _)| name == *field) => {
                given.split_once('=').map(|(_, value)| value.to_owned())
            }
            _ => return self.fault(stream, request),
        };
        if query.get("watch").is_some_and(|watch| watch == "true") {
            if query.get("allowWatchBookmarks").map(String::as_str) != Some("true") {
                return self.fault(stream, request);
            }
            let Some(from) = query.get("resourceVersion").and_then(|version| version.parse().ok()) else {
                return self.fault(stream, request);
            };
            return self.watch(stream, resource, selected.as_deref(), from);
        }
        let Some(limit) = query.get("limit").and_then(|limit| limit.parse().ok()) else {
            return self.fault(stream, request);
        };
        self.list(stream, resource, selected.as_deref(), limit, query.get("continue").map(String::as_str))
    }

    fn fault(&self, stream: &TcpStream, request: &str) -> std::io::Result<()> {
        self.state().faults.push(request.to_owned());
        status(stream, 400, "the sensor should not ask this")
    }

    /// `GET /apis/batch/v1/namespaces/NAMESPACE/jobs/NAME`.
    fn job(&self, stream: &TcpStream, path: &str, request: &str) -> std::io::Result<()> {
        let parts: Vec<&str> = path.split('/').collect();
        let ["", "apis", "batch", "v1", "namespaces", namespace, "jobs", name] = parts[..] else {
            return self.fault(stream, request);
        };
        let found = self.state().objects.get(&format!("jobs/{namespace}/{name}")).cloned();
        match found {
            Some(job) => body(stream, 200, &job),
            None => status(stream, 404, "not found"),
        }
    }

    fn list(
        &self,
        stream: &TcpStream,
        resource: &str,
        selected: Option<&str>,
        limit: usize,
        token: Option<&str>,
    ) -> std::io::Result<()> {
        let mut state = self.state();
        let (version, mut rest) = match token {
            Some(token) => match state.pages.remove(token) {
                Some(page) => page,
                None => {
                    drop(state);
                    return status(stream, 410, "The provided continue parameter is too old");
                }
            },
            None => {
                let prefix = format!("{resource}/");
                let all = state.objects.iter().filter(|(key, _)| key.starts_with(&prefix));
                let all = all.map(|(_, object)| object.clone()).filter(|object| is_of(object, selected));
                (state.version, all.collect())
            }
        };
        let mut metadata = json!({ "resourceVersion": version.to_string() });
        let items: Vec<Value> = rest.drain(..limit.min(rest.len())).collect();
        if !rest.is_empty() {
            let token = format!("{resource}-{version}-{}", rest.len());
            metadata["continue"] = json!(token);
            metadata["remainingItemCount"] = json!(rest.len());
            state.pages.insert(token, (version, rest));
        }
        drop(state);
        // Items of a list have neither kind nor version.
        let items: Vec<Value> = items
            .into_iter()
            .map(|mut item| {
                let fields = item.as_object_mut().expect("an object");
                fields.remove("kind");
                fields.remove("apiVersion");
                item
            })
            .collect();
        let list = json!({ "kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items });
        body(stream, 200, &list)
    }

    fn watch(
        &self,
        mut stream: &TcpStream,
        resource: &str,
        selected: Option<&str>,
        mut from: u64,
    ) -> std::io::Result<()> {
        if from < self.state().compacted {
            // As the API server does: the watch begins, and its first event is the error.
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            )?;
            let gone = failure(410, "too old resource version");
            chunk(stream, &json!({ "type": "ERROR", "object": gone }))?;
            return write!(stream, "0\r\n\r\n");
        }
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )?;
        let compacted = self.state().compacted;
        loop {
            let mut state = self.state();
            if state.is_stopped {
                // As a server that is killed.
                return stream.shutdown(std::net::Shutdown::Both);
            }
            if state.compacted != compacted || state.refuses.is_some() {
                drop(state);
                return write!(stream, "0\r\n\r\n");
            }
            let events: Vec<(u64, Value)> = state
                .events
                .iter()
                .filter(|(version, of, _, object)| {
                    *version > from && of == resource && is_of(object, selected)
                })
                .map(|(version, _, kind, object)| (*version, json!({ "type": kind, "object": object })))
                .collect();
            if events.is_empty() {
                let (waited, timeout) =
                    self.0.changed.wait_timeout(state, BOOKMARKS).unwrap_or_else(PoisonError::into_inner);
                state = waited;
                if timeout.timed_out() {
                    from = state.version;
                    drop(state);
                    let object = json!({
                        "kind": "Bookmark", "apiVersion": "v1", "metadata": { "resourceVersion": from.to_string() }
                    });
                    chunk(stream, &json!({ "type": "BOOKMARK", "object": object }))?;
                }
                continue;
            }
            drop(state);
            for (version, event) in events {
                from = version;
                chunk(stream, &event)?;
            }
        }
    }
}

/// The section of the sensor's configuration that leads to a server.
#[must_use]
pub fn settings(url: &str, account: &Path) -> String {
    format!(
        "kubernetes:\n  enabled: always\n  node: node-1\n  api_server: {url}\n  service_account: {}\n",
        account.display()
    )
}

/// A recorded object.
///
/// # Panics
/// When there is none of that name.
#[must_use]
pub fn object(name: &str) -> Value {
    serde_json::from_str(fixtures::text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn key(resource: &str, object: &Value) -> String {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().expect("an object has a name");
    format!("{resource}/{}/{name}", metadata["namespace"].as_str().unwrap_or_default())
}

fn is_of(object: &Value, selected: Option<&str>) -> bool {
    let of = if object["kind"] == "Pod" { &object["spec"]["nodeName"] } else { &object["metadata"]["name"] };
    selected.is_none_or(|selected| of == selected)
}

fn decoded(text: &str) -> String {
    text.replace("%3D", "=").replace("%2C", ",").replace("%2F", "/")
}

fn failure(code: u16, message: &str) -> Value {
    let mut status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code,
        "reason": match code { 401 => "Unauthorized", 403 => "Forbidden", 404 => "NotFound", 410 => "Expired",
            429 => "TooManyRequests", _ => "InternalError" }
    });
    if code == 429 {
        status["details"] = json!({ "retryAfterSeconds": 1 });
    }
    status
}

fn status(stream: &TcpStream, code: u16, message: &str) -> std::io::Result<()> {
    body(stream, code, &failure(code, message))
}

fn body(mut stream: &TcpStream, code: u16, value: &Value) -> std::io::Result<()> {
    let text = value.to_string();
    write!(
        stream,
        "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    )
}

fn chunk(mut stream: &TcpStream, value: &Value) -> std::io::Result<()> {
    let text = format!("{value}\n");
    write!(stream, "{:x}\r\n{text}\r\n", text.len())
}
