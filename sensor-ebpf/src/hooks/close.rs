//! The end of a connection.
//!
//! ```c
//! DEFINE_EVENT(tcp_event_sk, tcp_destroy_sock, TP_PROTO(struct sock *sk))
//! ```
//!
//! The kernel fires it when nothing can be sent or received any more, so the streams are complete, and the
//! address may be reused only afterwards.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use sensor_common::{
    cause::Counter,
    connection::{END_TOLD, HTTP2, LAST_RESPONSE, LAST_SENT, PLAINTEXT},
    record::END_OF_FILE,
};

use crate::{
    count::fail,
    emit, globals,
    maps::{CONNECTIONS, FRAMES},
};

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
fn end(ctx: &RawTracePointContext, key: u64) {
    if let Some(connection) = CONNECTIONS.get_ptr_mut(key) {
        // SAFETY: the map returned a live entry, and the socket can no longer be used by anyone.
        let connection = unsafe { &*connection };
        if let Err(cause) = emit::close(key, connection, emit::now(), 0) {
            fail(ctx, cause);
        }
        if connection.flags & HTTP2 != 0 {
            let _ = FRAMES.remove(key);
        }
        let _ = CONNECTIONS.remove(key);
    }
}

/// A receive returned 0. A client that reads until the server closes learns from it that the response is
/// whole, and it is told once; to a server it says nothing new.
#[inline(always)]
pub(crate) fn end_of_file(sock: u64) -> Result<(), Counter> {
    let Some(connection) = CONNECTIONS.get_ptr_mut(sock) else { return Ok(()) };
    // SAFETY: the map returned a live entry.
    let connection = unsafe { &mut *connection };
    if connection.flags & (LAST_RESPONSE | LAST_SENT | END_TOLD) == LAST_RESPONSE {
        connection.flags |= END_TOLD;
        return emit::close(sock, connection, emit::now(), END_OF_FILE);
    }
    Ok(())
}
