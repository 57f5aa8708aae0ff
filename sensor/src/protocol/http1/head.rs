//! Header sections, and what of them is kept.

use std::{borrow::Cow, mem::MaybeUninit};

use httparse::{Header, ParserConfig, Status};

use super::{
    framing::FramingFields,
    start_line::{self, RequestLine, StartLine},
};
use crate::protocol::kept::{self, text, text_whole};

/// The most header fields that are read; a head with more counts as malformed.
const FIELD_LIMIT: usize = 128;
/// The methods of RFC 9110 and 5789. No registered method ends like one of them, so they are never the rest of one.
pub(super) const COMMON_METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// A request's head, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct RequestHead {
    /// The method; empty when it is not known whole.
    pub(super) method: Cow<'static, str>,
    pub(super) path: Option<String>,
    pub(super) query: Option<String>,
    pub(super) host: Option<String>,
    pub(super) kept: Vec<(&'static str, String)>,
    pub(super) version: Option<&'static str>,
    pub(super) framing: FramingFields,
    /// The header section could not be read.
    pub(super) is_malformed: bool,
}

/// A response's head, as far as it matters.
#[derive(Debug, Default)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    pub(super) version: &'static str,
    pub(super) framing: FramingFields,
    /// The protocol that the connection goes on in is HTTP/2 (`Upgrade: h2c`, RFC 7540 section 3.2).
    pub(super) is_http2: bool,
    /// The header section could not be read.
    pub(super) is_malformed: bool,
}

impl RequestHead {
    /// Reads a whole head that begins with `line`.
    pub(super) fn read(line: &RequestLine<'_>, head: &[u8]) -> Self {
        let mut request = Self::from_line(line);
        let mut host = None;
        let is_read = each_request_field(head, |name, value| {
            if name.eq_ignore_ascii_case("content-length") {
                request.framing.add_length(value);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                request.framing.add_encoding(value);
            } else if name.eq_ignore_ascii_case("host") {
                host.get_or_insert_with(|| text(value));
            } else {
                kept::keep(&mut request.kept, name.as_bytes(), value);
            }
        });
        // RFC 9112 section 3.2.2: the authority of an absolute target goes before `Host`.
        request.host = request.host.or(host);
        request.is_malformed = !is_read;
        request
    }

    /// Reads what there is of a head that was cut off.
    pub(super) fn read_cut(bytes: &[u8]) -> Self {
        let StartLine::Request(line) = start_line::read(bytes) else {
            return Self::from_line(&start_line::read_cut(bytes));
        };
        let whole_lines = memchr::memrchr(b'\n', bytes).map_or(0, |end| end + 1);
        let mut head = bytes[..whole_lines].to_vec();
        head.extend_from_slice(b"\r\n");
        Self::read(&line, &head)
    }

    fn from_line(line: &RequestLine<'_>) -> Self {
        let mut request = Self {
            method: method(line.method.unwrap_or_default()),
            version: line.version,
            ..Self::default()
        };
        request.read_target(line);
        request
    }

    /// Takes the request target apart (RFC 9112 section 3.2).
    fn read_target(&mut self, line: &RequestLine<'_>) {
        let mut target = line.target;
        if line.method == Some(b"CONNECT") {
            self.path = Some(String::new());
            self.host = line.target_is_whole.then(|| text(target));
            return;
        }
        if !target.starts_with(b"/")
            && let Some(at) = memchr::memmem::find(target, b"://")
        {
            let rest = &target[at + 3..];
            let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
            let authority = &rest[..end.unwrap_or(rest.len())];
            // User information is a secret and no part of the host.
            let host = memchr::memrchr(b'@', authority).map_or(authority, |at| &authority[at + 1..]);
            if end.is_none() && !line.target_is_whole {
                return;
            }
            self.host = Some(text(host));
            target = &rest[end.unwrap_or(rest.len())..];
            if !target.starts_with(b"/") && (line.target_is_whole || !target.is_empty()) {
                self.path = Some("/".to_owned());
            }
        }
        let fragment = memchr::memchr(b'#', target);
        let is_whole = line.target_is_whole || fragment.is_some();
        let target = &target[..fragment.unwrap_or(target.len())];
        let query = memchr::memchr(b'?', target);
        if self.path.is_none() && (is_whole || query.is_some()) {
            self.path = Some(text_whole(&target[..query.unwrap_or(target.len())]));
        }
        if is_whole {
            self.query = query.map(|at| text_whole(&target[at + 1..]));
        }
    }
}

impl ResponseHead {
    /// Reads a whole head with this status line.
    pub(super) fn read(status: u16, version: &'static str, head: &[u8]) -> Self {
        let mut response = Self { status, version, ..Self::default() };
        let is_read = each_response_field(head, |name, value| {
            if name.eq_ignore_ascii_case("content-length") {
                response.framing.add_length(value);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                response.framing.add_encoding(value);
            } else if name.eq_ignore_ascii_case("upgrade") {
                response.is_http2 = value.trim_ascii().eq_ignore_ascii_case(b"h2c");
            }
        });
        response.is_malformed = !is_read;
        response
    }
}

