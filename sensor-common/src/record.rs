//! The records of the ring buffer `EVENTS`.
//!
//! Every record starts with a [`Prefix`]. Integers are in the machine's byte order, as both sides run on one
//! machine; padding is explicit and zero. The daemon copies a record out with a length check and never casts
//! ring memory to a reference.

use crate::connection::Stream;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// A [`Head`], followed by [`Prefix::payload`] captured bytes.
    Head = 1,
    /// A [`Close`].
    Close = 2,
    /// A [`Process`] whose payload is the start of its argument vector, NUL-separated.
    Exec = 3,
    /// A [`Process`] without payload: `tgid` is the child.
    Fork = 4,
    /// A [`Frames`], followed by [`Prefix::payload`] bytes in the form of [`crate::http2`].
    Frames = 5,
    /// A [`Path`], followed by [`Prefix::payload`] bytes of a `sun_path`.
    Path = 6,
}

/// How every record starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Prefix {
    /// A [`Kind`].
    pub kind: u16,
    /// Flags of the kind.
    pub flags: u16,
    /// Bytes that follow the fixed part.
    pub payload: u32,
}

/// The local process and thread of an operation, in the initial pid namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Task {
    /// Process id (`task_struct.tgid`).
    pub tgid: u32,
    /// Thread id (`task_struct.pid`).
    pub tid: u32,
    /// Name of the process: `comm` of the thread group's leader, NUL-padded.
    pub comm: [u8; 16],
}

/// Both ends of a connection.
///
/// Of a Unix-domain socket both ports are 0, which no connection of TCP has, and an address is that of the `struct sock`, in its
/// first eight bytes: so here, too, one end's local address is the other's remote one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Tuple {
    /// Local address; IPv4 in the IPv4-mapped form of RFC 4291 2.5.5.2.
    pub local_address: [u8; 16],
    /// Remote address, in the same form.
    pub remote_address: [u8; 16],
    /// Local port, in host order.
    pub local_port: u16,
    /// Remote port, in host order.
    pub remote_port: u16,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// The kernel's socket cookie (`SO_COOKIE`), 0 when none has been made yet; of a Unix-domain socket its inode number.
    pub cookie: u64,
}

impl Tuple {
    /// Whether these are the ends of a Unix-domain socket.
    #[must_use]
    #[inline(always)]
    pub const fn is_unix(&self) -> bool {
        self.local_port | self.remote_port == 0
    }
}

/// The first bytes of a message, or more bytes of a head that one operation did not complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Head {
    /// Kind [`Kind::Head`]; flags [`SEND`], [`CONTINUATION`], [`TLS`].
    pub prefix: Prefix,
    /// Key of the connection in the map `CONNECTIONS`.
    pub key: u64,
    /// [`crate::connection::Connection::id`].
    pub connection: u64,
    /// When the operation took place, in nanoseconds of `CLOCK_MONOTONIC`: a receive when it returned, a send
    /// when it started (when it returned, on the socket route).
    pub time_ns: u64,
    /// The stream in, before this operation.
    pub received: Stream,
    /// The stream out, before this operation.
    pub sent: Stream,
    /// Bytes that the operation moved; the payload is a prefix of them.
    pub operation_len: u32,
    /// Explicit padding.
    pub padding: u32,
    /// Who did it.
    pub task: Task,
    /// Between whom.
    pub tuple: Tuple,
}

/// In [`Head::prefix`]: the bytes were sent, else received.
pub const SEND: u16 = 1;
/// In [`Head::prefix`]: the bytes continue a head, and nothing says that they start a message.
pub const CONTINUATION: u16 = 2;
/// In [`Head::prefix`]: first bytes of an operation on a connection that is TLS, while its handshake is told.
pub const TLS: u16 = 4;

/// Frames of an HTTP/2 connection that began or ended in one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Frames {
    /// Kind [`Kind::Frames`]; flags [`SEND`], [`RESYNC`].
    pub prefix: Prefix,
    /// Key of the connection in the map `CONNECTIONS`.
    pub key: u64,
    /// [`crate::connection::Connection::id`].
    pub connection: u64,
    /// When, as in [`Head::time_ns`].
    pub time_ns: u64,
    /// [`crate::http2::Way::sequence`] of the direction.
    pub sequence: u32,
    /// Explicit padding.
    pub padding: u32,
    /// Who did it.
    pub task: Task,
    /// Between whom.
    pub tuple: Tuple,
}

/// In [`Frames::prefix`]: where frames begin was found anew; what came before is not known.
pub const RESYNC: u16 = 2;

/// The address of a Unix-domain socket's connection, before all else that is told of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Path {
    /// Kind [`Kind::Path`]. The payload is the `sun_path` that the listening socket is bound to, with its final NUL where it
    /// has one; it begins with a NUL where it is in the abstract name space.
    pub prefix: Prefix,
    /// [`crate::connection::Connection::id`].
    pub connection: u64,
}

