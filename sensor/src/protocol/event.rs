//! What the capture tells the parsers.

use std::net::SocketAddr;

/// One direction of a connection's byte stream, counted from when the sensor first saw the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// Bytes moved so far.
    pub bytes: u64,
    /// When the last operation that moved bytes took place; 0 when none has.
    pub last_ns: u64,
    /// The last eight bytes of the last operation in stream order; zeros when they are not known.
    pub tail: [u8; 8],
}

/// Which way the bytes of an operation went, as the local process sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Bytes came in.
    Receive,
    /// Bytes went out.
    Send,
}

/// A connection, unique while the sensor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Connection {
    /// Unique number.
    pub id: u64,
    /// Where the kernel keeps the connection's state, for asking how far it has come.
    pub key: u64,
}

impl Connection {
    /// Whether it is what is inside a connection of TLS.
    #[must_use]
    pub const fn is_plaintext_of_tls(self) -> bool {
        self.key & sensor_common::connection::PLAINTEXT != 0
    }
}

/// Both ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The local end.
    pub local: SocketAddr,
    /// The remote end.
    pub remote: SocketAddr,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// The kernel's socket cookie, where one has been made.
    pub cookie: Option<u64>,
    /// Of a Unix-domain socket, whose ends are no network addresses (but one's local address is the other's remote one), the path
    /// that it was made to: `@` and a name in the abstract name space, empty where it has none or none is known.
    pub path: Option<&'static str>,
}

/// The local process and thread, in the initial pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Process id.
    pub tgid: u32,
    /// Thread id.
    pub tid: u32,
    /// `comm` of the process, NUL-padded.
    pub comm: [u8; 16],
}

/// One operation whose first bytes were captured: they begin like an HTTP message, or they go on with a head
/// that earlier operations of this direction did not complete.
///
/// Operations that only move body bytes are not told one by one; the streams of the next event include them.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// On which connection.
    pub connection: Connection,
    /// Which way.
    pub direction: Direction,
    /// The bytes continue a head, and nothing says that they start a message.
    pub continuation: bool,
    /// When: a receive when it returned, a send when it started (or returned, where only that can be seen).
    pub time_ns: u64,
    /// The captured bytes, a prefix of the operation's.
    pub bytes: &'a [u8],
    /// How many bytes the operation moved.
    pub operation_len: u32,
    /// The stream in, before this operation.
    pub received: Stream,
    /// The stream out, before this operation.
    pub sent: Stream,
    /// Who did it.
    pub task: Task,
    /// Between whom.
    pub endpoints: Endpoints,
}

/// Frames of an HTTP/2 connection that one operation moved.
#[derive(Clone, Copy, Debug)]
pub struct FrameRecord<'a> {
    /// On which connection.
    pub connection: Connection,
    /// Which way.
    pub direction: Direction,
    /// When, as in [`Head::time_ns`].
    pub time_ns: u64,
    /// The number of the record in its direction; one that is missing is a gap.
    pub sequence: u32,
    /// Where frames begin was found anew: what came before is not known.
    pub is_resync: bool,
    /// What is told of the frames, in the form of [`sensor_common::http2`].
    pub bytes: &'a [u8],
    /// Who did it.
    pub task: Task,
    /// Between whom.
    pub endpoints: Endpoints,
}

/// A connection ended, or its peer ended its half; body bytes may have moved since the last event.
#[derive(Clone, Copy, Debug)]
pub struct Close {
    /// Which connection.
    pub connection: Connection,
    /// When.
    pub time_ns: u64,
    /// Only the stream in has ended (a receive returned 0); the socket still exists and may send.
    pub end_of_file: bool,
    /// The stream in.
    pub received: Stream,
    /// The stream out.
    pub sent: Stream,
}

/// How far a connection has come, as asked from the kernel's state at the tracker's wish.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Which connection.
    pub connection: Connection,
    /// The streams in and out, or `None` when the kernel no longer knows the connection.
    pub streams: Option<(Stream, Stream)>,
}

/// What can happen.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// First bytes of a message, or more of an incomplete head.
    Head(Head<'a>),
    /// Frames of an HTTP/2 connection.
    Frames(FrameRecord<'a>),
    /// An end.
    Close(Close),
    /// An answer to a question of the tracker.
    Progress(Progress),
}
