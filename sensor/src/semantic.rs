//! The HTTP semantic conventions of OpenTelemetry 1.44, as far as metrics, spans and the terminal share them.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::protocol::{End, Exchange, Role};
use crate::rpc;

/// `http.request.method` for a method that is not in the list of known ones.
pub const OTHER_METHOD: &str = "_OTHER";

/// The longest host name (RFC 1035, 2.3.4, without the trailing dot).
const HOST_NAME_MAX: usize = 253;

/// The methods of RFC 9110, PATCH of RFC 5789 and QUERY.
const KNOWN_METHODS: [&str; 10] =
    ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY"];

/// `http.request.method`: the method itself when it is a known one (methods are case-sensitive), else
/// [`OTHER_METHOD`], so that a client can't make up series.
#[must_use]
pub fn request_method(method: &str) -> &'static str {
    KNOWN_METHODS.iter().find(|known| **known == method).copied().unwrap_or(OTHER_METHOD)
}

/// The word for a role.
#[must_use]
pub const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Server => "server",
        Role::Client => "client",
    }
}

/// `error.type` of a failed exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// The response's status says so.
    Status(u16),
    /// The connection ended before the response's first byte.
    NoResponse,
    /// The connection ended in the middle of the response.
    ResponseCut,
    /// The stream was given up with this error code.
    Reset(u32),
    /// The call's gRPC status says so.
    Grpc(u16),
}

impl ErrorType {
    /// What failed, or `None` for an exchange that did not.
    ///
    /// A 4xx is the client's failure and not the server's; a status that says so goes before a cut.
    #[must_use]
    pub fn of(exchange: &Exchange) -> Option<Self> {
        if let Some(status) = exchange.grpc.and_then(|grpc| grpc.status) {
            return rpc::is_failure(exchange.role, status).then_some(Self::Grpc(status));
        }
        let first_failure = match exchange.role {
            Role::Server => 500,
            Role::Client => 400,
        };
        match (exchange.status, exchange.end) {
            (Some(status), _) if status >= first_failure => Some(Self::Status(status)),
            (_, End::NoResponse) => Some(Self::NoResponse),
            (_, End::ResponseCut) => Some(Self::ResponseCut),
            (_, End::Reset(code)) => Some(Self::Reset(code)),
            (_, End::Complete | End::Upgraded) => None,
        }
    }
}

impl fmt::Display for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::NoResponse => f.write_str("no_response"),
            Self::ResponseCut => f.write_str("response_cut"),
            Self::Reset(code) => f.write_str(reset_name(*code)),
            Self::Grpc(status) => f.write_str(rpc::status_name(*status)),
        }
    }
}

/// The error codes of RFC 9113 section 7 in lower case.
const fn reset_name(code: u32) -> &'static str {
    const NAMES: [&str; 14] = [
        "no_error",
        "protocol_error",
        "internal_error",
        "flow_control_error",
        "settings_timeout",
        "stream_closed",
        "frame_size_error",
        "refused_stream",
        "cancel",
        "compression_error",
        "connect_error",
        "enhance_your_calm",
        "inadequate_security",
        "http_1_1_required",
    ];
    if (code as usize) < NAMES.len() { NAMES[code as usize] } else { "unknown_error" }
}

/// From the request's first byte to the exchange's end, in nanoseconds.
#[must_use]
pub fn duration_ns(exchange: &Exchange) -> u64 {
    exchange.end_ns.saturating_sub(exchange.request.first_ns)
}

/// From the request's first byte to the response's first byte, in nanoseconds; `None` without a response.
#[must_use]
pub fn time_to_first_byte_ns(exchange: &Exchange) -> Option<u64> {
    Some(exchange.response?.first_ns.saturating_sub(exchange.request.first_ns))
}

/// `server.address`: a name or an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Address<S> {
    /// A host name in lower case, or the path of a Unix-domain socket.
    Name(S),
    /// An address, IPv4 never in its IPv6-mapped form.
    Ip(IpAddr),
}

impl<S> Address<S> {
    /// The address with another kind of string.
    pub fn map<T>(self, f: impl FnOnce(S) -> T) -> Address<T> {
        match self {
            Self::Name(name) => Address::Name(f(name)),
            Self::Ip(ip) => Address::Ip(ip),
        }
    }
}

impl<S: fmt::Display> fmt::Display for Address<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

/// `server.address` and `server.port`: what the request names, else the address that it was sent to. Of a Unix-domain
/// socket it is the path, whatever the request names, and there is no port.
#[must_use]
pub fn server(exchange: &Exchange) -> (Address<Cow<'_, str>>, Option<u16>) {
    let host = || exchange.host.as_deref().and_then(Host::parse).map(|host| host.address);
    let address = match exchange.endpoints.path {
        Some("") => host().unwrap_or(Address::Name(Cow::Borrowed(""))),
        Some(path) => Address::Name(Cow::Borrowed(path)),
        None => host().unwrap_or_else(|| Address::Ip(server_end(exchange).ip().to_canonical())),
    };
    (address, server_port(exchange))
}

