//! One batch to one receiver: the request, what its answer means, and when to try again.
//!
//! - [`Client`] sends a request over HTTP/1.1 or 2, by TLS unless the receiver is on this host.
//! - [`Table`] is what a protocol says of an answer. One [`Verdict`] decides all: delivered, retry, split, give up.
//! - [`Backoff`] and [`Window`] are plain values: how long to wait, and how many requests may be under way.
//! - [`Credentials`] are read for each request, from the environment or a file, and never printed.

mod backoff;
mod client;
mod credentials;
mod endpoint;
mod grpc;
mod retry;
mod tls;
mod window;

pub use backoff::Backoff;
pub use client::{Answer, Client, ClientError, Connection, Outcome, Request, Transport};
pub use credentials::{Credentials, CredentialsError, Source};
pub use endpoint::{EndpointError, check};
pub use retry::{Table, Verdict};
pub use tls::TlsError;
pub use window::Window;
