//! What is spoken on a connection that is not HTTP, from the first bytes of an operation.
//!
//! Strict: a protocol is named when its first message is there with the lengths, numbers and texts that it must have; else
//! nothing is said. So an operation in the middle of a message, or of another protocol, has no name rather than a false
//! one. The kernel decides, so that none of these bytes leaves it; it looks at words, because a loop over bytes multiplies
//! the states of its verifier.

use crate::bytes::{self, HIGH, LOW, at_least, equal};

/// As many first bytes are looked at.
pub const FIRST_BYTES: usize = 32;

/// A protocol, by its `network.protocol.name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub enum NetworkProtocol {
    /// Advanced Message Queuing Protocol, 0-9-1 and 1.0.
    Amqp = 1,
    /// Apache Kafka.
    Kafka = 2,
    /// MongoDB.
    Mongodb = 3,
    /// MySQL and MariaDB.
    Mysql = 4,
    /// PostgreSQL.
    Postgresql = 5,
    /// Redis and Valkey.
    Redis = 6,
    /// TLS; what it carries is not known.
    Tls = 7,
}

/// What an operation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// The protocol.
    pub protocol: NetworkProtocol,
    /// Whether the client may ask for TLS after this, inside of which it is spoken on.
    pub may_become_tls: bool,
}

impl NetworkProtocol {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Amqp, Self::Kafka, Self::Mongodb, Self::Mysql, Self::Postgresql, Self::Redis, Self::Tls];

    /// `network.protocol.name`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amqp => "amqp",
            Self::Kafka => "kafka",
            Self::Mongodb => "mongodb",
            Self::Mysql => "mysql",
            Self::Postgresql => "postgresql",
            Self::Redis => "redis",
            Self::Tls => "tls",
        }
    }

    /// The one of this number; `None` where there is none.
    #[must_use]
    pub fn numbered(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| *protocol as u16 == number)
    }

    /// What an operation that moved `length` bytes says, of which `words` are the first [`FIRST_BYTES`] in memory order, with
    /// zeros where it is shorter, and zeros at the end. TLS is known elsewhere, by its record layer. What is not certain is `None`.
    #[must_use]
    #[inline(always)]
    pub fn of(words: [u64; FIRST_BYTES / 8 + 1], length: u32) -> Option<Spoken> {
        let first = First { words, length };
        let (protocol, may_become_tls) = if first.is_redis() {
            (Self::Redis, false)
        } else if let Some(may_become_tls) = first.postgresql() {
            (Self::Postgresql, may_become_tls)
        } else if let Some(may_become_tls) = first.mysql() {
            (Self::Mysql, may_become_tls)
        } else if first.is_mongodb() {
            (Self::Mongodb, false)
        } else if first.is_kafka() {
            (Self::Kafka, false)
        } else if let Some(may_become_tls) = first.amqp() {
            (Self::Amqp, may_become_tls)
        } else {
            return None;
        };
        Some(Spoken { protocol, may_become_tls })
    }
}

/// An operation's first bytes.
struct First {
    words: [u64; FIRST_BYTES / 8 + 1],
    length: u32,
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest bytes of a word are asked for")]
impl First {
    /// Eight bytes, the first in the lowest.
    #[inline(always)]
    const fn word(&self, at: usize) -> u64 {
        let (index, shift) = (at / 8, at % 8 * 8);
        if shift == 0 {
            self.words[index]
        } else {
            self.words[index] >> shift | self.words[index + 1] << (64 - shift)
        }
    }

    #[inline(always)]
    const fn byte(&self, at: usize) -> u8 {
        self.word(at) as u8
    }

    #[inline(always)]
    const fn little(&self, at: usize) -> u32 {
        self.word(at) as u32
    }

    #[inline(always)]
    const fn big(&self, at: usize) -> u32 {
        self.little(at).swap_bytes()
    }

    #[inline(always)]
    const fn big_short(&self, at: usize) -> u16 {
        (self.word(at) as u16).swap_bytes()
    }

