//! Receivers of OTLP over HTTP and of Loki's push API that decode strictly and keep what they took.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;

use crate::loki;

/// A running receiver on a port of 127.0.0.1. It ends with the test's process.
pub struct Receiver<T>(Arc<Inner<T>>);

/// One of OTLP over HTTP.
pub type Traces = Receiver<ResourceSpans>;
/// One of Loki's push API.
pub type Lines = Receiver<loki::Stream>;

struct Inner<T> {
    port: u16,
    path: &'static str,
    decode: fn(&str, &[u8]) -> Result<Vec<T>, String>,
    status: AtomicU16,
    requests: AtomicUsize,
    taken: Mutex<Vec<T>>,
    faults: Mutex<Vec<String>>,
}

impl Traces {
    /// Starts one that answers with this status.
    #[must_use]
    pub fn start(status: u16) -> Self {
        Self::serve(status, "/v1/traces", spans)
    }

    /// The spans of all that was taken.
    #[track_caller]
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let scopes = self.taken().into_iter().flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }
}

impl Lines {
    /// Starts one that answers with this status.
    #[must_use]
    pub fn start(status: u16) -> Self {
        Self::serve(status, "/loki/api/v1/push", streams)
    }

    /// The lines of all that was taken, as they came.
    #[track_caller]
    #[must_use]
    pub fn lines(&self) -> Vec<loki::Entry> {
        self.taken().into_iter().flat_map(|stream| stream.entries).collect()
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone + Send + 'static> Receiver<T> {
    /// # Panics
    /// When no port is free.
    fn serve(status: u16, path: &'static str, decode: fn(&str, &[u8]) -> Result<Vec<T>, String>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port");
        let inner = Inner {
            port: listener.local_addr().expect("an address").port(),
            path,
            decode,
            status: AtomicU16::new(status),
            requests: AtomicUsize::new(0),
            taken: Mutex::default(),
            faults: Mutex::default(),
        };
        let receiver = Self(Arc::new(inner));
        let served = receiver.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let served = served.clone();
                std::thread::spawn(move || served.connection(&stream));
            }
        });
        receiver
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.0.port, self.0.path)
    }

    /// What it answers from now on.
    pub fn answer(&self, status: u16) {
        self.0.status.store(status, Ordering::SeqCst);
    }

    /// Requests so far, taken or not.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.0.requests.load(Ordering::SeqCst)
    }

    /// What was taken so far.
    ///
    /// # Panics
    /// When a request was not as the protocol says.
    #[track_caller]
    #[must_use]
    pub fn taken(&self) -> Vec<T> {
        let faults = self.0.faults.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(faults.is_empty(), "{faults:?}");
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn connection(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some((head, body)) = request(&mut reader) {
            let status = self.0.status.load(Ordering::SeqCst);
            if matches!(status, 200 | 204) {
                match (self.0.decode)(&head, &body) {
                    Ok(taken) => self.0.taken.lock().unwrap_or_else(PoisonError::into_inner).extend(taken),
                    Err(fault) => self.0.faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault),
                }
            }
            self.0.requests.fetch_add(1, Ordering::SeqCst);
            let kind = "content-type: application/x-protobuf";
            let answer = format!("HTTP/1.1 {status} Status\r\n{kind}\r\ncontent-length: 0\r\n\r\n");
            if (&mut &*stream).write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// The next request's head in lower case, and its body; `None` when the connection ends.
fn request(reader: &mut BufReader<&TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// Requires fields of a head.
fn require(head: &str, fields: &[&str]) -> Result<(), String> {
    match fields.iter().find(|field| !head.lines().any(|line| line == **field)) {
        Some(field) => Err(format!("no {field:?} in {head}")),
        None => Ok(()),
    }
}

/// A message that holds nothing but what the protocol knows.
fn message<M: Message + Default>(bytes: &[u8]) -> Result<M, String> {
    let message = M::decode(bytes).map_err(|error| error.to_string())?;
    if message.encode_to_vec() == bytes {
        Ok(message)
    } else {
        Err("there is more in the message than the protocol knows".to_owned())
    }
}

/// What the OTLP specification and the limits of Tempo ask for.
fn spans(head: &str, body: &[u8]) -> Result<Vec<ResourceSpans>, String> {
    require(
        head,
        &["post /v1/traces http/1.1", "content-type: application/x-protobuf", "content-encoding: gzip"],
    )?;
    let mut bytes = Vec::new();
    GzDecoder::new(body).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let request: ExportTraceServiceRequest = message(&bytes)?;
    let spans = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    for span in spans.flat_map(|scope| &scope.spans) {
        let is_id = |id: &[u8], length| id.len() == length && id.iter().any(|byte| *byte != 0);
        if !is_id(&span.trace_id, 16) || !is_id(&span.span_id, 8) {
            return Err(format!("ids of {span:?}"));
        }
        if span.start_time_unix_nano == 0 || span.end_time_unix_nano < span.start_time_unix_nano {
            return Err(format!("times of {span:?}"));
        }
    }
    Ok(request.resource_spans)
}

/// What Loki's push API and its limits ask for.
fn streams(head: &str, body: &[u8]) -> Result<Vec<loki::Stream>, String> {
    require(head, &["post /loki/api/v1/push http/1.1", "content-type: application/x-protobuf"])?;
    let bytes = snap::raw::Decoder::new().decompress_vec(body).map_err(|error| error.to_string())?;
    let request: loki::Push = message(&bytes)?;
    for stream in &request.streams {
        let times = stream.entries.iter().map(loki::Entry::time_ns);
        if stream.entries.is_empty() || !times.is_sorted() {
            return Err(format!("no lines, or lines in another order than that of time: {stream:?}"));
        }
        if !stream.labels.starts_with('{') || !stream.labels.ends_with("\"}") {
            return Err(format!("labels {}", stream.labels));
        }
        let is_long = |entry: &&loki::Entry| entry.line.len() > 256 * 1024 || entry.metadata.len() > 128;
        if let Some(entry) = stream.entries.iter().find(is_long) {
            return Err(format!("more than Loki takes: {entry:?}"));
        }
    }
    Ok(request.streams)
}
