//! A receiver that answers as a test says, and keeps what it got.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub(super) method: Method,
    pub(super) path: String,
    /// `:authority` of HTTP/2; empty in HTTP/1.1.
    pub(super) authority: String,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Which connection it came by.
    pub(super) connection: usize,
}

impl Got {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    Status(u16, Vec<(&'static str, &'static str)>),
    /// The connection is closed without an answer.
    Reset,
}

impl Reply {
    pub(super) const fn status(status: u16) -> Self {
        Self::Status(status, Vec::new())
    }
}

type Script = dyn Fn(usize, &Got) -> Reply + Send + Sync;

#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Server {
    /// Answers the request of each number, counted from 0, as `script` says.
    pub(super) async fn start(script: impl Fn(usize, &Got) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(None, script).await
    }

    pub(super) async fn start_with(
        tls: Option<TlsAcceptor>,
        script: impl Fn(usize, &Got) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), got: Arc::default() };
        let (got, script): (_, Arc<Script>) = (Arc::clone(&server.got), Arc::new(script));
        tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, tls.clone(), connection, Arc::clone(&got), Arc::clone(&script)));
            }
        });
        server
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

async fn serve(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    connection: usize,
    got: Arc<Mutex<Vec<Got>>>,
    script: Arc<Script>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (got, script) = (Arc::clone(&got), Arc::clone(&script));
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| "the body was cut off")?.to_bytes();
            let authority = parts.uri.authority().map(ToString::to_string).unwrap_or_default();
            let (path, version, headers) = (parts.uri.path().to_owned(), parts.version, parts.headers);
            let request = Got { method: parts.method, path, authority, version, headers, body, connection };
            let reply = {
                let mut got = got.lock().unwrap();
                got.push(request.clone());
                script(got.len() - 1, &request)
            };
            match reply {
                Reply::Reset => Err("reset"),
                Reply::Status(status, headers) => Ok(response(status, &headers)),
            }
        }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    // What a client or a script breaks off ends here.
    match tls {
        None => drop(builder.serve_connection(TokioIo::new(stream), service).await),
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                drop(builder.serve_connection(TokioIo::new(stream), service).await);
            }
        }
    }
}

fn response(
    status: u16,
    headers: &[(&'static str, &'static str)],
) -> Response<http_body_util::combinators::BoxBody<Bytes, Infallible>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"what was wrong\n")).boxed());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}
