//! The kernel's state of one followed connection: the value of the map `CONNECTIONS`, keyed by the address of
//! its `struct sock`.
//!
//! An entry is made by the first operation that begins like an HTTP message and is dropped when the kernel
//! destroys the socket, so a reused address is never a stale connection.

use crate::record::{Task, Tuple};

/// One direction of a byte stream, as far as the sensor has seen it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Stream {
    /// Bytes moved since the connection was first seen.
    pub bytes: u64,
    /// When the last operation that moved bytes took place, in nanoseconds of `CLOCK_MONOTONIC`; 0 when none has.
    pub last_ns: u64,
    /// The last eight bytes of the stream, the newest in the highest byte; zeros for bytes that could not be read.
    pub tail: u64,
}

/// The direction of an operation, as the local process sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// Bytes came in.
    Receive = 0,
    /// Bytes went out.
    Send = 1,
}

/// The value of `CONNECTIONS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Connection {
    /// Unique while the programs are loaded: the processor in the high 16 bits, [`PLAINTEXT_ID`], a count in the low 47.
    pub id: u64,
    /// The stream in, including every operation so far.
    pub received: Stream,
    /// The stream out, including every operation so far.
    pub sent: Stream,
    /// Head bytes that may still be captured, by direction: non-zero while a head may be incomplete. Of a connection
    /// that is [`TLS`] bytes of the handshake.
    pub head_left: [u32; 2],
    /// [`LAST_SENT`], [`LAST_RESPONSE`], [`END_TOLD`], [`HTTP2`], [`TLS`], [`OPAQUE`], [`MAY_BECOME_TLS`].
    pub flags: u32,
    /// Explicit padding.
    pub padding: u32,
    /// When the send in progress started, where its entry is seen; in nanoseconds of `CLOCK_MONOTONIC`.
    pub send_started_ns: u64,
    /// Kernel address of the `struct iovec` where the send in progress started; 0 when it has none.
    pub send_vector: u64,
    /// Bytes of that segment that were sent before.
    pub send_skip: u64,
    /// Who moved the bytes of the last record; a process's name is read once for each connection.
    pub task: Task,
    /// Between whom; read once, when the entry is made.
    pub tuple: Tuple,
}

/// In [`Connection::flags`]: the last message that began was sent, else received.
pub const LAST_SENT: u32 = 1;
/// In [`Connection::flags`]: the last message that began was a response.
pub const LAST_RESPONSE: u32 = 2;
/// In [`Connection::flags`]: the end of the stream in was told, and no message began since.
pub const END_TOLD: u32 = 4;
/// In [`Connection::flags`]: HTTP/2; where its frames are is in the map `HTTP2`.
pub const HTTP2: u32 = 8;
/// In [`Connection::flags`]: TLS, so nothing on it is the beginning of a message.
pub const TLS: u32 = 16;
/// In [`Connection::flags`]: what is spoken on it is told, and now TLS may begin, inside of which it is spoken on.
pub const MAY_BECOME_TLS: u32 = 64;
/// In [`Connection::flags`]: nothing more is told of it, as it is TLS, or another protocol that was told.
pub const OPAQUE: u32 = 32;

/// In the key of `CONNECTIONS`: the plaintext of what is encrypted on the socket. A `struct sock` begins at a multiple of
/// eight, so its address leaves the bit free.
pub const PLAINTEXT: u64 = 1;
/// In [`Connection::id`]: the plaintext of the connection that has the number without it.
pub const PLAINTEXT_ID: u64 = 1 << 47;

impl Connection {
    /// Whether it is one of a Unix-domain socket.
    #[must_use]
    #[inline(always)]
    pub const fn is_unix(&self) -> bool {
        self.tuple.is_unix()
    }
}

const _: () = assert!(size_of::<Stream>() == 24);
const _: () = assert!(size_of::<Connection>() == 168);
