//! The core that all ways into the kernel feed: one operation on one socket.

use sensor_common::{
    cause::Counter,
    connection::{Connection, Direction, HTTP2, LAST_RESPONSE, LAST_SENT, OPAQUE, TLS},
    record,
};

use crate::{
    buffers::Buffers,
    count::count,
    dns, emit,
    follow::{Followed, follow, follow_plaintext},
    globals,
    hooks::close,
    http2,
    maps::{CONNECTIONS, ENTRY_SLOT, HeadScratch, PLAINTEXT_FRAME_SLOT, PLAINTEXT_HEAD_SLOT, SCRATCH},
    message::{Beginning, Look, beginning},
    named,
    next::Next,
    socket::{self, Family},
    target,
};

/// The end of a header section, as the newest bytes of a stream's tail.
const EMPTY_LINE: u32 = u32::from_le_bytes(*b"\r\n\r\n");

/// One operation that moved bytes on a socket.
pub(crate) struct Operation {
    /// Address of the `struct sock`.
    pub(crate) sock: u64,
    /// What is known of it.
    pub(crate) family: Family,
    /// Which way.
    pub(crate) direction: Direction,
    /// How many bytes, not 0.
    pub(crate) length: u32,
    /// When, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) time_ns: u64,
    /// Where the bytes are.
    pub(crate) buffers: Buffers,
}

/// Follows the operation's connection, and tells the daemon where a message begins.
#[inline(always)]
pub(crate) fn observe(operation: &Operation) -> Result<Next, Counter> {
    observe_on(operation, followed(operation.sock, operation.family))
}

/// The same where the connection's entry was looked up already, or is not there.
#[inline(always)]
pub(crate) fn observe_on(
    operation: &Operation,
    connection: Option<*mut Connection>,
) -> Result<Next, Counter> {
    let scratch = scratch(operation)?;
    let waits = named::may_become_tls(connection);
    let connection = match connection {
        Some(connection) if !waits => connection,
        _ => {
            match follow(
                operation.sock,
                operation.family,
                operation.direction,
                scratch,
                operation.length,
                waits,
            )? {
                Followed::Yes(connection) => connection,
                Followed::No => return Ok(Next::Done),
                Followed::Dns(flags) => {
                    dns::put(scratch, operation, flags);
                    return Ok(Next::Dns(operation.direction));
                }
            }
        }
    };
    // SAFETY: the map returned a live entry; operations of one direction of a socket are serialised by the
    // kernel's socket lock, and the two directions touch different members, but for the flags.
    let connection = unsafe { &mut *connection };
    if connection.flags & HTTP2 != 0 {
        return http2::start(operation, connection, &scratch.buffers, operation.direction as u32);
    }
    known(operation, connection, scratch)
}

/// The same for plaintext, whose connection's encrypted form has the entry `outer`; in this slot of those for plaintext.
#[inline(always)]
pub(crate) fn observe_plaintext(
    operation: &Operation,
    outer: &Connection,
    slot: u32,
) -> Result<Next, Counter> {
    count(Counter::Operations);
    let found = SCRATCH.get_ptr_mut(PLAINTEXT_HEAD_SLOT + slot).ok_or(Counter::KernelMemory)?;
    // SAFETY: the slot is this processor's and the caller's.
    let scratch = unsafe { &mut *found };
    scratch.buffers = operation.buffers;
    let connection = match CONNECTIONS.get_ptr_mut(operation.sock) {
        Some(connection) => connection,
        None => match follow_plaintext(operation, outer, scratch)? {
            Some(connection) => connection,
            None => return Ok(Next::Done),
        },
    };
    // SAFETY: the map returned a live entry; a session's calls follow one another, as OpenSSL demands.
    let connection = unsafe { &mut *connection };
    if connection.flags & HTTP2 != 0 {
        return http2::start(operation, connection, &scratch.buffers, PLAINTEXT_FRAME_SLOT + slot);
    }
    known(operation, connection, scratch)
}

/// The entry of a connection, if it is followed.
///
/// Where no hook tells of a Unix-domain socket's end, which is on all routes but fentry, another socket can be at the address of
/// one that has gone: then that one's connection ends here.
#[inline(always)]
pub(crate) fn followed(sock: u64, family: Family) -> Option<*mut Connection> {
    let connection = CONNECTIONS.get_ptr_mut(sock)?;
    if family != Family::Any {
        return Some(connection);
    }
    // SAFETY: the map returned a live entry.
    let entry = unsafe { &*connection };
    if entry.is_unix() && known_or(socket::inode(sock), 0) != entry.tuple.cookie {
        let (received_ns, sent_ns) = (entry.received.last_ns, entry.sent.last_ns);
        known_or(close::over(sock, entry, if received_ns > sent_ns { received_ns } else { sent_ns }), ());
        return None;
    }
    Some(connection)
}

