//! What is spoken on a connection that is not HTTP, from the first bytes of an operation.
//!
//! Pure and strict: a protocol is named when its first message is there with the lengths, numbers and texts that it must
//! have; else nothing is said. So an operation in the middle of a message, or of another protocol, has no name rather
//! than a false one.

use std::fmt;

/// As many first bytes as are looked at.
pub const RECOGNISED_BYTES: usize = 32;

/// A protocol, by its `network.protocol.name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NetworkProtocol {
    /// Advanced Message Queuing Protocol, 0-9-1 and 1.0.
    Amqp,
    /// HTTP/1 and HTTP/2: known by their exchanges, not from here.
    Http,
    /// Apache Kafka.
    Kafka,
    /// MongoDB.
    Mongodb,
    /// MySQL and MariaDB.
    Mysql,
    /// PostgreSQL.
    Postgresql,
    /// Redis and Valkey.
    Redis,
    /// TLS; what it carries is not known.
    Tls,
}

/// Whether an operation of so many bytes, of which these are the first, is of a protocol; `None` where they do not suffice.
type Rule = fn(&[u8], u32) -> Option<bool>;

impl NetworkProtocol {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Amqp,
        Self::Http,
        Self::Kafka,
        Self::Mongodb,
        Self::Mysql,
        Self::Postgresql,
        Self::Redis,
        Self::Tls,
    ];

    /// `network.protocol.name`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amqp => "amqp",
            Self::Http => "http",
            Self::Kafka => "kafka",
            Self::Mongodb => "mongodb",
            Self::Mysql => "mysql",
            Self::Postgresql => "postgresql",
            Self::Redis => "redis",
            Self::Tls => "tls",
        }
    }

    /// The protocol of an operation that moved `length` bytes, of which `first` are the first. What is not certain is
    /// `None`.
    #[must_use]
    pub fn of(first: &[u8], length: u32) -> Option<Self> {
        let first = first.get(..RECOGNISED_BYTES).unwrap_or(first);
        let rules: [(Self, Rule); 7] = [
            (Self::Tls, is_tls),
            (Self::Amqp, is_amqp),
            (Self::Redis, is_redis),
            (Self::Postgresql, is_postgresql),
            (Self::Mysql, is_mysql),
            (Self::Mongodb, is_mongodb),
            (Self::Kafka, is_kafka),
        ];
        let found = rules.into_iter().find(|(_, rule)| rule(first, length) == Some(true));
        found.map(|(protocol, _)| protocol)
    }
}

impl fmt::Display for NetworkProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A handshake record that holds a hello (RFC 8446, 4 and 5.1), or one record of application data or alert that is the
/// whole operation.
fn is_tls(first: &[u8], length: u32) -> Option<bool> {
    /// `2^14 + 256` (RFC 8446, 5.2); TLS 1.2 allows 2048 more than `2^14`.
    const RECORD_LIMIT: u16 = (1 << 14) + 2048;
    const ALERT: u8 = 21;
    const HANDSHAKE: u8 = 22;
    const APPLICATION_DATA: u8 = 23;
    let (kind, size) = (*first.first()?, u16::from_be_bytes(chunk(first, 3)?));
    let is_record = first.get(1) == Some(&3) && *first.get(2)? <= 4 && (1..=RECORD_LIMIT).contains(&size);
    Some(
        is_record
            && match kind {
                HANDSHAKE => matches!(first.get(5)?, 1 | 2),
                ALERT | APPLICATION_DATA => length == 5 + u32::from(size),
                _ => false,
            },
    )
}

/// The protocol header (AMQP 0-9-1, 4.2.2; AMQP 1.0, 2.2 and 5.3), or the `connection.start` that answers it.
fn is_amqp(first: &[u8], _: u32) -> Option<bool> {
    const START: [u8; 4] = [0, 10, 0, 10];
    if first.starts_with(b"AMQP") {
        return Some(matches!(chunk(first, 4)?, [0, 0, 9, 1] | [0 | 2 | 3, 1, 0, 0]));
    }
    Some(first.starts_with(&[1, 0, 0]) && chunk(first, 7)? == START)
}

/// A command: an array of bulk strings (`*2\r\n$3\r\n…`).
fn is_redis(first: &[u8], _: u32) -> Option<bool> {
    let rest = counted(first, b'*')?;
    counted(rest, b'$').map(|_| true)
}

