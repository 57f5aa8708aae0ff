//! The HTTP endpoint that Prometheus scrapes.
//!
//! `GET /metrics` is the exposition, as OpenMetrics with exemplars where the client's `Accept` names that; `GET /healthz` says that the daemon answers, `GET /readyz` that it captures:
//! it listens once it does. `GET /status` is what it sends, as a page, and `GET /status.json` as JSON. At most [`CONNECTIONS_MAX`]
//! connections are open at once, more wait in the listener's backlog; a connection that sends no request in
//! [`HEAD_TIMEOUT`] or lives longer than [`CONNECTION_TIMEOUT`] is closed.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue, VARY};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::text::{Cursor, Form};
use super::{Shared, status};

/// Connections open at once.
pub const CONNECTIONS_MAX: usize = 64;
/// How long a connection may take to send the head of its next request.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may live.
pub const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a shutdown waits for responses under way.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of the exposition written under one lock.
const CHUNK: usize = 64 * 1024;
/// The pause after a failed accept, which most often means that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The endpoint could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("listen on {address}: {source}; hint: choose another address with --listen or `listen:`")]
pub struct ListenError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

/// Opens the listener.
///
/// # Errors
/// When the address can't be bound.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { address, source })
}

/// Answers requests until `shutdown` completes, then lets the responses under way finish, for [`DRAIN_TIMEOUT`] at
/// most.
pub async fn serve(
    listener: TcpListener,
    registry: Shared,
    status: Status,
    shutdown: impl Future<Output = ()>,
) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    Server { head_timeout: HEAD_TIMEOUT, connections, registry, status }.run(listener, shutdown).await;
}

/// Tells what `/status` shows.
pub type Status = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

struct Server {
    head_timeout: Duration,
    connections: Arc<Semaphore>,
    registry: Shared,
    status: Status,
}

impl Server {
    async fn run(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let graceful = GracefulShutdown::new();
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                () = self.accept(&listener, &graceful) => {}
            }
        }
        drop(listener);
        if timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
            tracing::warn!("metrics endpoint: a response was still under way at shutdown");
        }
    }

    /// Serves one more connection in a task of its own.
    async fn accept(&self, listener: &TcpListener, graceful: &GracefulShutdown) {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&self.connections).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "metrics endpoint: accept failed");
                return sleep(ACCEPT_PAUSE).await;
            }
        };
        let connection = graceful.watch(self.connection(stream));
        tokio::spawn(async move {
            match timeout(CONNECTION_TIMEOUT, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "metrics endpoint: connection failed"),
                Err(_) => tracing::debug!("metrics endpoint: connection closed for its age"),
            }
            drop(permit);
        });
    }

    fn connection(
        &self,
        stream: TcpStream,
    ) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> + Send + use<> {
        let (registry, status) = (self.registry.clone(), Arc::clone(&self.status));
        let service = service_fn(move |request: Request<Incoming>| {
            let accept =
                request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let form = Form::wanted(accept);
            let response = answer(request.method(), request.uri().path(), form, &registry, &status);
            async move { Ok::<_, Infallible>(response) }
        });
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.head_timeout)
            .serve_connection(TokioIo::new(stream), service)
    }
}

type Answer = Response<Either<Full<Bytes>, Exposition>>;

fn answer(method: &Method, path: &str, form: Form, registry: &Shared, status: &Status) -> Answer {
    let known = matches!(path, "/metrics" | "/healthz" | "/readyz" | "/status" | "/status.json");
    if !known {
        return plain(StatusCode::NOT_FOUND, "not found; metrics are at /metrics\n");
    }
    if method != Method::GET && method != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/healthz" | "/readyz" => return plain(StatusCode::OK, "ok\n"),
        "/status" => {
            let page = status::page(&status());
            return response(StatusCode::OK, "text/html; charset=utf-8", Either::Left(Full::from(page)));
        }
        "/status.json" => {
            let text = status().to_string();
            return response(StatusCode::OK, "application/json", Either::Left(Full::from(text)));
        }
        _ => {}
    }
    if let Err(error) = registry.lock().refresh() {
        tracing::warn!(%error, "metrics endpoint: the daemon's own use is not known");
    }
    let body = Exposition { registry: registry.clone(), cursor: Some(Cursor::new(form)) };
    let mut response = response(StatusCode::OK, form.content_type(), Either::Right(body));
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    response(status, "text/plain; charset=utf-8", Either::Left(Full::from(text)))
}

