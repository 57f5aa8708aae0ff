//! Walking the chunked transfer coding (RFC 9112 section 7.1) over bytes that are only partly seen.

/// Where in a chunked body the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunked {
    step: Step,
    /// The chunk size being read, or the bytes left of the chunk.
    size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Before the first digit of a chunk size.
    Size,
    /// After a digit.
    Digits,
    /// In what may follow the size on its line.
    Extension,
    /// In a chunk's data.
    Data,
    /// At the line end behind the data.
    DataEnd,
    /// At the beginning of a trailer field line, or of the empty line.
    Line,
    /// Within a trailer field line.
    Field,
    /// After a CR at the beginning of a line.
    LastLineFeed,
}

/// What became of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Walk {
    /// The body goes on behind them.
    More,
    /// The body ended after so many of them.
    End(usize),
    /// They are no chunked coding, or the framing was not among what was seen.
    Blind,
}

impl Chunked {
    pub(super) const START: Self = Self { step: Step::Size, size: 0 };

    /// Goes over bytes that were seen.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Walk {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.step == Step::Data {
                let used = usize::try_from(self.size).unwrap_or(usize::MAX).min(bytes.len() - at);
                at += used;
                self.take(used as u64);
                continue;
            }
            at += 1;
            match self.next(byte) {
                Some(Step::LastLineFeed) if byte == b'\n' => return Walk::End(at),
                Some(step) => self.step = step,
                None => return Walk::Blind,
            }
        }
        Walk::More
    }

    /// Goes over `count` bytes that were not seen: possible only within one chunk's data.
    pub(super) fn skip(&mut self, count: u64) -> Walk {
        if count == 0 {
            Walk::More
        } else if self.step == Step::Data && count <= self.size {
            self.take(count);
            Walk::More
        } else {
            Walk::Blind
        }
    }

    /// How many bytes can be skipped and the framing still be known.
    pub(super) const fn skippable(&self) -> u64 {
        match self.step {
            Step::Data => self.size,
            _ => 0,
        }
    }

    fn take(&mut self, count: u64) {
        self.size -= count;
        if self.size == 0 {
            self.step = Step::DataEnd;
        }
    }

    /// The step after `byte`; `LastLineFeed` at a line feed means the end.
    fn next(&mut self, byte: u8) -> Option<Step> {
        Some(match (self.step, byte) {
            (Step::Size | Step::Digits, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = u64::from((byte as char).to_digit(16)?);
                let before = if self.step == Step::Size { 0 } else { self.size };
                self.size = before.checked_mul(16)?.checked_add(digit)?;
                Step::Digits
            }
            (Step::Digits | Step::Extension, b'\n') if self.size == 0 => Step::Line,
            (Step::Digits | Step::Extension, b'\n') => Step::Data,
            (Step::Digits, b'\r' | b';' | b' ' | b'\t') | (Step::Extension, _) => Step::Extension,
            (Step::DataEnd, b'\r') => Step::DataEnd,
            (Step::DataEnd, b'\n') => Step::Size,
            (Step::Line, b'\r') => Step::LastLineFeed,
            (Step::Line | Step::LastLineFeed, b'\n') => Step::LastLineFeed,
            (Step::Field, b'\n') => Step::Line,
            (Step::Line | Step::Field, _) => Step::Field,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"5\r\nhello\r\nA;ext=\"1\"\r\n0\r\n\r\n45678\r\n000\r\nX-Sum: 1\r\n\r\n";

    #[test]
    fn finds_the_end_however_the_bytes_are_cut() {
        let mut bytes = BODY.to_vec();
        bytes.extend_from_slice(b"HTTP/1.1");
        for first in 0..BODY.len() {
            let mut walk = Chunked::START;
            assert_eq!(walk.feed(&bytes[..first]), Walk::More, "{first}");
            assert_eq!(walk.feed(&bytes[first..]), Walk::End(BODY.len() - first), "{first}");
        }
        let mut walk = Chunked::START;
        let walks: Vec<_> = BODY.iter().map(|&byte| walk.feed(&[byte])).collect();
        assert_eq!(walks.iter().position(|&walk| walk == Walk::End(1)), Some(BODY.len() - 1));
    }

    #[test]
    fn skips_within_a_chunk_only() {
        let mut walk = Chunked::START;
        assert_eq!(walk.feed(b"ff\r\nabc"), Walk::More);
        assert_eq!(walk.skippable(), 252);
        assert_eq!(walk.skip(252), Walk::More);
        assert_eq!(walk.feed(b"\r\n0\r\n\r\n"), Walk::End(7));

        let mut walk = Chunked::START;
        assert_eq!(walk.feed(b"4\r\nabc"), Walk::More);
        assert_eq!(walk.skip(2), Walk::Blind);
    }

    #[test]
    fn refuses_what_is_no_chunk() {
        for bytes in [&b"HTTP/1.1 200 OK"[..], b"\r\n", b"3\r\nabcd", b"fffffffffffffffff\r\n", b"-1\r\n"] {
            assert_eq!(Chunked::START.clone().feed(bytes), Walk::Blind, "{}", bytes.escape_ascii());
        }
    }
}