/// What follows a mark, one to nine digits of a number above zero, and a line end.
fn counted(bytes: &[u8], mark: u8) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(&[mark])?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let is_number = (1..=9).contains(&digits) && rest.first() != Some(&b'0');
    is_number.then(|| rest.get(digits..)?.strip_prefix(b"\r\n"))?
}

/// The first message of a client, an authentication request of a server, or one query that is the whole operation
/// (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).
fn is_postgresql(first: &[u8], length: u32) -> Option<bool> {
    const CANCEL: u32 = 80_877_102;
    const SSL: u32 = 80_877_103;
    const GSS: u32 = 80_877_104;
    const VERSIONS: [u32; 2] = [0x0003_0000, 0x0003_0002];
    let begins = match (number(first, 0)?, number(first, 4)) {
        (8, Some(SSL | GSS)) => length == 8,
        (16, Some(CANCEL)) => length == 16,
        (size, Some(version)) => {
            size == length && VERSIONS.contains(&version) && first.get(8).is_some_and(u8::is_ascii_lowercase)
        }
        _ => false,
    };
    if begins {
        return Some(true);
    }
    let size = number(first, 1)?;
    Some(match first.first()? {
        b'R' => (8..256).contains(&size) && matches!(number(first, 5)?, 0 | 3 | 5 | 10),
        b'Q' => size.checked_add(1)? == length && size > 5 && is_text(first.get(5..)?, length == 1 + size),
        _ => false,
    })
}

/// The greeting of a server, or one query of a client that is the whole operation
/// (<https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html>).
fn is_mysql(first: &[u8], length: u32) -> Option<bool> {
    const PROTOCOL_10: u8 = 10;
    const QUERY: u8 = 3;
    let [low, middle, high, sequence] = chunk(first, 0)?;
    let size = u32::from_le_bytes([low, middle, high, 0]);
    if sequence != 0 || size.checked_add(4)? != length {
        return Some(false);
    }
    let rest = first.get(5..)?;
    Some(match *first.get(4)? {
        PROTOCOL_10 => {
            let version = rest.split(|byte| *byte == 0).next()?;
            size > 20 && version.first()?.is_ascii_digit() && version.iter().all(u8::is_ascii_graphic)
        }
        QUERY => size > 2 && is_text(rest, true),
        _ => false,
    })
}

/// A message of the kind that every server since 3.6 speaks, or the first one of older clients
/// (<https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/>).
fn is_mongodb(first: &[u8], length: u32) -> Option<bool> {
    const MESSAGE_LIMIT: u32 = 48_000_000;
    const QUERY: u32 = 2004;
    const COMPRESSED: u32 = 2012;
    const MESSAGE: u32 = 2013;
    /// `checksumPresent`, `moreToCome` and `exhaustAllowed`.
    const FLAGS: u32 = 1 | 2 | 1 << 16;
    let little = |at| chunk(first, at).map(u32::from_le_bytes);
    let size = little(0)?;
    if !(26..=MESSAGE_LIMIT).contains(&size) || size < length && size + 16 > length {
        return Some(false);
    }
    Some(match little(12)? {
        MESSAGE => little(16)? & !FLAGS == 0 && matches!(first.get(20)?, 0 | 1),
        QUERY => first.get(20..)?.iter().take_while(|byte| **byte != 0).all(u8::is_ascii_graphic),
        COMPRESSED => little(16)? == MESSAGE && *first.get(24)? <= 3,
        _ => false,
    })
}

/// A request that is the whole operation, with a client's name (<https://kafka.apache.org/protocol>).
fn is_kafka(first: &[u8], length: u32) -> Option<bool> {
    const KEYS: u16 = 93;
    const VERSIONS: u16 = 20;
    const NAME_LIMIT: u16 = 249;
    let short = |at| chunk(first, at).map(u16::from_be_bytes);
    if number(first, 0)?.checked_add(4)? != length || length < 14 {
        return Some(false);
    }
    let name = short(12)?;
    let shown = first.get(14..).unwrap_or_default();
    let shown = shown.get(..usize::from(name)).unwrap_or(shown);
    Some(
        short(4)? < KEYS
            && short(6)? < VERSIONS
            && number(first, 8)? <= i32::MAX.unsigned_abs()
            && (1..=NAME_LIMIT).contains(&name)
            && !shown.is_empty()
            && shown.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._ ".contains(byte)),
    )
}