fn response(status: StatusCode, kind: &'static str, body: Either<Full<Bytes>, Exposition>) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// The exposition, rendered as fast as it is read.
struct Exposition {
    registry: Shared,
    /// `None` at the end.
    cursor: Option<Cursor>,
}

impl Body for Exposition {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(mut cursor) = self.cursor.take() else { return Poll::Ready(None) };
        let mut chunk = String::with_capacity(CHUNK + CHUNK / 4);
        let more = cursor.write(&self.registry.lock(), &mut chunk, CHUNK);
        if more {
            self.cursor = Some(cursor);
        }
        Poll::Ready(Some(Ok(Frame::data(chunk.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.cursor.is_none()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::identity::Observed;
    use crate::metric::Registry;
    use crate::metric::fixture::{exchange, observed};

    struct Running {
        address: SocketAddr,
        stop: oneshot::Sender<()>,
        task: JoinHandle<()>,
    }

    async fn start(head_timeout: Duration, connections: usize, series: usize) -> Running {
        let mut registry = Registry::new(10_000);
        for route in 0..series {
            registry.record(&Observed { route: format!("/{route}").into(), ..observed(exchange()) });
        }
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = Server {
            head_timeout,
            connections: Arc::new(Semaphore::new(connections)),
            registry: Shared::new(registry),
            status: Arc::new(|| serde_json::json!({ "ship": { "receivers": [{ "name": "<b>" }] } })),
        };
        let task = tokio::spawn(async move {
            server.run(listener, async { stopped.await.unwrap_or_default() }).await;
        });
        Running { address, stop, task }
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("{request} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn it_answers_what_it_knows() {
        let server = start(HEAD_TIMEOUT, 4, 1).await;
        let metrics = ask(server.address, "GET /metrics").await;
        assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
        assert!(metrics.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{metrics}");
        assert!(metrics.contains("sensor_exchanges_total{role=\"server\"} 1\n"), "{metrics}");
        assert!(metrics.contains("\nprocess_resident_memory_bytes "), "{metrics}");
        let open = "GET /metrics HTTP/1.1\r\naccept: application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1\r\nx: GET /";
        let open = ask(server.address, open).await;
        assert!(
            open.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n")
        );
        assert!(
            open.contains("# TYPE sensor_exchanges counter\n") && open.contains("\n# EOF\n\r\n0\r\n"),
            "{open}"
        );
        assert!(ask(server.address, "GET /metrics?name=a").await.starts_with("HTTP/1.1 200"));
        assert!(ask(server.address, "GET /healthz").await.ends_with("\r\n\r\nok\n"));
        assert!(ask(server.address, "GET /readyz").await.ends_with("\r\n\r\nok\n"));
        assert!(
            ask(server.address, "GET /status.json")
                .await
                .ends_with(r#"{"ship":{"receivers":[{"name":"<b>"}]}}"#)
        );
        let page = ask(server.address, "GET /status").await;
        assert!(page.contains("<td>&lt;b&gt;</td>") && page.contains("text/html"), "{page}");
        assert!(ask(server.address, "GET /").await.starts_with("HTTP/1.1 404"));
        let refused = ask(server.address, "POST /metrics").await;
        assert!(refused.starts_with("HTTP/1.1 405") && refused.contains("allow: GET, HEAD\r\n"), "{refused}");
        let head = ask(server.address, "HEAD /metrics").await;
        assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
        server.stop.send(()).unwrap();
        server.task.await.unwrap();
        assert!(TcpStream::connect(server.address).await.is_err(), "the listener is closed");
    }

    #[tokio::test]
    async fn many_series_are_written_whole() {
        let server = start(HEAD_TIMEOUT, 4, 500).await;
        let text = ask(server.address, "GET /metrics").await;
        let count = text.matches("http_server_request_duration_seconds_count{").count();
        assert_eq!(count, 500);
        assert!(text.len() > 10 * CHUNK, "{} bytes are too few to prove anything", text.len());
    }

    #[tokio::test]
    async fn a_silent_connection_is_closed_and_makes_room() {
        let server = start(Duration::from_millis(50), 1, 0).await;
        let mut silent = TcpStream::connect(server.address).await.unwrap();
        let metrics = ask(server.address, "GET /metrics").await;
        assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
        let mut rest = Vec::new();
        silent.read_to_end(&mut rest).await.unwrap();
    }

    #[tokio::test]
    async fn a_taken_address_is_named() {
        let first = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = first.local_addr().unwrap();
        let error = listen(address).await.unwrap_err();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
