//! The fentry route: the TCP functions themselves, at entry and at return.
//!
//! ```c
//! int tcp_sendmsg(struct sock *sk, struct msghdr *msg, size_t size);
//! int tcp_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int flags, int *addr_len);
//!     // before 5.19: (sk, msg, len, int nonblock, flags, addr_len); newest: without addr_len
//! int tcp_sendpage(struct sock *sk, struct page *page, int offset, size_t size, int flags);  // before 6.5
//! ssize_t tcp_splice_read(struct socket *sock, loff_t *ppos, struct pipe_inode_info *tube, size_t len,
//!                         unsigned int flags);
//! ```
//!
//! A send is stamped at its entry: the stamp, and where a vector starts, wait in the connection's state, for sends on
//! one socket follow one another. Buffers come from the message's `struct iov_iter`, so `io_uring` is seen as well.

use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};
use sensor_common::{
    cause::Counter,
    connection::{Connection, Direction},
};

use super::{MSG_PEEK, MSG_TRUNC, close::end_of_file, next::finish};
use crate::{
    buffers::Buffers,
    count::fail,
    emit::now,
    globals::offset,
    kernel,
    maps::{NEXT_RECVMSG, NEXT_SENDMSG, NEXT_SENDMSG_ENTRY},
    next::Next,
    observe::{
        Operation, Started, followed, is_opaque, known_or, observe, observe_on, send_started, send_starts,
    },
    plaintext,
    socket::Family,
    target,
};

#[fentry(function = "tcp_sendmsg")]
fn tcp_sendmsg_entry(ctx: FEntryContext) -> i32 {
    finish(&ctx, entered(ctx.arg(0), Family::Inet, ctx.arg(1), ctx.arg(2)), &NEXT_SENDMSG_ENTRY);
    0
}

/// A send starts.
#[inline(always)]
pub(super) fn entered(sock: u64, family: Family, message: u64, size: u64) -> Result<Next, Counter> {
    if size == 0 {
        return Ok(Next::Done);
    }
    let length = if size > u64::from(u32::MAX) { u32::MAX } else { size as u32 };
    send_starts(sock, family, message + offset!(msghdr_iter), length, now())
}

#[fexit(function = "tcp_sendmsg")]
fn tcp_sendmsg_exit(ctx: FExitContext) -> i32 {
    finish(&ctx, try_exit_sendmsg(ctx.arg(0), ctx.arg(1), ctx.arg(3)), &NEXT_SENDMSG);
    0
}

#[inline(always)]
fn try_exit_sendmsg(sock: u64, message: u64, returned: i32) -> Result<Next, Counter> {
    // A send whose connection is not followed began no message: it is of no interest. One that failed takes its
    // stamp with it all the same.
    let started = send_started(sock);
    if returned > 0 {
        plaintext::touch(sock, Direction::Send, started.as_ref().map(|started| started.connection));
    }
    sent(sock, Family::Inet, message, returned, started)
}

/// A send has returned.
#[inline(always)]
pub(super) fn sent(
    sock: u64,
    family: Family,
    message: u64,
    returned: i32,
    started: Option<Started>,
) -> Result<Next, Counter> {
    let Some(started) = started.filter(|_| returned > 0) else { return Ok(Next::Done) };
    let length = returned as u32;
    let buffers = if started.vector != 0 {
        Buffers::kernel_vector(started.vector, started.skip)
    } else {
        Buffers::consumed(message + offset!(msghdr_iter), length)
    };
    let buffers = known_or(buffers, Buffers::NONE);
    let (direction, time_ns) = (Direction::Send, started.time_ns);
    let operation = Operation { sock, family, direction, length, time_ns, buffers };
    observe_on(&operation, Some(started.connection))
}

/// Defines the return of `tcp_recvmsg` for kernels where it has so many parameters: the index of `flags`, and of the
/// result behind the parameters.
// VERIFIER: all kernels: a program a form, because the context may be read at constant offsets only.
macro_rules! recvmsg {
    ($name:ident, $flags:expr, $result:expr) => {
        #[fexit(function = "tcp_recvmsg")]
        fn $name(ctx: FExitContext) -> i32 {
            let returned: i32 = ctx.arg($result);
            // Many receives find nothing.
            if returned >= 0 {
                let result = try_exit_recvmsg(ctx.arg(0), ctx.arg(1), ctx.arg($flags), returned);
                finish(&ctx, result, &NEXT_RECVMSG);
            }
            0
        }
    };
}

recvmsg!(tcp_recvmsg_4, 3, 4);
recvmsg!(tcp_recvmsg_5, 3, 5);
recvmsg!(tcp_recvmsg_6, 4, 6);

#[inline(always)]
fn try_exit_recvmsg(sock: u64, message: u64, flags: i32, returned: i32) -> Result<Next, Counter> {
    if flags & MSG_PEEK != 0 || !target::is_current() {
        return Ok(Next::Done);
    }
    if returned == 0 {
        return end_of_file(sock, Family::Inet).map(|()| Next::Done);
    }
    let connection = followed(sock, Family::Inet);
    plaintext::touch(sock, Direction::Receive, connection);
    if is_opaque(connection) {
        return Ok(Next::Done);
    }
    received(sock, Family::Inet, message, flags, returned, connection)
}

/// A receive has returned bytes.
#[inline(always)]
pub(super) fn received(
    sock: u64,
    family: Family,
    message: u64,
    flags: i32,
    returned: i32,
    connection: Option<*mut Connection>,
) -> Result<Next, Counter> {
    let length = returned as u32;
    let buffers = if flags & MSG_TRUNC != 0 {
        Buffers::NONE
    } else {
        known_or(Buffers::consumed(message + offset!(msghdr_iter), length), Buffers::NONE)
    };
    observe_on(
        &Operation { sock, family, direction: Direction::Receive, length, time_ns: now(), buffers },
        connection,
    )
}

#[fexit(function = "tcp_sendpage")]
fn tcp_sendpage_exit(ctx: FExitContext) -> i32 {
    if target::is_current()
        && let Err(cause) = by_length(ctx.arg(0), Family::Inet, Direction::Send, ctx.arg(5))
    {
        fail(&ctx, cause);
    }
    0
}

#[fexit(function = "tcp_splice_read")]
fn tcp_splice_exit(ctx: FExitContext) -> i32 {
    let socket: u64 = ctx.arg(0);
    if target::is_current()
        && let Err(cause) = kernel::read(socket + offset!(socket_sk))
            .and_then(|sock| by_length(sock, Family::Inet, Direction::Receive, ctx.arg(5)))
    {
        fail(&ctx, cause);
    }
    0
}

/// An operation whose bytes never are in user memory.
#[inline(always)]
pub(super) fn by_length(
    sock: u64,
    family: Family,
    direction: Direction,
    returned: i32,
) -> Result<(), Counter> {
    if returned <= 0 {
        return Ok(());
    }
    let (length, buffers) = (returned as u32, Buffers::NONE);
    // Without its bytes there is nothing to walk.
    observe(&Operation { sock, family, direction, length, time_ns: now(), buffers }).map(drop)
}
