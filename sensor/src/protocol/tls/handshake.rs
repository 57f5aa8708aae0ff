//! Handshakes that are under way.

use std::num::NonZeroUsize;

use lru::LruCache;

use super::alert;
use super::hello::{ClientHello, ServerHello, TlsVersion};
use super::lane::{self, Lane, Piece};
use crate::protocol::{Close, Direction, Endpoints, Head, Role, Task};

/// Handshakes that are under way at once. Beyond, the one that was silent longest is given up.
const OPEN: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");
/// A handshake in which nothing comes for so long is given up, in nanoseconds.
const IDLE_NS: u64 = 60_000_000_000;
/// Bytes before a handshake message: its type, and its length in 24 bits (RFC 8446, 4).
const MESSAGE_HEADER: usize = 4;
/// The longest hello that is read.
const HELLO_MAX: usize = sensor_common::record::HANDSHAKE_BYTES as usize;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
/// Protected records in which there is an alert and nothing else: its two bytes, its type, and the tag of sixteen bytes, or eight,
/// of a cipher suite (RFC 8446, 5.2). No other message is so short.
const PROTECTED_ALERT: [u16; 2] = [19, 11];

/// A handshake that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Which side the local process is.
    pub role: Role,
    /// The thread that did the last of it.
    pub task: Task,
    /// Both ends.
    pub endpoints: Endpoints,
    /// When the client's hello began to move; nanoseconds of `CLOCK_MONOTONIC`.
    pub start_ns: u64,
    /// From then to the client's Finished, or to what ended it before, in nanoseconds.
    pub duration_ns: u64,
    /// The host that the client wants.
    pub server_name: Option<String>,
    /// `None` when the server never said.
    pub version: Option<TlsVersion>,
    /// The protocol inside, where the server said so in clear.
    pub alpn: Option<String>,
    /// Why it failed.
    pub error: Option<HandshakeError>,
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandshakeError {
    /// One end said so; the alert's name, `alert` where that can't be read.
    Alert(&'static str),
    /// The connection ended.
    Closed,
    /// What answers the client's hello is no TLS.
    NotTls,
}

impl HandshakeError {
    /// `error.type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alert(name) => name,
            Self::Closed => "closed",
            Self::NotTls => "not_tls",
        }
    }
}

/// Handshakes that are not told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsLosses {
    /// A hello was none, or cut by the connection's end.
    pub malformed: u64,
    /// Bytes that matter were not seen.
    pub unread: u64,
    /// The client sent data early (RFC 8446, 2.3), so its Finished can't be told from that.
    pub early_data: u64,
    /// Nothing came for a minute.
    pub unfinished: u64,
    /// There were too many at once.
    pub evicted: u64,
}

/// All handshakes under way.
#[derive(Debug)]
pub struct Handshakes {
    /// By [`super::super::Connection::id`].
    open: LruCache<u64, Open>,
    losses: TlsLosses,
}

#[derive(Debug)]
struct Open {
    received: Side,
    sent: Side,
    /// Which of them is the client's, once a hello has said so.
    client: Option<Direction>,
    task: Task,
    endpoints: Endpoints,
    touched_ns: u64,
    alert: Option<(&'static str, u64)>,
}

/// What is known of one direction.
#[derive(Debug, Default)]
struct Side {
    lane: Lane,
    is_lost: bool,
    /// When it began.
    start_ns: Option<u64>,
    /// The first handshake message as far as it has come, or an alert.
    message: Vec<u8>,
    alert: Vec<u8>,
    hello: Option<Hello>,
    has_changed_cipher: bool,
    /// When what follows ChangeCipherSpec began.
    finished_ns: Option<u64>,
    /// The first protected record of TLS 1.3: when it began, and its size.
    protected: Option<(u64, u16)>,
}

#[derive(Debug)]
enum Hello {
    Client(ClientHello),
    Server(ServerHello),
    Malformed,
}

/// How a handshake came to its end.
enum Verdict {
    Over { at_ns: u64, error: Option<HandshakeError> },
    Malformed,
    Unread,
    EarlyData,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self { open: LruCache::new(OPEN), losses: TlsLosses::default() }
    }
}

impl Handshakes {
    /// What was not told so far.
    #[must_use]
    pub fn losses(&self) -> TlsLosses {
        self.losses
    }

    /// Handshakes under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes an operation of a connection that began with a hello; those of one connection in their order.
    pub fn on_head(&mut self, head: &Head<'_>) -> Option<Handshake> {
        let id = head.connection.id;
        if !self.open.contains(&id) {
            // Of one that is over the kernel may tell a little more.
            let is_first = head.received.bytes == 0 && head.sent.bytes == 0;
            if !is_first {
                return None;
            }
            if self.open.len() == OPEN.get() {
                self.open.pop_lru();
                self.losses.evicted += 1;
            }
            self.open.put(id, Open::new(head));
        }
        let open = self.open.get_mut(&id)?;
        open.take(head);
        let verdict = open.verdict()?;
        let open = self.open.pop(&id)?;
        self.conclude(open, verdict)
    }