/// A connection ended, or its peer's half of it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Close {
    /// Kind [`Kind::Close`]; flag [`END_OF_FILE`].
    pub prefix: Prefix,
    /// Key of the connection in the map `CONNECTIONS`.
    pub key: u64,
    /// [`crate::connection::Connection::id`].
    pub connection: u64,
    /// When, in nanoseconds of `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// The stream in, complete.
    pub received: Stream,
    /// The stream out; complete unless [`END_OF_FILE`].
    pub sent: Stream,
}

/// In [`Close::prefix`]: a receive returned 0, so nothing more comes in; the socket still exists.
pub const END_OF_FILE: u16 = 1;
/// Of a fork: the child is a target, because its parent is one.
pub const FOLLOWED: u16 = 1;

/// A process appeared or replaced its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Process {
    /// Kind [`Kind::Exec`] or [`Kind::Fork`].
    pub prefix: Prefix,
    /// The process; for a fork the child.
    pub tgid: u32,
    /// For a fork the parent process, else 0.
    pub parent: u32,
    /// Number of its control group of version 2 (`cgroup_id`); for a fork 0.
    pub cgroup: u64,
    /// File name of the executable, without its folders, NUL-padded and cut at [`EXECUTABLE_CAPACITY`]; for a
    /// fork empty.
    pub executable: [u8; EXECUTABLE_CAPACITY],
}

/// The most bytes of an executable's file name that an exec record carries, with the final NUL.
pub const EXECUTABLE_CAPACITY: usize = 64;
/// The most head bytes a record can carry; the daemon's setting is at most this.
pub const HEAD_CAPACITY: usize = 4096;
/// The most bytes of a TLS handshake that are captured of each direction: its hello, and of the client what it sends
/// until it has finished. The hello of a client with a post-quantum key takes some 1800.
pub const HANDSHAKE_BYTES: u32 = 4096;
/// The most bytes of a `sun_path` (`UNIX_PATH_MAX`).
pub const PATH_CAPACITY: usize = 108;
/// Head bytes captured by default.
pub const HEAD_DEFAULT: u32 = 1024;
/// The most argument bytes an exec record carries.
pub const ARGUMENTS_CAPACITY: usize = 512;

const _: () = assert!(HANDSHAKE_BYTES as usize <= HEAD_CAPACITY);
const _: () = assert!(size_of::<Prefix>() == 8);
const _: () = assert!(size_of::<Task>() == 24);
const _: () = assert!(size_of::<Tuple>() == 48);
const _: () = assert!(size_of::<Head>() == 160);
const _: () = assert!(size_of::<Frames>() == 112);
const _: () = assert!(size_of::<Path>() == 16);
const _: () = assert!(size_of::<Close>() == 80);
const _: () = assert!(size_of::<Process>() == 88);

/// A record that can be copied from and to bytes.
///
/// # Safety
/// The type is `repr(C)`, every bit pattern is valid for it, and it has no implicit padding.
pub unsafe trait Record: Copy {
    /// The record at the start of `bytes`, and what follows it; `None` when `bytes` is too short.
    #[must_use]
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let rest = bytes.get(size_of::<Self>()..)?;
        // SAFETY: `bytes` holds at least `size_of::<Self>()` bytes, the read is unaligned, and by the trait's
        // contract any bytes are a valid value.
        let record = unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() };
        Some((record, rest))
    }

    /// The record's bytes.
    #[must_use]
    fn bytes(&self) -> &[u8] {
        // SAFETY: by the trait's contract the value is `size_of::<Self>()` initialised bytes.
        unsafe { core::slice::from_raw_parts(core::ptr::from_ref(self).cast(), size_of::<Self>()) }
    }
}

// SAFETY: integers and byte arrays only, and the size asserts above leave no room for implicit padding.
unsafe impl Record for Prefix {}
// SAFETY: as above.
unsafe impl Record for Head {}
// SAFETY: as above.
unsafe impl Record for Frames {}
// SAFETY: as above.
unsafe impl Record for Path {}
// SAFETY: as above.
unsafe impl Record for Close {}
// SAFETY: as above.
unsafe impl Record for Process {}
// SAFETY: as above.
unsafe impl Record for crate::connection::Connection {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_the_way_through_bytes() {
        let head = Head {
            prefix: Prefix { kind: Kind::Head as u16, flags: SEND, payload: 3 },
            key: 0xffff_8880_0000_1000,
            connection: 7,
            time_ns: 8,
            received: Stream { bytes: 1, last_ns: 2, tail: 3 },
            operation_len: 99,
            task: Task { tgid: 1, tid: 2, comm: *b"nginx\0\0\0\0\0\0\0\0\0\0\0" },
            ..Head::default()
        };
        let mut bytes = [0_u8; size_of::<Head>() + 3];
        bytes[..size_of::<Head>()].copy_from_slice(head.bytes());
        let (read, rest) = Head::read(&bytes).unwrap();
        assert_eq!(read, head);
        assert_eq!(rest.len(), 3);
    }

    #[test]
    fn a_short_record_is_refused() {
        assert!(Head::read(&[0; size_of::<Head>() - 1]).is_none());
        assert!(Close::read(&[]).is_none());
    }
}
