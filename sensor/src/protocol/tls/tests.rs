//! Handshakes put together byte by byte, told in the pieces in which libraries read and write them.

use proptest::prelude::*;

use super::*;
use crate::protocol::{Close, Connection, Direction, Endpoints, Head, Role, Stream, Task};

const NAME: &str = "Pay.Example";
const START_NS: u64 = 1_000;

fn vector8(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes(), &vector16(data)[..]].concat()
}

fn server_name(name: &str) -> Vec<u8> {
    extension(0, &vector16(&[&[0], &vector16(name.as_bytes())[..]].concat()))
}

fn alpn(names: &[&[u8]]) -> Vec<u8> {
    extension(16, &vector16(&names.iter().flat_map(|name| vector8(name)).collect::<Vec<_>>()))
}

/// The body of a hello of a client with these extensions.
fn client_body(extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend(vector8(&[9; 32]));
    body.extend(vector16(&[0x13, 1, 0xc0, 0x2f]));
    body.extend(vector8(&[0]));
    body.extend(vector16(&extensions.concat()));
    body
}

fn server_body(random: [u8; 32], extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend(random);
    body.extend(vector8(&[9; 32]));
    body.extend([0x13, 1, 0]);
    body.extend(vector16(&extensions.concat()));
    body
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, high, middle, low] = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, high, middle, low], body].concat()
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3], &vector16(body)[..]].concat()
}

fn client_hello() -> Vec<u8> {
    let extensions = [server_name(NAME), alpn(&[b"\x8a\x8a", b"h2", b"http/1.1"])];
    record(22, &message(1, &client_body(&extensions)))
}

fn server_hello_13() -> Vec<u8> {
    record(22, &message(2, &server_body([8; 32], &[extension(43, &[3, 4])])))
}

fn server_hello_12() -> Vec<u8> {
    record(22, &message(2, &server_body([8; 32], &[alpn(&[b"h2"])])))
}

fn finished_13(size: usize) -> Vec<u8> {
    [record(20, &[1]), record(23, &vec![0x5a; size])].concat()
}

fn finished_12() -> Vec<u8> {
    [record(22, &message(16, &[4; 66])), record(20, &[1]), record(22, &[0x5a; 40])].concat()
}

/// A connection that is told.
struct Told {
    handshakes: Handshakes,
    received: Stream,
    sent: Stream,
    now_ns: u64,
    found: Option<Handshake>,
}

impl Told {
    fn new() -> Self {
        Self {
            handshakes: Handshakes::default(),
            received: Stream::default(),
            sent: Stream::default(),
            now_ns: START_NS,
            found: None,
        }
    }

    /// An operation of which `seen` bytes are told, and 100 ns pass.
    fn moves(&mut self, direction: Direction, bytes: &[u8], seen: usize) {
        let (received, sent) = (self.received, self.sent);
        let stream = match direction {
            Direction::Receive => &mut self.received,
            Direction::Send => &mut self.sent,
        };
        stream.bytes += bytes.len() as u64;
        stream.last_ns = self.now_ns;
        let found = self.handshakes.on_head(&Head {
            connection: Connection { id: 1, key: 1 },
            direction,
            continuation: true,
            time_ns: self.now_ns,
            bytes: &bytes[..seen],
            operation_len: u32::try_from(bytes.len()).unwrap(),
            received,
            sent,
            task: Task { tgid: 1, tid: 1, comm: [0; 16] },
            endpoints: Endpoints {
                local: "127.0.0.1:1".parse().unwrap(),
                remote: "127.0.0.1:2".parse().unwrap(),
                netns: 1,
                cookie: None,
                path: None,
            },
        });
        assert!(self.found.is_none() || found.is_none(), "told twice");
        self.found = self.found.take().or(found);
        self.now_ns += 100;
    }

    fn sends(&mut self, bytes: &[u8]) -> &mut Self {
        self.moves(Direction::Send, bytes, bytes.len());
        self
    }

