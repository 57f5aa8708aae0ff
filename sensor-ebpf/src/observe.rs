//! The core that all ways into the kernel feed: one operation on one socket.

use sensor_common::{
    cause::Counter,
    connection::{Connection, DIRTY, Direction, IRREGULAR, LAST_RESPONSE, LAST_SENT},
};

use crate::{
    buffers::Buffers,
    count::{count, next_connection_id},
    emit, globals,
    maps::CONNECTIONS,
    message::{Beginning, beginning},
    socket,
};

/// The end of a header section, as the newest bytes of a stream's tail.
const EMPTY_LINE: u32 = u32::from_le_bytes(*b"\r\n\r\n");

/// One operation that moved bytes on a socket.
pub(crate) struct Operation {
    /// Address of the `struct sock`.
    pub(crate) sock: u64,
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
pub(crate) fn observe(operation: &Operation) -> Result<(), Counter> {
    count(Counter::Operations);
    let connection = match CONNECTIONS.get_ptr_mut(operation.sock) {
        Some(connection) => connection,
        None => return first(operation),
    };
    // SAFETY: the map returned a live entry; operations of one direction of a socket are serialised by the
    // kernel's socket lock, and the two directions touch different members, but for the flags.
    known(operation, unsafe { &mut *connection })
}

/// An operation on a socket that is not followed: follow it when a message begins here.
#[inline(always)]
fn first(operation: &Operation) -> Result<(), Counter> {
    if !operation.buffers.are_known() {
        return Ok(());
    }
    if !socket::is_process_tcp(operation.sock)? {
        return Ok(());
    }
    let (word, length) = operation.buffers.peek(operation.length)?;
    if beginning(word, length) == Beginning::Other {
        return Ok(());
    }
    let mut connection = Connection { id: next_connection_id(), ..Connection::default() };
    socket::read_tuple(operation.sock, &mut connection.tuple)?;
    if CONNECTIONS.insert(operation.sock, connection, 0).is_err() {
        return Err(Counter::ConnectionsFull);
    }
    let Some(connection) = CONNECTIONS.get_ptr_mut(operation.sock) else { return Ok(()) };
    // SAFETY: as in `observe`.
    known(operation, unsafe { &mut *connection })
}

#[inline(always)]
fn known(operation: &Operation, connection: &mut Connection) -> Result<(), Counter> {
    let received = connection.received;
    let sent = connection.sent;
    let is_send = operation.direction as u32 == Direction::Send as u32;
    let before = if is_send { sent } else { received };

    let mut begins = Beginning::Other;
    let mut tail = 0;
    if operation.buffers.are_known() {
        let (word, length) = operation.buffers.peek(operation.length)?;
        begins = beginning(word, length);
        tail = operation.buffers.tail(operation.length, before.tail)?;
    } else {
        count(Counter::LengthOnly);
    }

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
    let captured = if operation.length < capture { operation.length } else { capture };
    let ends = (tail >> 32) as u32 == EMPTY_LINE;
    let left = if ends || !operation.buffers.are_known() { 0 } else { capture - captured };

    let stream = if is_send { &mut connection.sent } else { &mut connection.received };
    stream.bytes = before.bytes + u64::from(operation.length);
    stream.last_ns = operation.time_ns;
    stream.tail = tail;
    if is_send {
        connection.head_left[1] = left;
    } else {
        connection.head_left[0] = left;
    }

    if captured == 0 || !operation.buffers.are_known() {
        connection.flags |= DIRTY;
        return Ok(());
    }
    if !continues {
        begin(connection, is_send, begins);
    }
    let head = emit::Head { operation, received, sent, captured, continues, begins };
    emit::head(&head, connection)
}

/// Notes that a message begins: what a close has to tell depends on it.
#[inline(always)]
fn begin(connection: &mut Connection, is_send: bool, begins: Beginning) {
    let last = connection.flags;
    let mut flags = last & IRREGULAR;
    if is_send {
        flags |= LAST_SENT;
    }
    if begins == Beginning::Response {
        flags |= LAST_RESPONSE;
    } else {
        flags |= DIRTY;
    }
    if connection.messages > 0 && (last & LAST_SENT != 0) == is_send {
        flags |= IRREGULAR;
    }
    connection.flags = flags;
    connection.messages += 1;
}
