//! The end of a connection.
//!
//! ```c
//! DEFINE_EVENT(tcp_event_sk, tcp_destroy_sock, TP_PROTO(struct sock *sk))
//! ```
//!
//! The kernel fires it when nothing can be sent or received any more, so the streams are complete, and the
//! address may be reused only afterwards.

use aya_ebpf::{EbpfContext, macros::raw_tracepoint, programs::RawTracePointContext};
use sensor_common::{
    cause::Counter,
    connection::{
        Connection, END_TOLD, HTTP2, LAST_RESPONSE, LAST_SENT, MAY_BECOME_TLS, OPAQUE, PLAINTEXT, TLS,
    },
    record::END_OF_FILE,
};

use crate::{
    count::fail,
    emit, globals,
    maps::{CONNECTIONS, FRAMES},
    observe::followed,
    socket::{self, Family},
};

const EPIPE: i32 = 32;
const ECONNRESET: i32 = 104;

/// The daemon knows by this program's name that a sensor runs.
#[raw_tracepoint(tracepoint = "tcp_destroy_sock")]
fn lionpay_destroy(ctx: RawTracePointContext) -> u32 {
    let sock: u64 = ctx.arg(0);
    end(&ctx, sock);
    if globals::reads_tls() {
        end(&ctx, sock | PLAINTEXT);
    }
    0
}

/// Tells that a connection has ended, if it is followed.
#[inline(always)]
pub(super) fn end(ctx: &impl EbpfContext, key: u64) {
    if let Some(connection) = CONNECTIONS.get_ptr_mut(key) {
        // SAFETY: the map returned a live entry, and the socket can no longer be used by anyone.
        let ended = over(key, unsafe { &*connection }, emit::now());
        if let Err(cause) = ended {
            fail(ctx, cause);
        }
    }
}

/// A connection is over since `time_ns`: it is told, and followed no longer.
#[inline(always)]
pub(crate) fn over(key: u64, connection: &Connection, time_ns: u64) -> Result<(), Counter> {
    // One that was only named is none of the exchanges'.
    let is_named = connection.flags & TLS == 0 && connection.flags & (OPAQUE | MAY_BECOME_TLS) != 0;
    let told = if is_named { Ok(()) } else { emit::close(key, connection, time_ns, 0) };
    if connection.flags & HTTP2 != 0 {
        let _ = FRAMES.remove(key);
    }
    let _ = CONNECTIONS.remove(key);
    told
}

/// A receive returned 0. A client that reads until the server closes learns from it that the response is
/// whole, and it is told once; to a server it says nothing new.
#[inline(always)]
pub(crate) fn end_of_file(sock: u64, family: Family) -> Result<(), Counter> {
    let Some(connection) = followed(sock, family) else { return Ok(()) };
    // SAFETY: the map returned a live entry.
    let connection = unsafe { &mut *connection };
    if family != Family::Inet && connection.is_unix() && socket::is_over(sock)? {
        return unix_end(sock, connection);
    }
    if connection.flags & (LAST_RESPONSE | LAST_SENT | END_TOLD) == LAST_RESPONSE {
        connection.flags |= END_TOLD;
        return emit::close(sock, connection, emit::now(), END_OF_FILE);
    }
    Ok(())
}

/// An operation that did not move anything returned an error: of a Unix-domain socket it may say that the other end is closed.
#[inline(always)]
pub(crate) fn failed(sock: u64, returned: i32) -> Result<(), Counter> {
    if returned != -EPIPE && returned != -ECONNRESET {
        return Ok(());
    }
    let Some(connection) = followed(sock, Family::Any) else { return Ok(()) };
    // SAFETY: the map returned a live entry.
    let connection = unsafe { &*connection };
    if connection.is_unix() && socket::is_over(sock)? { unix_end(sock, connection) } else { Ok(()) }
}

/// All that came on a Unix-domain socket was read, and the other end is closed: nothing moves on either any more. Where no hook tells
/// of their end, this does.
#[inline(always)]
fn unix_end(sock: u64, connection: &Connection) -> Result<(), Counter> {
    let time_ns = emit::now();
    let peer = socket::unix_peer(&connection.tuple);
    let told = over(sock, connection, time_ns);
    if let Some(other) = CONNECTIONS.get_ptr_mut(peer) {
        // SAFETY: the map returned a live entry.
        let other = unsafe { &*other };
        if other.is_unix() && socket::unix_peer(&other.tuple) == sock {
            over(peer, other, time_ns)?;
        }
    }
    told
}