    /// As OpenSSL reads: each record's header, then its body.
    fn reads(&mut self, bytes: &[u8]) -> &mut Self {
        let mut rest = bytes;
        while !rest.is_empty() {
            let size = usize::from(u16::from_be_bytes([rest[3], rest[4]]));
            self.moves(Direction::Receive, &rest[..5], 5);
            self.moves(Direction::Receive, &rest[5..5 + size], size);
            rest = &rest[5 + size..];
        }
        self
    }

    fn closes(&mut self) -> &mut Self {
        let close = Close {
            connection: Connection { id: 1, key: 1 },
            time_ns: self.now_ns + 1_000_000,
            end_of_file: false,
            received: self.received,
            sent: self.sent,
        };
        let found = self.handshakes.on_close(&close);
        self.found = self.found.take().or(found);
        self
    }

    fn losses(&self) -> TlsLosses {
        assert_eq!(self.found, None);
        self.handshakes.losses()
    }

    #[track_caller]
    fn found(&self) -> &Handshake {
        assert_eq!(self.handshakes.losses(), TlsLosses::default());
        self.found.as_ref().expect("a handshake")
    }
}

#[test]
fn a_client_of_tls_1_3() {
    let mut told = Told::new();
    told.sends(&client_hello()).reads(&server_hello_13()).reads(&finished_13(900));
    assert_eq!(told.found, None);
    let now_ns = told.now_ns;
    told.sends(&finished_13(53)).sends(&record(23, &[1; 30])).closes();
    let found = told.found();
    assert_eq!((found.role, found.start_ns, found.duration_ns), (Role::Client, START_NS, now_ns - START_NS));
    assert_eq!(found.server_name.as_deref(), Some("pay.example"));
    assert_eq!((found.version, &found.alpn, found.error), (Some(TlsVersion::V1_3), &None, None));
}

#[test]
fn a_server_of_tls_1_2() {
    let mut told = Told::new();
    told.reads(&client_hello());
    let flight =
        [server_hello_12(), record(22, &message(11, &[3; 5000])), record(22, &message(14, &[]))].concat();
    // The certificates are longer than what is told.
    told.moves(Direction::Send, &flight, 4000);
    told.reads(&finished_12()).sends(&[record(20, &[1]), record(22, &[5; 40])].concat()).closes();
    let found = told.found.as_ref().expect("a handshake");
    assert_eq!((found.role, found.version), (Role::Server, Some(TlsVersion::V1_2)));
    assert_eq!((found.alpn.as_deref(), found.error), (Some("h2"), None));
    // Two operations a record: ChangeCipherSpec is the second one, and what follows it the end.
    assert_eq!(found.duration_ns, 100 * (2 + 1 + 4));
}

#[test]
fn a_server_asks_for_another_hello() {
    let retry: [u8; 32] = [
        0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
        0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
    ];
    let again = record(22, &message(2, &server_body(retry, &[extension(43, &[3, 4])])));
    let mut told = Told::new();
    let early = client_body(&[server_name(NAME), extension(42, &[])]);
    told.sends(&record(22, &message(1, &early))).reads(&again).reads(&record(20, &[1]));
    told.sends(&[record(20, &[1]), client_hello()].concat()).reads(&server_hello_13());
    assert_eq!(told.found, None);
    told.sends(&finished_13(69));
    assert_eq!(told.found().error, None);
}

#[test]
fn failures_have_their_names() {
    let mut told = Told::new();
    told.reads(&client_hello()).sends(&record(21, &[2, 112]));
    let found = told.found();
    assert_eq!((found.error, found.version), (Some(HandshakeError::Alert("unrecognized_name")), None));
    assert_eq!(found.duration_ns, 200);

    // A warning is none.
    let mut told = Told::new();
    told.sends(&client_hello()).reads(&record(21, &[1, 112])).reads(&server_hello_12());
    told.sends(&record(21, &[2, 48]));
    assert_eq!(told.found().error, Some(HandshakeError::Alert("unknown_ca")));

    // Encrypted.
    let mut told = Told::new();
    told.sends(&client_hello()).reads(&server_hello_13()).sends(&finished_13(19));
    assert_eq!(told.found().error, Some(HandshakeError::Alert("alert")));

    let mut told = Told::new();
    told.sends(&client_hello());
    told.moves(Direction::Receive, b"HTTP/1.1 400 Bad Request\r\n\r\n", 28);
    assert_eq!(told.found().error, Some(HandshakeError::NotTls));

    let mut told = Told::new();
    told.sends(&client_hello()).closes();
    assert_eq!(told.found().error, Some(HandshakeError::Closed));
    assert_eq!(told.found().duration_ns, 0);
}

