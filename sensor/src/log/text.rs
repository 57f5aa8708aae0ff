//! From bytes to text.

use std::borrow::Cow;

use memchr::memchr;

const ESCAPE: u8 = 0x1b;

/// The text of a line: without the carriage return before its line feed, with U+FFFD for what is not UTF-8, and
/// without escape sequences (ECMA-48: colours and the like) where these are to be stripped.
pub(super) fn text(bytes: &[u8], strip: bool) -> Cow<'_, str> {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes);
    if strip && memchr(ESCAPE, bytes).is_some() {
        return Cow::Owned(anstream::adapter::strip_str(&text).to_string());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn a_carriage_return_belongs_to_the_line_feed() {
        assert_eq!(text(b"one\r", true), "one");
        assert_eq!(text(b"10%\r20%\r", true), "10%\r20%");
    }

    #[test]
    fn invalid_bytes_are_replaced() {
        assert_eq!(text(b"a\xff\xfeb", true), "a\u{fffd}\u{fffd}b");
    }

    #[test]
    fn colours_are_stripped_and_tabs_stay() {
        assert_eq!(text(b"\x1b[1;31mERROR\x1b[0m\tx", true), "ERROR\tx");
        assert_eq!(text(b"\x1b[31mERROR\x1b[0m", false), "\x1b[31mERROR\x1b[0m");
        assert_eq!(text("결제 \x1b[32m승인".as_bytes(), true), "결제 승인");
    }
}
