//! Sending a request.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::tls::{self, TlsError};
use super::{Credentials, CredentialsError, endpoint};

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept for the next request; longer than the default interval of metrics.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// The most bytes of an answer that are read.
const ANSWER_MAX: usize = 64 * 1024;
const RETRY_ATTEMPT: HeaderName = HeaderName::from_static("retry-attempt");

/// How a receiver is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Where requests go.
    pub url: Url,
    /// Who the sensor is there.
    pub credentials: Credentials,
    /// More header fields, such as a tenant's.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How long a request may take with its answer.
    pub timeout: Duration,
    /// An HTTP proxy; without one, the environment's `HTTPS_PROXY` and `NO_PROXY` count.
    pub proxy: Option<Url>,
    /// The DNS name that is connected to instead of the URL's; then no proxy is used.
    pub connect_to: Option<String>,
    /// Trusted instead of the CAs of this host.
    pub ca_file: Option<PathBuf>,
    /// HTTP/2 without TLS, as gRPC has it.
    pub http2_only: bool,
}

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTP library refuses.
    #[error("set up the HTTP client: {0}")]
    Http(#[from] reqwest::Error),
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// The body.
    pub body: Bytes,
    /// The protocol's header fields.
    pub headers: HeaderMap,
}

/// What comes back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Header and trailer fields.
    pub headers: HeaderMap,
    /// The first part of the body.
    pub body: Bytes,
}

/// How an attempt ended.
#[derive(Debug)]
pub enum Outcome {
    /// With an answer.
    Answered(Answer),
    /// Without one: refused, reset, timed out, not trusted.
    Network(String),
    /// It was not made.
    Unreadable(CredentialsError),
}

/// Looks up one name, whatever is asked for.
#[derive(Debug)]
struct Instead(String);

impl Resolve for Instead {
    fn resolve(&self, _asked: Name) -> Resolving {
        let name = self.0.clone();
        Box::pin(async move {
            // The port is put in by the client.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// A client of one receiver. Connections are kept and used again.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    connection: Connection,
}

/// The way to a receiver; tests have one of their own.
pub trait Transport: Send + Sync {
    /// Makes one attempt; `attempt` counts from 0.
    fn send(&self, request: Request, attempt: u32) -> Pin<Box<dyn Future<Output = Outcome> + Send + '_>>;
}

impl Transport for Client {
    fn send(&self, request: Request, attempt: u32) -> Pin<Box<dyn Future<Output = Outcome> + Send + '_>> {
        Box::pin(self.attempt(request, attempt))
    }
}

impl Client {
    /// Makes a client. Nothing is connected yet.
    ///
    /// # Errors
    /// When TLS can't be set up.
    pub fn new(connection: Connection) -> Result<Self, ClientError> {
        let tls = tls::config(connection.ca_file.as_deref(), connection.http2_only)?;
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("lionpay-sensor/", env!("CARGO_PKG_VERSION")))
            // A push that is sent on to another place would take the credentials with it.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(connection.timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true);
        if let Some(proxy) = &connection.proxy {
            builder = builder.proxy(reqwest::Proxy::all(proxy.clone())?);
        } else if let Some(name) = &connection.connect_to {
            builder = builder.no_proxy().dns_resolver(Instead(name.clone()));
        } else if endpoint::is_loopback(&connection.url) {
            // The environment's proxy has no way to this host.
            builder = builder.no_proxy();
        }
        if connection.http2_only && connection.url.scheme() == "http" {
            builder = builder.http2_prior_knowledge();
        }
        Ok(Self { http: builder.build()?, connection })
    }

    async fn attempt(&self, request: Request, attempt: u32) -> Outcome {
        let mut headers = request.headers;
        for (name, value) in &self.connection.headers {
            headers.insert(name.clone(), value.clone());
        }
        match self.connection.credentials.header() {
            Ok(Some(value)) => drop(headers.insert(AUTHORIZATION, value)),
            Ok(None) => {}
            Err(error) => return Outcome::Unreadable(error),
        }
        if attempt > 0 {
            headers.insert(RETRY_ATTEMPT, HeaderValue::from(attempt));
        }
        let post = self.http.post(self.connection.url.clone()).headers(headers).body(request.body);
        match post.send().await {
            Ok(response) => match answer(response).await {
                Ok(answer) => Outcome::Answered(answer),
                Err(error) => Outcome::Network(chain(&error.without_url())),
            },
            Err(error) => Outcome::Network(chain(&error.without_url())),
        }
    }
}

async fn answer(response: reqwest::Response) -> Result<Answer, reqwest::Error> {
    let status = response.status().as_u16();
    let mut headers = response.headers().clone();
    let mut body = BytesMut::new();
    let mut frames = reqwest::Body::from(response);
    while let Some(frame) = frames.frame().await {
        match frame?.into_data() {
            Ok(data) if body.len() < ANSWER_MAX => {
                body.extend_from_slice(&data[..data.len().min(ANSWER_MAX)]);
            }
            // The rest is read, so that the connection can be used again.
            Ok(_) => {}
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    headers.extend(trailers);
                }
            }
        }
    }
    Ok(Answer { status, headers, body: body.freeze() })
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
