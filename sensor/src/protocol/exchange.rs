//! One request and its response.

use std::borrow::Cow;

use super::{Connection, Endpoints, ExchangeKey, Task};

/// Which side of the exchange the local process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// It received the request.
    Server,
    /// It sent the request.
    Client,
}

/// The timing and size of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// When its first byte was received or sent.
    pub first_ns: u64,
    /// When its last byte was received or sent, as far as it came.
    pub last_ns: u64,
    /// Bytes of start line and header section, with the empty line; `None` where the head was cut.
    pub head_bytes: Option<u64>,
    /// Bytes of the body as transferred (for a chunked body with its framing), as far as it came; `None` where the
    /// head was cut.
    pub body_bytes: Option<u64>,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum End {
    /// Both messages came to their end.
    Complete,
    /// The connection was given to another protocol (101, or 2xx to CONNECT); nothing after that is read.
    Upgraded,
    /// The connection ended before the response's first byte.
    NoResponse,
    /// The connection ended in the middle of the response.
    ResponseCut,
    /// HTTP/2: the stream was given up with this error code (RFC 9113 section 7).
    Reset(u32),
}

/// One request and its response, as one side saw them.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// On which connection.
    pub connection: Connection,
    /// Which request of the connection, as in its signals.
    pub request_number: u64,
    /// Which side the local process is.
    pub role: Role,
    /// Both ends.
    pub endpoints: Endpoints,
    /// The thread that received the request (server) or sent it (client).
    pub task: Task,
    /// `network.protocol.version`: "1.0", "1.1" or "2".
    pub version: &'static str,
    /// The request method as sent; `*` where it cannot be known.
    pub method: Cow<'static, str>,
    /// The request target's path without query and fragment; `*` for `OPTIONS *`, empty for CONNECT. `None`
    /// where the captured bytes ended within it.
    pub path: Option<String>,
    /// The query without the question mark.
    pub query: Option<String>,
    /// The request's `Host`, or the authority of an absolute or CONNECT target.
    pub host: Option<String>,
    /// Request header fields kept for spans: lower-case name and value.
    pub request_headers: Vec<(&'static str, String)>,
    /// The final response's status; `None` when no response began, and for HTTP/2 where it cannot be known.
    pub status: Option<u16>,
    /// The request.
    pub request: Message,
    /// The response; `None` when none began.
    pub response: Option<Message>,
    /// How it ended.
    pub end: End,
    /// When the end was known to have happened without a response ([`End::NoResponse`]: when the connection
    /// closed), else the response's last byte.
    pub end_ns: u64,
    /// What gRPC says beside, if it was a gRPC call.
    pub grpc: Option<Grpc>,
}

/// A gRPC call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grpc {
    /// `grpc-status`; `None` when no trailers came.
    pub status: Option<u16>,
    /// When the first message of the response began.
    pub first_message_ns: Option<u64>,
    /// Messages of the request, where all could be counted.
    pub request_messages: Option<u64>,
    /// Messages of the response, where all could be counted.
    pub response_messages: Option<u64>,
}

impl Exchange {
    /// What its signals call it.
    #[must_use]
    pub const fn key(&self) -> ExchangeKey {
        ExchangeKey { connection: self.connection.id, request: self.request_number }
    }
}
