//! Reading a message of the name service (RFC 1035 4.1): its header, its one question, and the addresses among its
//! answers. A message that was captured in part is read as far as it goes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// The name in lower case, without the last dot; `.` for the root. What is no printable ASCII, and a dot within a
    /// label, is written as RFC 4343 2.1 has it.
    pub name: Arc<str>,
    /// The type of the records, such as 1 for `A`.
    pub kind: u16,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The number by which an answer is known.
    pub id: u16,
    /// Whether it is an answer.
    pub is_answer: bool,
    /// Whether it was too long for its way, and has to be asked for by TCP.
    pub is_truncated: bool,
    /// `RCODE` of the header.
    pub code: u8,
    /// What is asked for.
    pub question: Question,
    /// Addresses, with the seconds that they may be remembered for.
    pub addresses: Vec<(IpAddr, u32)>,
}

/// The longest name on the wire (RFC 1035 2.3.4).
const NAME_MAX: usize = 255;
/// The most addresses taken from a message.
const ADDRESSES_MAX: usize = 32;
const CLASS_IN: u16 = 1;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;

impl Message {
    /// Reads the start of a message; `None` when it is none, or no ordinary query with one question.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        let id = reader.word()?;
        let flags = reader.word()?;
        let opcode = flags >> 11 & 0xf;
        let [questions, answers] = [reader.word()?, reader.word()?];
        let _authority = reader.word()?;
        let _additional = reader.word()?;
        if opcode != 0 || questions != 1 {
            return None;
        }
        let name = reader.name()?.into();
        let question = Question { name, kind: reader.word()? };
        let _class = reader.word()?;
        let mut addresses = Vec::new();
        for _ in 0..answers {
            match reader.record() {
                Some(Some(address)) if addresses.len() < ADDRESSES_MAX => addresses.push(address),
                Some(_) => {}
                // What was not captured.
                None => break,
            }
        }
        Some(Self {
            id,
            is_answer: flags & 0x8000 != 0,
            is_truncated: flags & 0x0200 != 0,
            code: (flags & 0xf).to_le_bytes()[0],
            question,
            addresses,
        })
    }

    /// The code by its name in the registry of the IANA.
    #[must_use]
    pub const fn code_name(code: u8) -> &'static str {
        match code {
            0 => "NOERROR",
            1 => "FORMERR",
            2 => "SERVFAIL",
            3 => "NXDOMAIN",
            4 => "NOTIMP",
            5 => "REFUSED",
            6 => "YXDOMAIN",
            7 => "YXRRSET",
            8 => "NXRRSET",
            9 => "NOTAUTH",
            10 => "NOTZONE",
            _ => "other",
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn word(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn long(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// A name, through pointers, each of which must lead back.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut on_wire = 0;
        let mut at = self.at;
        // Where the name began that is being read: a pointer leads to before it.
        let mut start = at;
        let mut end = None;
        loop {
            let length = usize::from(*self.bytes.get(at)?);
            at += 1;
            match length {
                0 => break,
                1..=63 => {
                    on_wire += 1 + length;
                    if on_wire >= NAME_MAX {
                        return None;
                    }
                    if !name.is_empty() {
                        name.push('.');
                    }
                    self.bytes.get(at..at + length)?.iter().for_each(|byte| push(&mut name, *byte));
                    at += length;
                }
                0xc0.. => {
                    let low = usize::from(*self.bytes.get(at)?);
                    end.get_or_insert(at + 1);
                    let target = (length & 0x3f) << 8 | low;
                    if target >= start {
                        return None;
                    }
                    (at, start) = (target, target);
                }
                _ => return None,
            }
        }
        self.at = end.unwrap_or(at);
        if name.is_empty() {
            name.push('.');
        }
        Some(name)
    }

    /// Passes a record; the address in it, where it holds one. `None` where it is not whole.
    fn record(&mut self) -> Option<Option<(IpAddr, u32)>> {
        self.name()?;
        let kind = self.word()?;
        let class = self.word()?;
        let seconds = self.long()?;
        let length = self.word()?;
        let data = self.take(usize::from(length))?;
        let address = match (class, kind) {
            (CLASS_IN, TYPE_A) => <[u8; 4]>::try_from(data).ok().map(|data| Ipv4Addr::from(data).into()),
            (CLASS_IN, TYPE_AAAA) => <[u8; 16]>::try_from(data).ok().map(|data| Ipv6Addr::from(data).into()),
            _ => None,
        };
        Some(address.map(|address| (address, seconds)))
    }
}

/// Adds a byte of a label.
fn push(name: &mut String, byte: u8) {
    match byte {
        b'.' | b'\\' => {
            name.push('\\');
            name.push(char::from(byte));
        }
        0x21..=0x7e => name.push(char::from(byte.to_ascii_lowercase())),
        _ => {
            name.push('\\');
            name.push_str(&format!("{byte:03}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer to `WWW.example.com A`: a CNAME and two addresses behind pointers.
    const ANSWER: &[u8] = b"\x12\x34\x81\x80\0\x01\0\x03\0\0\0\0\x03WWW\x07example\x03com\0\0\x01\0\x01\
        \xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01a\xc0\x10\
        \xc0\x2d\0\x01\0\x01\0\0\0\x05\0\x04\xc0\0\x02\x01\
        \xc0\x2d\0\x1c\0\x01\0\0\0\x07\0\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01";

    #[test]
    fn an_answer_is_read() {
        let message = Message::parse(ANSWER).unwrap();
        assert!(message.is_answer && !message.is_truncated);
        assert_eq!((message.id, message.code), (0x1234, 0));
        assert_eq!(message.question, Question { name: "www.example.com".into(), kind: 1 });
        let expected = [("192.0.2.1".parse().unwrap(), 5), ("2001:db8::1".parse().unwrap(), 7)];
        assert_eq!(message.addresses, expected);
    }

    #[test]
    fn a_part_is_read_as_far_as_it_goes() {
        for end in 0..ANSWER.len() {
            let found = Message::parse(&ANSWER[..end]);
            // Header, name, type and class.
            assert_eq!(found.is_some(), end >= 12 + 17 + 4, "{end}");
            assert!(found.is_none_or(|message| message.addresses.len() < 2));
        }
    }

    #[test]
    fn names_that_lead_nowhere_are_none() {
        let question = |name: &[u8]| {
            let mut bytes = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0".to_vec();
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(b"\0\x01\0\x01");
            Message::parse(&bytes).map(|message| message.question.name.to_string())
        };
        assert_eq!(question(b"\0").as_deref(), Some("."));
        assert_eq!(question(b"\x03a.b\x02\xffz\0").as_deref(), Some("a\\.b.\\255z"));
        assert_eq!(question(b"\xc0\x0c"), None, "to itself");
        assert_eq!(question(b"\xc0\x40"), None, "ahead");
        assert_eq!(question(b"\x40\0"), None, "a length of no meaning");
        assert_eq!(question(&b"\x01a".repeat(128)), None, "without an end");
        let long: Vec<u8> = [&b"\x01a".repeat(127)[..], b"\0"].concat();
        assert_eq!(question(&long).map(|name| name.len()), Some(253));
    }

    #[test]
    fn what_is_no_query_is_none() {
        let mut update = ANSWER.to_vec();
        update[2] |= 5 << 3;
        assert_eq!(Message::parse(&update), None);
        assert_eq!(Message::parse(b"GET / HTTP/1.1\r\n\r\n"), None);
    }
}
