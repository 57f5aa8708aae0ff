//! Which connections are followed: those on which a message begins get an entry.

use sensor_common::{
    cause::Counter,
    connection::{Connection, Direction, OPAQUE, PLAINTEXT_ID, TLS},
    flow::STREAM,
    protocol::NetworkProtocol,
};

use crate::{
    count::next_connection_id,
    dns, emit, globals, http2,
    maps::{CONNECTIONS, HeadScratch},
    message::{Beginning, Tls, beginning, tls},
    named,
    observe::{Operation, known_or},
    plaintext,
    socket::{self, Family, Transport},
};

/// What became of a socket that has no entry.
pub(crate) enum Followed {
    /// It is followed from now on.
    Yes(*mut Connection),
    /// It is none of a process, or no message begins.
    No,
    /// It is a client's of the name service; with the flags of the record.
    Dns(u16),
}

/// Makes an entry for a stream of a process on which a message begins. One that `waits` has an entry, and is followed only if it
/// becomes TLS.
#[inline(always)]
pub(crate) fn follow(
    sock: u64,
    family: Family,
    direction: Direction,
    scratch: &mut HeadScratch,
    length: u32,
    waits: bool,
) -> Result<Followed, Counter> {
    let transport = socket::transport(sock, family)?;
    let buffers = &scratch.buffers;
    if transport == Transport::Unix {
        return follow_unix(sock, direction, scratch, length);
    }
    if transport != Transport::Tcp || !buffers.are_known() || !socket::is_file(sock)? {
        let is_dns = transport == Transport::Udp && dns::is_datagram_of(sock, direction)?;
        return Ok(if is_dns { Followed::Dns(0) } else { Followed::No });
    }
    if dns::is_stream_of(sock)? {
        return Ok(Followed::Dns(STREAM));
    }
    let moved = length;
    let (word, length) = buffers.peek(length)?;
    let is_http2 = !waits && http2::begins(word, length);
    let mut is_tls = Tls::No;
    if !is_http2 && (waits || beginning(word, length) == Beginning::Other) {
        is_tls = tls(word, length, moved);
        if is_tls == Tls::No {
            return named::name(sock, scratch, moved, waits).map(|()| Followed::No);
        }
    }
    scratch.connection.id = next_connection_id();
    socket::read_tuple(sock, &mut scratch.connection.tuple)?;
    #[expect(clippy::needless_borrows_for_generic_args, reason = "by value it would be copied to the stack")]
    if CONNECTIONS.insert(sock, &scratch.connection, 0).is_err() {
        return Err(Counter::ConnectionsFull);
    }
    let Some(connection) = CONNECTIONS.get_ptr_mut(sock) else { return Ok(Followed::No) };
    if is_http2 {
        http2::follow(sock, connection)?;
    } else if is_tls != Tls::No {
        // SAFETY: the map returned a live entry.
        let connection = unsafe { &mut *connection };
        let bytes = globals::handshake_bytes();
        named::tell(NetworkProtocol::Tls as u16, &connection.tuple);
        if is_tls == Tls::Hello {
            plaintext::hello(sock, connection.id, &scratch.buffers, moved);
        }
        if is_tls == Tls::Hello && bytes > 0 {
            connection.head_left = [bytes; 2];
            connection.flags = TLS;
        } else {
            connection.flags = TLS | OPAQUE;
        }
    }
    Ok(Followed::Yes(connection))
}

/// Makes an entry for a Unix-domain socket of a process on which a message begins. TLS is left alone there.
#[inline(always)]
fn follow_unix(
    sock: u64,
    direction: Direction,
    scratch: &mut HeadScratch,
    length: u32,
) -> Result<Followed, Counter> {
    if !scratch.buffers.are_known() || !socket::is_file(sock)? {
        return Ok(Followed::No);
    }
    let (word, length) = scratch.buffers.peek(length)?;
    let is_http2 = http2::begins(word, length);
    let begins = beginning(word, length);
    if !is_http2 && begins == Beginning::Other {
        return Ok(Followed::No);
    }
    let id = next_connection_id();
    scratch.connection.id = id;
    socket::read_unix_tuple(sock, &mut scratch.connection.tuple)?;
    #[expect(clippy::needless_borrows_for_generic_args, reason = "by value it would be copied to the stack")]
    if CONNECTIONS.insert(sock, &scratch.connection, 0).is_err() {
        return Err(Counter::ConnectionsFull);
    }
    let Some(connection) = CONNECTIONS.get_ptr_mut(sock) else { return Ok(Followed::No) };
    if is_http2 {
        http2::follow(sock, connection)?;
    }
    let is_client = (begins != Beginning::Response) == (direction as u32 == Direction::Send as u32);
    // Without its path it is followed all the same.
    known_or(socket::tell_path(sock, id, is_client, &mut scratch.path), ());
    Ok(Followed::Yes(connection))
}

/// Makes an entry for the plaintext of a connection if a message begins.
#[inline(always)]
pub(crate) fn follow_plaintext(
    operation: &Operation,
    outer: &Connection,
    scratch: &mut HeadScratch,
) -> Result<Option<*mut Connection>, Counter> {
    let (word, length) = scratch.buffers.peek(operation.length)?;
    let is_http2 = http2::begins(word, length);
    if !is_http2 && beginning(word, length) == Beginning::Other {
        return Ok(None);
    }
    scratch.connection.id = outer.id | PLAINTEXT_ID;
    // SAFETY: both are whole tuples.
    unsafe { emit::copy_tuple(&outer.tuple, &mut scratch.connection.tuple) };
    #[expect(clippy::needless_borrows_for_generic_args, reason = "by value it would be copied to the stack")]
    if CONNECTIONS.insert(operation.sock, &scratch.connection, 0).is_err() {
        return Err(Counter::ConnectionsFull);
    }
    let Some(connection) = CONNECTIONS.get_ptr_mut(operation.sock) else { return Ok(None) };
    if is_http2 {
        http2::follow(operation.sock, connection)?;
    }
    Ok(Some(connection))
}
