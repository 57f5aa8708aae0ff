//! How far a message body has come.

use super::{
    chunked::{Chunked, Walk},
    framing::Framing,
};

/// A body whose end is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes are left, at least one.
    Length(u64),
    /// The chunk framing was seen so far.
    Chunked(Chunked),
    /// Chunked, but the framing is no longer known.
    Blind,
    /// It ends with the connection.
    UntilClose,
}

impl Body {
    /// The body that the head announces: `Ok(None)` for none, `Err` when its end cannot be known.
    pub(super) const fn new(framing: Framing) -> Result<Option<Self>, ()> {
        match framing {
            Framing::Length(0) => Ok(None),
            Framing::Length(length) => Ok(Some(Self::Length(length))),
            Framing::Chunked => Ok(Some(Self::Chunked(Chunked::START))),
            Framing::UntilClose => Ok(Some(Self::UntilClose)),
            Framing::Unknown => Err(()),
        }
    }

    /// Takes bytes that were seen: how many of them belong to the body, and whether it ends there.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> (usize, bool) {
        match self {
            Self::Length(_) => {
                let (used, ended) = self.skip(bytes.len() as u64);
                (usize::try_from(used).unwrap_or(bytes.len()), ended)
            }
            Self::Chunked(chunked) => match chunked.feed(bytes) {
                Walk::More => (bytes.len(), false),
                Walk::End(used) => (used, true),
                Walk::Blind => {
                    *self = Self::Blind;
                    (bytes.len(), false)
                }
            },
            Self::Blind | Self::UntilClose => (bytes.len(), false),
        }
    }

    /// Takes `count` bytes that were not seen.
    pub(super) fn skip(&mut self, count: u64) -> (u64, bool) {
        match self {
            Self::Length(left) => {
                let used = count.min(*left);
                *left -= used;
                (used, *left == 0)
            }
            Self::Chunked(chunked) => {
                if chunked.skip(count) == Walk::Blind {
                    *self = Self::Blind;
                }
                (count, false)
            }
            Self::Blind | Self::UntilClose => (count, false),
        }
    }

    /// How many bytes are sure to belong to this body.
    pub(super) const fn certain(&self) -> u64 {
        match self {
            Self::Length(left) => *left,
            Self::Chunked(chunked) => chunked.skippable(),
            Self::Blind => 0,
            Self::UntilClose => u64::MAX,
        }
    }
}

/// What the last bytes of a stream say about the end of a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// The last chunk, with an empty trailer section.
    LastChunk,
    /// An empty line: the end of a trailer section, or data that looks like one.
    EmptyLine,
    /// Not the end.
    Other,
    /// The bytes are not known.
    Unknown,
}

impl Tail {
    /// Reads the last eight bytes of a stream, in which zeros stand for unknown ones.
    ///
    /// Behind a hexadecimal digit nothing is claimed: it may end the size of a chunk whose data is what looks like
    /// the last chunk.
    pub(super) fn new(tail: [u8; 8]) -> Self {
        let [before, a, b, c, end @ ..] = tail;
        if end == *b"\r\n\r\n" {
            let last = [a, b, c] == *b"\r\n0" && before != 0 && !before.is_ascii_hexdigit();
            return if last { Self::LastChunk } else { Self::EmptyLine };
        }
        let unknown = end.iter().take_while(|&&byte| byte == 0).count();
        if unknown > 0 && b"\r\n\r\n".ends_with(&end[unknown..]) { Self::Unknown } else { Self::Other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails() {
        assert_eq!(Tail::new(*b"x\r\n0\r\n\r\n"), Tail::LastChunk);
        assert_eq!(Tail::new(*b"5\r\n0\r\n\r\n"), Tail::EmptyLine);
        assert_eq!(Tail::new(*b"\0\r\n0\r\n\r\n"), Tail::EmptyLine);
        assert_eq!(Tail::new(*b"\0\0\x000\r\n\r\n"), Tail::EmptyLine);
        assert_eq!(Tail::new(*b"\r\n10\r\n\r\n"), Tail::EmptyLine);
        assert_eq!(Tail::new(*b"m: 1\r\n\r\n"), Tail::EmptyLine);
        assert_eq!(Tail::new(*b"abcdefgh"), Tail::Other);
        assert_eq!(Tail::new([0; 8]), Tail::Unknown);
        assert_eq!(Tail::new(*b"\0\0\0\0\0\n\r\n"), Tail::Unknown);
        assert_eq!(Tail::new(*b"\0\0\0\0\0\0\0a"), Tail::Other);
    }

    #[test]
    fn a_length_ends_exactly() {
        let mut body = Body::Length(10);
        assert_eq!(body.feed(b"GET / "), (6, false));
        assert_eq!(body.skip(3), (3, false));
        assert_eq!(body.feed(b"xyz"), (1, true));
    }
}
