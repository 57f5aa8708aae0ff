//! How long a message body is (RFC 9112 section 6.3).

/// The end of a body, as the head tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// After the last chunk and its trailer section.
    Chunked,
    /// Where the connection ends.
    UntilClose,
    /// The head does not tell, or not in a way that all recipients agree on.
    Unknown,
}

/// The header fields that decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FramingFields {
    /// `Content-Length`, `Some(None)` when its value is no number or not the same each time.
    length: Option<Option<u64>>,
    /// `Transfer-Encoding`: whether the last coding is `chunked`.
    chunked: Option<bool>,
}

impl FramingFields {
    /// Takes note of a `Content-Length` field line.
    pub(super) fn add_length(&mut self, value: &[u8]) {
        for member in value.split(|&byte| byte == b',') {
            let number = parse_number(member.trim_ascii());
            self.length = Some(match self.length {
                None => number,
                Some(before) => before.filter(|_| before == number),
            });
        }
    }

    /// Takes note of a `Transfer-Encoding` field line.
    pub(super) fn add_encoding(&mut self, value: &[u8]) {
        let last =
            value.rsplit(|&byte| byte == b',').map(<[u8]>::trim_ascii).find(|coding| !coding.is_empty());
        self.chunked = Some(last.is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked")));
    }

    /// The body of a request.
    pub(super) fn of_request(&self, version: Option<&str>) -> Framing {
        match (self.chunked, self.length) {
            // Section 6.1: the framing of an HTTP/1.0 message with a transfer coding is faulty.
            (Some(true), _) if version == Some("1.1") => Framing::Chunked,
            (Some(_), _) | (None, Some(None)) => Framing::Unknown,
            (None, Some(Some(length))) => Framing::Length(length),
            (None, None) => Framing::Length(0),
        }
    }

    /// The body of a response with this status, where the request's method was HEAD or not.
    pub(super) fn of_response(&self, version: &str, status: u16, is_head: bool) -> Framing {
        if is_head || matches!(status, 100..=199 | 204 | 304) {
            return Framing::Length(0);
        }
        match (self.chunked, self.length) {
            (Some(true), _) if version == "1.1" => Framing::Chunked,
            (Some(false), _) if version == "1.1" => Framing::UntilClose,
            (Some(_), _) | (None, Some(None)) => Framing::Unknown,
            (None, Some(Some(length))) => Framing::Length(length),
            (None, None) => Framing::UntilClose,
        }
    }
}

fn parse_number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, &digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lengths: &[&str], encodings: &[&str]) -> FramingFields {
        let mut fields = FramingFields::default();
        lengths.iter().for_each(|value| fields.add_length(value.as_bytes()));
        encodings.iter().for_each(|value| fields.add_encoding(value.as_bytes()));
        fields
    }

    #[test]
    fn requests() {
        let cases = [
            (fields(&[], &[]), Framing::Length(0)),
            (fields(&["12"], &[]), Framing::Length(12)),
            (fields(&["12", "12"], &[]), Framing::Length(12)),
            (fields(&["12, 12"], &[]), Framing::Length(12)),
            (fields(&["12", "13"], &[]), Framing::Unknown),
            (fields(&["12", "13", "12"], &[]), Framing::Unknown),
            (fields(&["+1"], &[]), Framing::Unknown),
            (fields(&[""], &[]), Framing::Unknown),
            (fields(&["18446744073709551616"], &[]), Framing::Unknown),
            (fields(&["5"], &["chunked"]), Framing::Chunked),
            (fields(&[], &["gzip, Chunked"]), Framing::Chunked),
            (fields(&[], &["gzip", "chunked"]), Framing::Chunked),
            (fields(&[], &["chunked, gzip"]), Framing::Unknown),
        ];
        for (fields, framing) in cases {
            assert_eq!(fields.of_request(Some("1.1")), framing, "{fields:?}");
        }
        assert_eq!(fields(&[], &["chunked"]).of_request(Some("1.0")), Framing::Unknown);
    }

    #[test]
    fn responses() {
        let of = |fields: FramingFields, status, is_head| fields.of_response("1.1", status, is_head);
        assert_eq!(of(fields(&["7"], &[]), 200, false), Framing::Length(7));
        assert_eq!(of(fields(&["7"], &[]), 200, true), Framing::Length(0));
        assert_eq!(of(fields(&["7"], &[]), 304, false), Framing::Length(0));
        assert_eq!(of(fields(&[], &["chunked"]), 204, false), Framing::Length(0));
        assert_eq!(of(fields(&["7"], &["chunked"]), 200, false), Framing::Chunked);
        assert_eq!(of(fields(&["7"], &["gzip"]), 200, false), Framing::UntilClose);
        assert_eq!(of(fields(&[], &[]), 200, false), Framing::UntilClose);
        assert_eq!(of(fields(&["x"], &[]), 200, false), Framing::Unknown);
        assert_eq!(fields(&["7"], &["chunked"]).of_response("1.0", 200, false), Framing::Unknown);
    }
}