    /// A command: an array of bulk strings (`*2\r\n$3\r\n…`), of at most 999 parts, the first of which is its name.
    #[inline(always)]
    const fn is_redis(&self) -> bool {
        self.byte(0) == b'*'
            && (self.is_line(1, 1) && self.is_bulk(4)
                || self.is_line(1, 2) && self.is_bulk(5)
                || self.is_line(1, 3) && self.is_bulk(6))
    }

    /// The head of a bulk string that is a command's name.
    #[inline(always)]
    const fn is_bulk(&self, at: usize) -> bool {
        self.byte(at) == b'$' && (self.is_line(at + 1, 1) || self.is_line(at + 1, 2))
    }

    /// A number above zero of so many digits, and a line end.
    #[inline(always)]
    const fn is_line(&self, at: usize, digits: u32) -> bool {
        const LINE_END: u64 = u16::from_le_bytes(*b"\r\n") as u64;
        let word = self.word(at);
        let numbers = bytes::first(digits);
        let in_range = at_least(word, b'0') & !at_least(word, b'9' + 1) & !word;
        word as u8 != b'0'
            && in_range & HIGH & numbers == HIGH & numbers
            && word >> (8 * digits) & 0xffff == LINE_END
    }

    /// The first message of a client, an authentication request of a server, or one query that is the whole operation
    /// (<https://www.postgresql.org/docs/current/protocol-message-formats.html>). Whether it may become TLS.
    #[inline(always)]
    fn postgresql(&self) -> Option<bool> {
        const CANCEL: u32 = 80_877_102;
        const SSL: u32 = 80_877_103;
        const GSS: u32 = 80_877_104;
        let (size, code) = (self.big(0), self.big(4));
        if size == self.length {
            if size == 8 && (code == SSL || code == GSS) {
                return Some(true);
            }
            let is_startup =
                (code == 0x0003_0000 || code == 0x0003_0002) && self.byte(8).is_ascii_lowercase();
            if is_startup || size == 16 && code == CANCEL {
                return Some(false);
            }
        }
        let size = self.big(1);
        let is_request = match self.byte(0) {
            b'R' => (8..256).contains(&size) && self.length > 8 && matches!(self.big(5), 0 | 3 | 5 | 10),
            b'Q' => size > 5 && self.length.checked_sub(1) == Some(size) && self.is_query(),
            _ => false,
        };
        is_request.then_some(false)
    }

    /// The greeting of a server, the answer of a client, or one query of a client, each of which is the whole operation
    /// (<https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html>). Whether it may become TLS.
    #[inline(always)]
    fn mysql(&self) -> Option<bool> {
        const GREETING: u8 = 10;
        const QUERY: u8 = 3;
        /// `CLIENT_PROTOCOL_41`, which all clients of the last twenty years set.
        const PROTOCOL_41: u32 = 0x200;
        /// Of an answer that only asks for TLS (`SSLRequest`).
        const REQUEST_SIZE: u32 = 32;
        let size = self.little(0) & 0x00ff_ffff;
        if self.length.checked_sub(4) != Some(size) {
            return None;
        }
        match (self.byte(3), self.byte(4)) {
            (0, GREETING) => {
                let second = self.byte(6);
                let is_version = self.byte(5).is_ascii_digit() && (second == b'.' || second.is_ascii_digit());
                (size > 20 && is_version).then_some(true)
            }
            (0, QUERY) => (size > 2 && self.is_query()).then_some(false),
            (1, _) => {
                // Nineteen of its filler's bytes, which are zero.
                let is_filled = self.word(13) | self.word(21) | self.word(24) == 0;
                (size >= REQUEST_SIZE && self.little(4) & PROTOCOL_41 != 0 && is_filled)
                    .then_some(size == REQUEST_SIZE)
            }
            _ => None,
        }
    }

    /// A message of the kind that every server since 3.6 speaks, or the first one of older clients
    /// (<https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/>).
    #[inline(always)]
    const fn is_mongodb(&self) -> bool {
        const MESSAGE_LIMIT: u32 = 48_000_000;
        const QUERY: u32 = 2004;
        const COMPRESSED: u32 = 2012;
        const MESSAGE: u32 = 2013;
        /// `checksumPresent`, `moreToCome` and `exhaustAllowed`.
        const FLAGS: u32 = 1 | 2 | 1 << 16;
        let size = self.little(0);
        if size < 26 || size > MESSAGE_LIMIT || size < self.length || self.length <= 24 {
            return false;
        }
        match self.little(12) {
            MESSAGE => self.little(16) & !FLAGS == 0 && self.byte(20) <= 1,
            // A name of a collection: the database's, a dot.
            QUERY => self.byte(20).is_ascii_graphic() && self.byte(21).is_ascii_graphic(),
            COMPRESSED => self.little(16) == MESSAGE && self.byte(24) <= 3,
            _ => false,
        }
    }