    /// A connection is over.
    pub fn on_close(&mut self, close: &Close) -> Option<Handshake> {
        if close.end_of_file {
            return None;
        }
        let open = self.open.pop(&close.connection.id)?;
        let verdict = open.closed(close);
        self.conclude(open, verdict)
    }

    /// Gives up handshakes in which nothing has come for a minute.
    pub fn expire(&mut self, now_ns: u64) {
        while let Some((_, open)) = self.open.peek_lru()
            && open.touched_ns.saturating_add(IDLE_NS) <= now_ns
        {
            self.open.pop_lru();
            self.losses.unfinished += 1;
        }
    }

    fn conclude(&mut self, open: Open, verdict: Verdict) -> Option<Handshake> {
        let (at_ns, error) = match verdict {
            Verdict::Over { at_ns, error } => (at_ns, error),
            Verdict::Malformed => {
                self.losses.malformed += 1;
                return None;
            }
            Verdict::Unread => {
                self.losses.unread += 1;
                return None;
            }
            Verdict::EarlyData => {
                self.losses.early_data += 1;
                return None;
            }
        };
        open.told(at_ns, error)
    }
}

impl Open {
    fn new(head: &Head<'_>) -> Self {
        Self {
            received: Side::default(),
            sent: Side::default(),
            client: None,
            task: head.task,
            endpoints: head.endpoints,
            touched_ns: head.time_ns,
            alert: None,
        }
    }

    fn take(&mut self, head: &Head<'_>) {
        self.touched_ns = self.touched_ns.max(head.time_ns);
        self.task = head.task;
        let (side, offset) = match head.direction {
            Direction::Receive => (&mut self.received, head.received.bytes),
            Direction::Send => (&mut self.sent, head.sent.bytes),
        };
        if let Some(alert) = side.take(offset, head) {
            self.alert = self.alert.or(Some((alert, head.time_ns)));
        }
        match side.hello {
            Some(Hello::Client(_)) => self.client = Some(head.direction),
            Some(Hello::Server(_)) => {
                self.client = Some(match head.direction {
                    Direction::Receive => Direction::Send,
                    Direction::Send => Direction::Receive,
                });
            }
            Some(Hello::Malformed) | None => {}
        }
    }

    /// The client's side and the server's.
    fn sides(&self) -> Option<(&Side, &Side)> {
        Some(match self.client? {
            Direction::Receive => (&self.received, &self.sent),
            Direction::Send => (&self.sent, &self.received),
        })
    }

    /// How it ended, once that is known.
    fn verdict(&self) -> Option<Verdict> {
        if [&self.received, &self.sent].iter().any(|side| matches!(side.hello, Some(Hello::Malformed))) {
            return Some(Verdict::Malformed);
        }
        let lost = |side: &Side| side.is_lost.then_some(Verdict::Unread);
        let Some((client, server)) = self.sides() else {
            return lost(&self.received).or_else(|| lost(&self.sent));
        };
        let Some(asked) = client.client_hello() else {
            // The server's hello answers one that was not seen, or both sides sent the same.
            return Some(Verdict::Unread);
        };
        if let Some((name, at_ns)) = self.alert {
            return Some(Verdict::Over { at_ns, error: Some(HandshakeError::Alert(name)) });
        }
        if server.lane.is_foreign() {
            let at_ns = server.start_ns.unwrap_or(self.touched_ns);
            return Some(Verdict::Over { at_ns, error: Some(HandshakeError::NotTls) });
        }
        let Some(chosen) = server.server_hello() else {
            let is_wrong = matches!(server.hello, Some(Hello::Client(_)));
            return if is_wrong { Some(Verdict::Malformed) } else { lost(server).or_else(|| lost(client)) };
        };
        if chosen.version < TlsVersion::V1_3 {
            let over = client.finished_ns.map(|at_ns| Verdict::Over { at_ns, error: None });
            return over.or_else(|| lost(client));
        }
        if asked.has_early_data && !chosen.is_retry {
            return Some(Verdict::EarlyData);
        }
        let Some((at_ns, size)) = client.protected else { return lost(client) };
        let is_alert = PROTECTED_ALERT.contains(&size);
        let error = is_alert.then_some(HandshakeError::Alert(alert::OTHER));
        Some(Verdict::Over { at_ns, error })
    }