/// Whether nothing is to be told of a connection's operations, nor of what they were: it is TLS, its handshake is over. Asked
/// before anything is read of the operation.
#[inline(always)]
pub(crate) fn is_opaque(connection: Option<*mut Connection>) -> bool {
    // SAFETY: the map returned a live entry.
    let is_opaque = connection.is_some_and(|connection| unsafe { (*connection).flags } & OPAQUE != 0);
    if is_opaque {
        count(Counter::Operations);
    }
    is_opaque
}

/// Where the operation's record is put together; it holds the operation's buffers.
#[inline(always)]
fn scratch(operation: &Operation) -> Result<&'static mut HeadScratch, Counter> {
    count(Counter::Operations);
    let slot = SCRATCH.get_ptr_mut(operation.direction as u32).ok_or(Counter::KernelMemory)?;
    // SAFETY: the slot is this processor's and this direction's, and nothing else of this direction runs here
    // meanwhile.
    let scratch = unsafe { &mut *slot };
    scratch.buffers = operation.buffers;
    Ok(scratch)
}

/// Notes that a send of at least `length` bytes starts now, where that can be seen. A connection that is not
/// followed yet is followed from here when a target begins a message.
#[inline(always)]
pub(crate) fn send_starts(
    sock: u64,
    family: Family,
    iter: u64,
    length: u32,
    now_ns: u64,
) -> Result<Next, Counter> {
    if !target::is_current() {
        return Ok(Next::Done);
    }
    let connection = match CONNECTIONS.get_ptr_mut(sock) {
        Some(connection) => connection,
        None => {
            let slot = SCRATCH.get_ptr_mut(ENTRY_SLOT).ok_or(Counter::KernelMemory)?;
            // SAFETY: the slot is this processor's, and only entries use it.
            let scratch = unsafe { &mut *slot };
            scratch.buffers = Buffers::ahead(iter)?;
            let direction = Direction::Send;
            match follow(sock, family, direction, scratch, length, false)? {
                Followed::Yes(connection) => connection,
                Followed::No => return Ok(Next::Done),
                Followed::Dns(flags) => {
                    // All of it, not only the first segment.
                    let (vector, skip) = Buffers::vector_start(iter);
                    let buffers = match vector {
                        0 => scratch.buffers,
                        _ => Buffers::kernel_vector(vector, skip)?,
                    };
                    scratch.buffers = buffers;
                    dns::put(
                        scratch,
                        &Operation { sock, family, direction, length, time_ns: now_ns, buffers },
                        flags,
                    );
                    return Ok(Next::Dns(direction));
                }
            }
        }
    };
    // SAFETY: the map returned a live entry.
    let connection = unsafe { &mut *connection };
    if connection.flags & OPAQUE != 0 {
        return Ok(Next::Done);
    }
    (connection.send_vector, connection.send_skip) = Buffers::vector_start(iter);
    connection.send_started_ns = now_ns;
    Ok(Next::Done)
}

/// A send that has just returned.
pub(crate) struct Started {
    /// Its connection's entry.
    pub(crate) connection: *mut Connection,
    /// When it started.
    pub(crate) time_ns: u64,
    /// Where its vector did, and the bytes to skip there; 0 when it has none.
    pub(crate) vector: u64,
    pub(crate) skip: u64,
}

/// The send that has just returned, if its connection is followed and not opaque. Where the kernel did not run the program at the entry, it is stamped now: an older send's stamp must not be taken for it.
#[inline(always)]
pub(crate) fn send_started(sock: u64) -> Option<Started> {
    let connection = CONNECTIONS.get_ptr_mut(sock)?;
    // SAFETY: the map returned a live entry; sends of a socket are serialised by the kernel's socket lock.
    let entry = unsafe { &mut *connection };
    if is_opaque(Some(connection)) {
        return None;
    }
    let time_ns = entry.send_started_ns;
    if time_ns == 0 {
        return Some(Started { connection, time_ns: emit::now(), vector: 0, skip: 0 });
    }
    entry.send_started_ns = 0;
    Some(Started { connection, time_ns, vector: entry.send_vector, skip: entry.send_skip })
}