/// Calls `visit` for each header field; `false` when the header section cannot be read.
fn each_request_field(head: &[u8], visit: impl FnMut(&str, &[u8])) -> bool {
    let mut storage = [const { MaybeUninit::uninit() }; FIELD_LIMIT];
    let mut request = httparse::Request::new(&mut []);
    let mut config = ParserConfig::default();
    config.ignore_invalid_headers_in_requests(true);
    if matches!(
        config.parse_request_with_uninit_headers(&mut request, head, &mut storage),
        Ok(Status::Complete(_))
    ) {
        visit_all(request.headers, visit);
        return true;
    }
    // The start line may hold what httparse does not take (spaces in the target) and servers do.
    let mut headers = [httparse::EMPTY_HEADER; FIELD_LIMIT];
    let start = memchr::memchr(b'\n', head).map_or(head.len(), |end| end + 1);
    match httparse::parse_headers(&head[start..], &mut headers) {
        Ok(Status::Complete((_, headers))) => {
            visit_all(headers, visit);
            true
        }
        _ => false,
    }
}

fn each_response_field(head: &[u8], visit: impl FnMut(&str, &[u8])) -> bool {
    let mut storage = [const { MaybeUninit::uninit() }; FIELD_LIMIT];
    let mut response = httparse::Response::new(&mut []);
    let mut config = ParserConfig::default();
    config
        .ignore_invalid_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true);
    let result = config.parse_response_with_uninit_headers(&mut response, head, &mut storage);
    if matches!(result, Ok(Status::Complete(_))) {
        visit_all(response.headers, visit);
        return true;
    }
    false
}

fn visit_all(headers: &[Header<'_>], mut visit: impl FnMut(&str, &[u8])) {
    for header in headers {
        visit(header.name, header.value);
    }
}

/// A method; the usual ones take no memory of their own.
fn method(bytes: &[u8]) -> Cow<'static, str> {
    match COMMON_METHODS.into_iter().find(|known| known.as_bytes() == bytes) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(text_whole(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http1::framing::Framing;

    fn request(head: &[u8]) -> RequestHead {
        match start_line::read(head) {
            StartLine::Request(line) => RequestHead::read(&line, head),
            other => panic!("{other:?}"),
        }
    }

    fn target(method: &str, target: &str) -> (Option<String>, Option<String>, Option<String>) {
        let head = request(format!("{method} {target} HTTP/1.1\r\nHost: h.example\r\n\r\n").as_bytes());
        (head.path, head.query, head.host)
    }

    fn parts(
        path: &str,
        query: Option<&str>,
        host: &str,
    ) -> (Option<String>, Option<String>, Option<String>) {
        (Some(path.to_owned()), query.map(str::to_owned), Some(host.to_owned()))
    }

    #[test]
    fn targets() {
        assert_eq!(target("GET", "/a/b?c=d?e#f"), parts("/a/b", Some("c=d?e"), "h.example"));
        assert_eq!(target("GET", "/a#b?c"), parts("/a", None, "h.example"));
        assert_eq!(target("GET", "/a?"), parts("/a", Some(""), "h.example"));
        assert_eq!(target("GET", "/to?u=http://x/y"), parts("/to", Some("u=http://x/y"), "h.example"));
        assert_eq!(target("OPTIONS", "*"), parts("*", None, "h.example"));
        assert_eq!(target("CONNECT", "db.example:443"), parts("", None, "db.example:443"));
        assert_eq!(target("GET", "http://u:p@o.example:8/x?y"), parts("/x", Some("y"), "o.example:8"));
        assert_eq!(target("GET", "http://o.example"), parts("/", None, "o.example"));
        assert_eq!(target("GET", "http://o.example?q"), parts("/", Some("q"), "o.example"));
        assert_eq!(target("GET", "/a b"), parts("/a b", None, "h.example"));
    }

    #[test]
    fn keeps_the_fields_for_spans() {
        let head = request(
            b"POST / HTTP/1.1\r\nhost: a\r\nUser-Agent: curl/8\r\nTraceParent: 00-1\r\nX-Other: 1\r\n\
              tracestate: x\xff\r\nContent-Length: 3\r\n\r\n",
        );
        assert_eq!(head.host.as_deref(), Some("a"));
        let kept = [("user-agent", "curl/8"), ("traceparent", "00-1"), ("tracestate", "x\u{fffd}")];
        assert_eq!(head.kept, kept.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(head.framing.of_request(Some("1.1")), Framing::Length(3));
    }

    #[test]
    fn values_are_cut() {
        let head = request(format!("GET / HTTP/1.1\r\nuser-agent: {}\r\n\r\n", "x".repeat(3000)).as_bytes());
        assert_eq!(head.kept[0].1.len(), kept::VALUE_LIMIT);
    }

    #[test]
    fn a_cut_head_tells_what_it_holds() {
        let head = RequestHead::read_cut(b"GET /a?b HTTP/1.1\r\nHost: x\r\nUser-Agent: cut off he");
        assert_eq!((head.path.as_deref(), head.query.as_deref()), (Some("/a"), Some("b")));
        assert_eq!((head.host.as_deref(), head.kept.len(), head.is_malformed), (Some("x"), 0, false));

        let path = |bytes: &[u8]| {
            let head = RequestHead::read_cut(bytes);
            (head.path, head.query)
        };
        assert_eq!(path(b"GET /a/b"), (None, None));
        assert_eq!(path(b"GET /a/b?c"), (Some("/a/b".to_owned()), None));
        assert_eq!(path(b"GET http://a.ex"), (None, None));
        assert_eq!(path(b"GET http://a.ex/b"), (None, None));
        assert_eq!(path(b"GE"), (None, None));
    }

    #[test]
    fn rubbish_below_a_start_line_is_malformed() {
        let head = request(b"GET / HTTP/1.1\r\n\0\0\0\r\n\r\n");
        assert!(head.is_malformed || head.kept.is_empty());
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(FIELD_LIMIT + 1));
        assert!(request(many.as_bytes()).is_malformed);
    }
}
