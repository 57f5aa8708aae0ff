//! Request line and status line (RFC 9112 sections 3 and 4).

/// The longest method that is taken for one.
const METHOD_LIMIT: usize = 32;
const STATUS_LINE: &[u8] = b"HTTP/1.";

/// `network.protocol.version` by the digit after `HTTP/1.`.
const fn version(digit: u8) -> Option<&'static str> {
    match digit {
        b'0' => Some("1.0"),
        b'1' => Some("1.1"),
        _ => None,
    }
}

/// What is known of a request line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RequestLine<'a> {
    /// The method, when it was seen whole.
    pub(super) method: Option<&'a [u8]>,
    /// The request target, as far as it was seen.
    pub(super) target: &'a [u8],
    /// Whether that is all of it.
    pub(super) target_is_whole: bool,
    /// The version, when it was seen.
    pub(super) version: Option<&'static str>,
}

/// What bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartLine<'a> {
    /// A whole request line.
    Request(RequestLine<'a>),
    /// A status line, whole up to its reason phrase.
    Response {
        /// The status, 100–999.
        status: u16,
        /// The version.
        version: &'static str,
    },
    /// What may become either.
    Partial,
    /// Something else.
    Foreign,
}

/// Reads the start line at the beginning of `bytes`, which may go on behind it.
pub(super) fn read(bytes: &[u8]) -> StartLine<'_> {
    let known = bytes.len().min(STATUS_LINE.len());
    if bytes[..known] == STATUS_LINE[..known] {
        return if known < STATUS_LINE.len() { StartLine::Partial } else { read_status_line(bytes) };
    }
    let method = method_len(bytes);
    if method == 0 || method > METHOD_LIMIT {
        return StartLine::Foreign;
    }
    match bytes.get(method) {
        None => return StartLine::Partial,
        Some(b' ') => {}
        Some(_) => return StartLine::Foreign,
    }
    let rest = &bytes[method + 1..];
    let Some(end) = memchr::memchr(b'\n', rest) else {
        let text = rest.strip_suffix(b"\r").unwrap_or(rest);
        return if is_text(text) { StartLine::Partial } else { StartLine::Foreign };
    };
    let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
    let Some((line, &[digit])) = line.split_at_checked(line.len().wrapping_sub(1)).filter(|(line, digit)| {
        digit.len() == 1 && line.ends_with(b" HTTP/1.") && line.len() > b" HTTP/1.".len() && is_text(line)
    }) else {
        return StartLine::Foreign;
    };
    let Some(version) = version(digit) else { return StartLine::Foreign };
    StartLine::Request(RequestLine {
        method: Some(&bytes[..method]),
        target: &line[..line.len() - b" HTTP/1.".len()],
        target_is_whole: true,
        version: Some(version),
    })
}

/// What a request line that was cut off at the end of `bytes` tells.
pub(super) fn read_cut(bytes: &[u8]) -> RequestLine<'_> {
    let method = method_len(bytes);
    if bytes.get(method) != Some(&b' ') {
        return RequestLine::default();
    }
    let rest = &bytes[method + 1..];
    // A space ends the target only if the version follows: some clients leave spaces in targets.
    let end = memchr::memrchr(b' ', rest).filter(|&end| {
        let after = rest[end + 1..].strip_suffix(b"\r").unwrap_or(&rest[end + 1..]);
        after.len() >= 2 && b"HTTP/1.".starts_with(&after[..after.len().min(7)])
    });
    RequestLine {
        method: Some(&bytes[..method]),
        target: &rest[..end.unwrap_or(rest.len())],
        target_is_whole: end.is_some(),
        version: None,
    }
}

/// Whether a head ends in `bytes`, and where: after the first empty line at `from` or later.
pub(super) fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = memchr::memchr(b'\n', bytes.get(at..)?) {
        at += found + 1;
        match bytes.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
    None
}

fn read_status_line(bytes: &[u8]) -> StartLine<'_> {
    let Some(&digit) = bytes.get(7) else { return StartLine::Partial };
    let Some(version) = version(digit) else { return StartLine::Foreign };
    let mut status = 0;
    for (index, &byte) in bytes.iter().enumerate().take(13).skip(8) {
        match index {
            8 if byte == b' ' => {}
            9 if matches!(byte, b'1'..=b'9') => status = u16::from(byte - b'0'),
            10 | 11 if byte.is_ascii_digit() => status = status * 10 + u16::from(byte - b'0'),
            12 if matches!(byte, b' ' | b'\r' | b'\n') => return StartLine::Response { status, version },
            _ => return StartLine::Foreign,
        }
    }
    StartLine::Partial
}