/// `server.port`.
#[must_use]
pub fn server_port(exchange: &Exchange) -> Option<u16> {
    exchange.endpoints.path.is_none().then(|| server_end(exchange).port())
}

fn server_end(exchange: &Exchange) -> SocketAddr {
    match exchange.role {
        Role::Server => exchange.endpoints.local,
        Role::Client => exchange.endpoints.remote,
    }
}

/// What a `Host` header or an authority names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host<'a> {
    /// The host.
    pub address: Address<Cow<'a, str>>,
    /// The port, where it is written out.
    pub port: Option<u16>,
}

impl<'a> Host<'a> {
    /// Reads `uri-host [ ":" port ]` (RFC 9110, 7.2). User information before an `@` is dropped: it may be a
    /// password. `None` for what is not a plain host name or an address.
    #[must_use]
    pub fn parse(value: &'a str) -> Option<Self> {
        let value = value.rsplit_once('@').map_or(value, |(_, host)| host);
        if let Some(rest) = value.strip_prefix('[') {
            let (ip, rest) = rest.split_once(']')?;
            let port = if rest.is_empty() { None } else { parse_port(rest.strip_prefix(':')?)? };
            return Some(Self { address: Address::Ip(IpAddr::V6(ip.parse().ok()?).to_canonical()), port });
        }
        let (name, port) = match value.split_once(':') {
            Some((name, port)) => (name, parse_port(port)?),
            None => (value, None),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        let sane = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if name.is_empty() || name.len() > HOST_NAME_MAX || !name.bytes().all(sane) {
            return None;
        }
        if name.as_bytes().first().is_some_and(u8::is_ascii_digit)
            && let Ok(ip) = name.parse()
        {
            return Some(Self { address: Address::Ip(IpAddr::V4(ip)), port });
        }
        let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        };
        Some(Self { address: Address::Name(name), port })
    }
}

/// The outer `None` is for what is not a port; an empty port means the scheme's own.
#[expect(clippy::option_option, reason = "absent and wrong are different answers")]
fn parse_port(text: &str) -> Option<Option<u16>> {
    if text.is_empty() {
        return Some(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::fixture::exchange;

    #[test]
    fn a_method_is_known_only_in_its_own_case() {
        assert_eq!(request_method("GET"), "GET");
        assert_eq!(request_method("QUERY"), "QUERY");
        assert_eq!(request_method("get"), OTHER_METHOD);
        assert_eq!(request_method("BREW"), OTHER_METHOD);
    }

    #[test]
    fn what_failed_depends_on_the_side() {
        let of = |role, status, end| {
            ErrorType::of(&Exchange { role, status, end, ..exchange() }).map(|error| error.to_string())
        };
        assert_eq!(of(Role::Server, Some(404), End::Complete), None);
        assert_eq!(of(Role::Client, Some(404), End::Complete).as_deref(), Some("404"));
        assert_eq!(of(Role::Server, Some(503), End::Complete).as_deref(), Some("503"));
        assert_eq!(of(Role::Server, Some(101), End::Upgraded), None);
        assert_eq!(of(Role::Server, None, End::NoResponse).as_deref(), Some("no_response"));
        assert_eq!(of(Role::Client, Some(200), End::ResponseCut).as_deref(), Some("response_cut"));
        assert_eq!(of(Role::Client, Some(500), End::ResponseCut).as_deref(), Some("500"));
    }

    #[test]
    fn a_host_is_a_name_or_an_address() {
        let parse = |value| Host::parse(value).map(|host| (host.address.to_string(), host.port));
        assert_eq!(parse("Example.COM:8080"), Some(("example.com".into(), Some(8080))));
        assert_eq!(parse("my_service"), Some(("my_service".into(), None)));
        assert_eq!(parse("example.com."), Some(("example.com".into(), None)));
        assert_eq!(parse("example.com:"), Some(("example.com".into(), None)));
        assert_eq!(parse("10.0.0.1:80"), Some(("10.0.0.1".into(), Some(80))));
        assert_eq!(parse("[::1]:80"), Some(("::1".into(), Some(80))));
        assert_eq!(parse("[::ffff:10.0.0.1]"), Some(("10.0.0.1".into(), None)));
        assert_eq!(parse("user:secret@example.com"), Some(("example.com".into(), None)));
        assert_eq!(Host::parse("10.0.0.1").unwrap().address, Address::Ip("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_host_that_is_not_sane_is_no_host() {
        let long = "a".repeat(254);
        for value in
            ["", ":80", "a b", "a\"b", "a:b", "a:99999", "a:+1", "[::1", "[::1]x", "[a]", "h\u{e9}", &long]
        {
            assert_eq!(Host::parse(value), None, "{value}");
        }
    }
}