    /// A request that is the whole operation, with a client's name (<https://kafka.apache.org/protocol>).
    #[inline(always)]
    fn is_kafka(&self) -> bool {
        const KEYS: u16 = 93;
        const VERSIONS: u16 = 20;
        const NAME_LIMIT: u16 = 249;
        let name = self.big_short(12);
        self.length > 14
            && self.length.checked_sub(4) == Some(self.big(0))
            && self.big_short(4) < KEYS
            && self.big_short(6) < VERSIONS
            && self.big(8) <= i32::MAX as u32
            && (1..=NAME_LIMIT).contains(&name)
            && u32::from(name) <= self.length - 14
            && is_name(self.word(14), u32::from(name))
            && (name <= 8 || is_name(self.word(22), u32::from(name) - 8))
    }

    /// The protocol header (AMQP 0-9-1, 4.2.2; AMQP 1.0, 2.2 and 5.3), or the `connection.start` that answers it. Whether it
    /// may become TLS.
    #[inline(always)]
    const fn amqp(&self) -> Option<bool> {
        const NAME: u32 = u32::from_le_bytes(*b"AMQP");
        const START: u32 = u32::from_le_bytes([0, 10, 0, 10]);
        const PROTOCOL_0_9_1: u32 = u32::from_le_bytes([0, 0, 9, 1]);
        const TLS: u32 = u32::from_le_bytes([2, 1, 0, 0]);
        const PLAIN: u32 = u32::from_le_bytes([0, 1, 0, 0]);
        const SASL: u32 = u32::from_le_bytes([3, 1, 0, 0]);
        let version = self.little(4);
        if self.little(0) == NAME {
            return match version {
                TLS => Some(true),
                PROTOCOL_0_9_1 | PLAIN | SASL => Some(false),
                _ => None,
            };
        }
        if self.little(0) & 0x00ff_ffff == 1 && self.little(7) == START { Some(false) } else { None }
    }

    /// Whether what follows five bytes is a query: it begins with a letter, a comment or a bracket, and has no control bytes
    /// but spaces; zeros are at the end only.
    #[inline(always)]
    fn is_query(&self) -> bool {
        let first = self.byte(5);
        let begins =
            first.is_ascii_alphabetic() || matches!(first, b'/' | b'-' | b'(' | b' ' | b'\n' | b'\t');
        begins && is_text(self.word(5)) && is_text(self.word(13)) && is_text(self.word(21))
    }
}

/// Whether a word has no control bytes but spaces, and zeros at its end only.
#[inline(always)]
const fn is_text(word: u64) -> bool {
    let zeros = equal(word, 0);
    let end = zeros & zeros.wrapping_neg();
    // From the first zero byte on.
    let rest = if end == 0 { 0 } else { word & !((end >> 7) - 1) };
    let low = !at_least(word, b' ') & !word & HIGH;
    low & !(zeros | equal(word, b'\t') | equal(word, b'\n') | equal(word, b'\r')) == 0 && rest == 0
}

/// Whether the first `count` bytes are those of a client's name: letters, digits, dots, dashes, lines and spaces.
#[inline(always)]
const fn is_name(word: u64, count: u32) -> bool {
    let seen = bytes::first(count);
    // Upper-case letters become lower-case ones; what becomes a letter otherwise is none of the others.
    let lower = word | (0x20 * LOW);
    let letters = at_least(lower, b'a') & !at_least(lower, b'z' + 1);
    let digits = at_least(word, b'0') & !at_least(word, b'9' + 1);
    let others = equal(word, b'-') | equal(word, b'.') | equal(word, b'_') | equal(word, b' ');
    !((letters | digits | others) & !word) & HIGH & seen == 0
}

#[cfg(test)]
mod tests;