/// How many bytes at the start can be a method. RFC 9110 allows any token; only upper-case ones are in use,
/// and only those are followed.
fn method_len(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .take(METHOD_LIMIT + 1)
        .position(|byte| !matches!(byte, b'A'..=b'Z' | b'-' | b'_'))
        .unwrap_or_else(|| bytes.len().min(METHOD_LIMIT + 1))
}

fn is_text(bytes: &[u8]) -> bool {
    !bytes.iter().any(|&byte| byte < b' ' || byte == 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(method: &'a str, target: &'a str, version: &'static str) -> StartLine<'a> {
        StartLine::Request(RequestLine {
            method: Some(method.as_bytes()),
            target: target.as_bytes(),
            target_is_whole: true,
            version: Some(version),
        })
    }

    #[test]
    fn reads_request_lines() {
        assert_eq!(read(b"GET / HTTP/1.1\r\nHost: a"), request("GET", "/", "1.1"));
        assert_eq!(read(b"M-SEARCH * HTTP/1.0\n"), request("M-SEARCH", "*", "1.0"));
        assert_eq!(read(b"GET /a b HTTP/1.1\r\n"), request("GET", "/a b", "1.1"));
    }

    #[test]
    fn every_prefix_of_a_start_line_is_partial() {
        for line in [&b"OPTIONS /x?y=HTTP/1.0 HTTP/1.1\r\n"[..], b"HEAD / HTTP/1.0\r\n"] {
            for end in 1..line.len() {
                assert_eq!(read(&line[..end]), StartLine::Partial, "{end}");
            }
        }
        let line = b"HTTP/1.1 204 ";
        for end in 1..line.len() {
            assert_eq!(read(&line[..end]), StartLine::Partial, "{end}");
        }
        assert_eq!(read(line), StartLine::Response { status: 204, version: "1.1" });
        assert_eq!(read(b"HTTP/1.0 200\r\n"), StartLine::Response { status: 200, version: "1.0" });
    }

    #[test]
    fn other_protocols_are_foreign() {
        let others: [&[u8]; 14] = [
            b"EHLO mail.example.org\r\n",
            b"PRI * HTTP/2.0\r\n",
            b"GET /\r\n",
            b"GET  HTTP/1.1\r\n",
            b"SET key value\r\n",
            b"\x16\x03\x01\x02\x00",
            b"*1\r\n$4\r\nPING\r\n",
            b"Q\0\0\0\x0dSELECT 1\0",
            b"get / HTTP/1.1\r\n",
            b"GET /\x00 HTTP/1.1\r\n",
            b"HTTP/1.2 200 OK\r\n",
            b"HTTP/1.1 20x OK\r\n",
            b"HTTP/1.1 099 OK\r\n",
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGH / HTTP/1.1\r\n",
        ];
        for bytes in others {
            assert_eq!(read(bytes), StartLine::Foreign, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_cut_line_tells_what_it_holds() {
        let cut = |bytes| {
            let line = read_cut(bytes);
            (line.method.map(<[u8]>::to_vec), line.target, line.target_is_whole)
        };
        assert_eq!(cut(b"GE"), (None, &b""[..], false));
        assert_eq!(cut(b"GET /lo"), (Some(b"GET".to_vec()), &b"/lo"[..], false));
        assert_eq!(cut(b"GET /long HT"), (Some(b"GET".to_vec()), &b"/long"[..], true));
        assert_eq!(cut(b"GET /long H"), (Some(b"GET".to_vec()), &b"/long H"[..], false));
        assert_eq!(cut(b"GET /long HTTP/1.1\r"), (Some(b"GET".to_vec()), &b"/long"[..], true));
    }

    #[test]
    fn finds_the_end_of_a_head() {
        assert_eq!(head_end(b"GET / HTTP/1.1\r\n\r\nx", 0), Some(18));
        assert_eq!(head_end(b"GET / HTTP/1.1\n\nx", 0), Some(16));
        assert_eq!(head_end(b"GET / HTTP/1.1\r\na: b\r\n\r", 0), None);
        assert_eq!(head_end(b"", 0), None);
    }
}