/// Whether bytes are those of a query: it begins with a letter, a comment or a bracket, and has no control bytes but
/// spaces; with a final NUL where one is allowed.
fn is_text(bytes: &[u8], may_end_in_nul: bool) -> bool {
    let bytes = if may_end_in_nul { bytes.strip_suffix(b"\0").unwrap_or(bytes) } else { bytes };
    let begins = |byte: &u8| byte.is_ascii_alphabetic() || b"/-( \n\t".contains(byte);
    bytes.first().is_some_and(begins)
        && bytes.iter().all(|byte| *byte >= b' ' || matches!(byte, b'\t' | b'\n' | b'\r'))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    chunk(bytes, at).map(u32::from_be_bytes)
}

fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An operation of these bytes alone.
    fn of(bytes: &[u8]) -> Option<NetworkProtocol> {
        NetworkProtocol::of(bytes, u32::try_from(bytes.len()).unwrap())
    }

    fn kafka(name: &str) -> Vec<u8> {
        let mut request = vec![0, 18, 0, 3, 0, 0, 0, 1];
        request.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
        request.extend_from_slice(name.as_bytes());
        request.extend([0, 0]);
        let mut bytes = u32::try_from(request.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(request);
        bytes
    }

    fn mongodb(code: u32, body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(16 + body.len()).unwrap();
        let mut bytes: Vec<u8> = [size, 7, 0, code].into_iter().flat_map(u32::to_le_bytes).collect();
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn each_is_known_by_its_first_message() {
        let mut startup = vec![0, 0, 0, 23, 0, 3, 0, 0];
        startup.extend_from_slice(b"user\0postgres\0\0");
        let mut greeting = vec![31, 0, 0, 0, 10];
        greeting.extend_from_slice(b"8.0.36\0");
        greeting.extend([9; 23]);
        let hello = [22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
        for (bytes, protocol) in [
            (&b"AMQP\0\0\x09\x01"[..], NetworkProtocol::Amqp),
            (b"AMQP\x03\x01\0\0", NetworkProtocol::Amqp),
            (&kafka("rdkafka"), NetworkProtocol::Kafka),
            (&mongodb(2013, &[0; 20]), NetworkProtocol::Mongodb),
            (&greeting, NetworkProtocol::Mysql),
            (b"\x09\0\0\0\x03SELECT 1", NetworkProtocol::Mysql),
            (&startup, NetworkProtocol::Postgresql),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", NetworkProtocol::Postgresql),
            (b"Q\0\0\0\x0eSELECT 1;\0", NetworkProtocol::Postgresql),
            (b"R\0\0\0\x08\0\0\0\0", NetworkProtocol::Postgresql),
            (b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", NetworkProtocol::Redis),
            (&hello, NetworkProtocol::Tls),
            (b"\x17\x03\x03\0\x04abcd", NetworkProtocol::Tls),
        ] {
            assert_eq!(of(bytes), Some(protocol), "{bytes:?}");
        }
    }

    #[test]
    fn anything_else_has_no_name() {
        for bytes in [
            &b""[..],
            b"GET / HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0d\0\x04\0\0\xff\xff",
            b"AMQP\x09\x09\x09\x09",
            b"*0\r\n$1\r\n",
            b"*2\r\n:1\r\n",
            b"+OK\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"220 mail ESMTP\r\n",
            b"Q\0\0\0\x0eSELECT 1;",
            b"Quit\r\n",
            b"\x16\x03\x01\x02\0\x0b",
            b"\x17\x03\x03\0\x04abcdefgh",
            b"\x09\0\0\x01\x03SELECT 1",
            &kafka("bad\0name"),
            &mongodb(2013, &[0xff; 20]),
            &mongodb(1, &[0; 20]),
            &[0; 64],
            &[0xff; 64],
        ] {
            assert_eq!(of(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn names_are_their_own() {
        for (index, protocol) in NetworkProtocol::ALL.into_iter().enumerate() {
            assert_eq!(protocol as usize, index);
            assert!(NetworkProtocol::ALL[..index].iter().all(|other| other.name() != protocol.name()));
        }
    }
}