#[test]
fn what_is_not_certain_is_counted() {
    let mut told = Told::new();
    told.sends(&record(22, &message(1, &client_body(&[server_name("a b")])))).closes();
    assert_eq!(told.losses(), TlsLosses { malformed: 1, ..TlsLosses::default() });

    // Half a hello.
    let mut told = Told::new();
    told.sends(&client_hello()[..40]).closes();
    assert_eq!(told.losses(), TlsLosses { malformed: 1, ..TlsLosses::default() });

    // The end of the hello was not told.
    let mut told = Told::new();
    told.moves(Direction::Send, &client_hello(), 60);
    assert_eq!(told.losses(), TlsLosses { unread: 1, ..TlsLosses::default() });

    // Something moved that was not told.
    let mut told = Told::new();
    told.sends(&client_hello()).reads(&server_hello_13());
    told.sent.bytes += 70;
    told.closes();
    assert_eq!(told.losses(), TlsLosses { unread: 1, ..TlsLosses::default() });

    let mut told = Told::new();
    let early = client_body(&[extension(42, &[])]);
    told.sends(&record(22, &message(1, &early))).sends(&record(23, &[1; 90])).reads(&server_hello_13());
    assert_eq!(told.losses(), TlsLosses { early_data: 1, ..TlsLosses::default() });

    let mut told = Told::new();
    told.sends(&client_hello());
    told.handshakes.expire(START_NS + 59_999_999_999);
    assert_eq!(told.losses(), TlsLosses::default());
    told.handshakes.expire(START_NS + 60_000_000_000);
    assert_eq!(told.losses(), TlsLosses { unfinished: 1, ..TlsLosses::default() });
}

#[test]
fn a_hello_that_breaks_the_grammar_is_none() {
    let good = client_body(&[server_name(NAME), alpn(&[b"h2"])]);
    assert!(ClientHello::parse(&good).is_some());
    for end in 0..good.len() {
        // Up to TLS 1.2 a hello can end before the extensions.
        let is_whole = end == 2 + 32 + 33 + 6 + 2;
        assert_eq!(ClientHello::parse(&good[..end]).is_some(), is_whole, "{end}");
    }
    for extensions in [
        vec![server_name("")],
        vec![server_name("a\0b")],
        vec![server_name("shop.")],
        vec![server_name(&"a".repeat(254))],
        vec![server_name(NAME), server_name(NAME)],
        vec![alpn(&[b""])],
        vec![extension(16, &[0, 0])],
        vec![extension(0, &[0, 0])],
        vec![extension(42, &[0])],
    ] {
        assert_eq!(ClientHello::parse(&client_body(&extensions)), None, "{extensions:?}");
    }
    for extensions in [
        vec![extension(43, &[3, 3])],
        vec![extension(43, &[3, 4, 0])],
        vec![alpn(&[b"h2", b"http/1.1"])],
        vec![alpn(&[b"\x8a\x8a"])],
    ] {
        assert_eq!(ServerHello::parse(&server_body([0; 32], &extensions)), None, "{extensions:?}");
    }
}

proptest! {
    /// However it comes in pieces, it is the same.
    #[test]
    fn pieces_say_the_same(cuts in proptest::collection::vec(1_usize..60, 1..40)) {
        let mut told = Told::new();
        for (direction, bytes) in [
            (Direction::Send, client_hello()),
            (Direction::Receive, server_hello_12()),
            (Direction::Send, finished_12()),
        ] {
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                let (piece, behind) = rest.split_at(rest.len().min(*cut));
                told.moves(direction, piece, piece.len());
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
        }
        let found = told.found();
        prop_assert_eq!(found.server_name.as_deref(), Some("pay.example"));
        prop_assert_eq!((found.alpn.as_deref(), found.error), (Some("h2"), None));
    }
}