    /// How it ended when its connection did.
    fn closed(&self, close: &Close) -> Verdict {
        let Some((client, server)) = self.sides() else { return Verdict::Malformed };
        let (client_bytes, server_bytes) = match self.client {
            Some(Direction::Receive) => (close.received.bytes, close.sent.bytes),
            _ => (close.sent.bytes, close.received.bytes),
        };
        let is_seen = client_bytes == client.lane.at()
            && (server.server_hello().is_some() || server_bytes == server.lane.at());
        if !is_seen {
            return Verdict::Unread;
        }
        let at_ns = close.received.last_ns.max(close.sent.last_ns);
        Verdict::Over { at_ns, error: Some(HandshakeError::Closed) }
    }

    fn told(self, at_ns: u64, error: Option<HandshakeError>) -> Option<Handshake> {
        let role = if self.client? == Direction::Send { Role::Client } else { Role::Server };
        let (client, server) = self.sides()?;
        let start_ns = client.start_ns?;
        let chosen = server.server_hello();
        Some(Handshake {
            role,
            task: self.task,
            endpoints: self.endpoints,
            start_ns,
            duration_ns: at_ns.saturating_sub(start_ns),
            server_name: client.client_hello().and_then(|hello| hello.server_name.clone()),
            version: chosen.map(|hello| hello.version),
            alpn: chosen.and_then(|hello| hello.alpn.clone()),
            error,
        })
    }
}

impl Side {
    fn client_hello(&self) -> Option<&ClientHello> {
        match &self.hello {
            Some(Hello::Client(hello)) => Some(hello),
            _ => None,
        }
    }

    fn server_hello(&self) -> Option<&ServerHello> {
        match &self.hello {
            Some(Hello::Server(hello)) => Some(hello),
            _ => None,
        }
    }

    /// Takes an operation; the name of an alert that ends the handshake, if there is one.
    fn take(&mut self, offset: u64, head: &Head<'_>) -> Option<&'static str> {
        if self.is_lost {
            return None;
        }
        self.start_ns = self.start_ns.or(Some(head.time_ns));
        let mut lane = std::mem::take(&mut self.lane);
        let mut found = None;
        let taken = lane.take(offset, head.bytes, head.operation_len, |piece| {
            let alert = self.piece(&piece, head.time_ns);
            found = found.or(alert);
        });
        self.lane = lane;
        self.is_lost |= taken.is_err();
        found
    }

    fn piece(&mut self, piece: &Piece<'_>, time_ns: u64) -> Option<&'static str> {
        match *piece {
            Piece::Record { kind: lane::CHANGE_CIPHER_SPEC, .. } => self.has_changed_cipher = true,
            Piece::Record { kind: lane::APPLICATION_DATA, size } => {
                self.protected = self.protected.or(Some((time_ns, size)));
            }
            Piece::Record { kind: lane::HANDSHAKE, .. } if self.has_changed_cipher => {
                self.finished_ns = self.finished_ns.or(Some(time_ns));
            }
            // Encrypted, up to TLS 1.2: instead of Finished, or after it.
            Piece::Record { kind: lane::ALERT, size } if self.has_changed_cipher || size != 2 => {
                return self.finished_ns.is_none().then_some(alert::OTHER);
            }
            Piece::Body { kind: lane::ALERT, bytes } if !self.has_changed_cipher => {
                self.alert.extend_from_slice(bytes);
                return self.read_alert();
            }
            Piece::Body { kind: lane::HANDSHAKE, bytes } if self.hello.is_none() => {
                let room = (MESSAGE_HEADER + HELLO_MAX).saturating_sub(self.message.len());
                self.message.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
                self.hello = self.read_hello();
                if self.hello.is_some() {
                    self.message = Vec::new();
                }
            }
            Piece::Missing { kind: lane::HANDSHAKE } if self.hello.is_none() => self.is_lost = true,
            Piece::Missing { kind: lane::ALERT } if !self.has_changed_cipher => self.is_lost = true,
            Piece::Record { .. } | Piece::Body { .. } | Piece::Missing { .. } => {}
        }
        None
    }

    /// The alert that has come, if it ends the handshake.
    fn read_alert(&mut self) -> Option<&'static str> {
        const WARNING: u8 = 1;
        let [level, description] = self.alert[..] else { return None };
        self.alert.clear();
        // Up to TLS 1.2 a warning ends nothing.
        if level == WARNING { None } else { alert::name(description) }
    }

    /// The first message, once it is whole.
    fn read_hello(&self) -> Option<Hello> {
        let (&[kind, high, middle, low], body) = self.message.split_first_chunk::<MESSAGE_HEADER>()?;
        let size = u32::from_be_bytes([0, high, middle, low]) as usize;
        if size > HELLO_MAX || !matches!(kind, CLIENT_HELLO | SERVER_HELLO) {
            return Some(Hello::Malformed);
        }
        let message = body.get(..size)?;
        let hello = if kind == CLIENT_HELLO {
            ClientHello::parse(message).map(Hello::Client)
        } else {
            ServerHello::parse(message).map(Hello::Server)
        };
        Some(hello.unwrap_or(Hello::Malformed))
    }
}