#[inline(always)]
fn known(
    operation: &Operation,
    connection: &mut Connection,
    scratch: &mut HeadScratch,
) -> Result<Next, Counter> {
    let received = connection.received;
    let sent = connection.sent;
    let is_send = operation.direction as u32 == Direction::Send as u32;
    let before = if is_send { sent } else { received };

    if !scratch.buffers.are_known() {
        count(Counter::LengthOnly);
    }
    let mut look = look(operation, scratch, before.tail);
    if is_tls(connection) {
        (look.begins, look.is_whole_head) = (Beginning::Other as u16, 0);
    }
    // VERIFIER: all kernels: read anew from the map, so that what the look learnt does not multiply the states of all
    // that follows.
    scratch.look = look;
    // SAFETY: a reference can be read.
    let look = unsafe { core::ptr::read_volatile(&raw const scratch.look) };
    let begins = look.beginning();
    let mut copied = look.copied;
    let is_whole_head = look.is_whole_head != 0;
    let tail = look.tail;

    let left = if is_send { connection.head_left[1] } else { connection.head_left[0] };
    // A head that comes in crumbs: a crumb of letters is no new message.
    let continues = left > 0 && (begins == Beginning::Other || operation.length < 8);
    let capture = if continues {
        left
    } else if begins == Beginning::Other {
        0
    } else {
        globals::head_bytes()
    };
    let captured = if is_whole_head && copied < capture {
        copied
    } else if operation.length < capture {
        operation.length
    } else {
        capture
    };
    let ends = is_whole_head || ends_in_empty_line(tail);
    let left = if ends || !scratch.buffers.are_known() { 0 } else { capture - captured };

    let stream = if is_send { &mut connection.sent } else { &mut connection.received };
    stream.bytes = before.bytes + u64::from(operation.length);
    stream.last_ns = operation.time_ns;
    stream.tail = tail;
    if is_send {
        connection.head_left[1] = left;
    } else {
        connection.head_left[0] = left;
    }

    if captured == 0 || !scratch.buffers.are_known() {
        if is_tls(connection) && connection.head_left[0] | connection.head_left[1] == 0 {
            // Both directions have told enough.
            connection.flags = TLS | OPAQUE;
        }
        return Ok(Next::Done);
    }
    if copied < captured {
        copied = emit::copy(scratch, captured)?;
    }
    let captured = if copied < captured { copied } else { captured };
    if !continues {
        let response = if begins == Beginning::Response { LAST_RESPONSE } else { 0 };
        connection.flags = response | if is_send { LAST_SENT } else { 0 };
    }
    let head = emit::Head { operation, received, sent, captured, continues };
    emit::head(&head, connection, scratch)?;
    if is_tls(connection) {
        scratch.head.prefix.flags |= record::TLS;
        if emit::is_tls_data(scratch) {
            // The handshake of this direction is over.
            connection.head_left[operation.direction as usize & 1] = 0;
        }
    }
    Ok(Next::Tell(operation.direction))
}

/// Whether a connection is one of TLS.
// VERIFIER: all kernels: read anew each time, so that the answer does not multiply the states of what lies between.
#[inline(always)]
fn is_tls(connection: &Connection) -> bool {
    // SAFETY: a reference can be read.
    unsafe { core::ptr::read_volatile(&raw const connection.flags) & TLS != 0 }
}

/// Looks at an operation's bytes, given the last eight of its stream before it. A short operation is copied at once and
/// looked at there, because each read of user memory costs as much as hundreds of bytes.
#[inline(always)]
fn look(operation: &Operation, scratch: &mut HeadScratch, before: u64) -> Look {
    let mut look = Look { tail: 0, copied: 0, begins: Beginning::Other as u16, is_whole_head: 0 };
    let length = operation.length;
    let head_bytes = globals::head_bytes();
    if !scratch.buffers.are_known() {
        return look;
    }
    let first = scratch.buffers.first_of_two(length);
    let want = if first > 0 && first <= head_bytes {
        first
    } else if length <= head_bytes {
        length
    } else {
        0
    };
    if want > 0 {
        look.copied = known_or(emit::copy(scratch, want), 0);
    }
    if want > 0 && look.copied == want {
        let (begins, tail) = emit::ends_of(scratch, want, before);
        (look.begins, look.tail) = (begins as u16, tail);
        if want == length {
            return look;
        }
        if begins != Beginning::Other && ends_in_empty_line(tail) {
            look.tail = known_or(scratch.buffers.tail_of_second(length, tail), 0);
            look.is_whole_head = 1;
            return look;
        }
    }
    let (word, known) = known_or(scratch.buffers.peek(length), (0, 0));
    look.begins = beginning(word, known) as u16;
    look.tail = known_or(scratch.buffers.tail(length, before), 0);
    look
}

/// Whether the last bytes of a stream end a header section.
#[inline(always)]
fn ends_in_empty_line(tail: u64) -> bool {
    (tail >> 32) as u32 == EMPTY_LINE
}

/// What could be read, or a stand-in, with the cause counted: bytes that cannot be read have moved all the same, and
/// must be counted, or all later offsets of the stream would be wrong.
#[inline(always)]
pub(crate) fn known_or<T>(read: Result<T, Counter>, otherwise: T) -> T {
    match read {
        Ok(value) => value,
        Err(cause) => {
            count(cause);
            otherwise
        }
    }
}
