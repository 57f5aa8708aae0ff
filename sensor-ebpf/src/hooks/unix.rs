//! The fentry route for Unix-domain sockets that carry streams: as for TCP, but that the functions are handed the
//! `struct socket`, and that one of them tells of the end.
//!
//! ```c
//! int unix_stream_sendmsg(struct socket *sock, struct msghdr *msg, size_t len);
//! int unix_stream_recvmsg(struct socket *sock, struct msghdr *msg, size_t size, int flags);
//! ssize_t unix_stream_sendpage(struct socket *socket, struct page *page, int offset, size_t size, int flags);  // before 6.5
//! ssize_t unix_stream_splice_read(struct socket *sock, loff_t *ppos, struct pipe_inode_info *pipe, size_t size,
//!                                 unsigned int flags);
//! int unix_release(struct socket *sock);
//! ```
//!
//! The kernel only calls them by the tables of the family, so none of them is inlined or changed by its compiler.

use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};
use sensor_common::{cause::Counter, connection::Direction};

use super::{
    MSG_PEEK,
    close::{end, end_of_file},
    fentry::{by_length, entered, received, sent},
    next::finish,
};
use crate::{
    count::fail,
    globals::offset,
    kernel,
    maps::{NEXT_UNIX_RECVMSG, NEXT_UNIX_SENDMSG},
    next::Next,
    observe::{followed, send_started},
    socket::Family,
    target,
};

#[fentry(function = "unix_stream_sendmsg")]
fn unix_sendmsg_entry(ctx: FEntryContext) -> i32 {
    // Nothing is left to do: what is told of a send is told at its return.
    if let Err(cause) = entered(sock(ctx.arg(0)), Family::Unix, ctx.arg(1), ctx.arg(2)) {
        fail(&ctx, cause);
    }
    0
}

#[fexit(function = "unix_stream_sendmsg")]
fn unix_sendmsg_exit(ctx: FExitContext) -> i32 {
    let sock = sock(ctx.arg(0));
    let result = sent(sock, Family::Unix, ctx.arg(1), ctx.arg(3), send_started(sock));
    finish(&ctx, result, &NEXT_UNIX_SENDMSG);
    0
}

#[fexit(function = "unix_stream_recvmsg")]
fn unix_recvmsg_exit(ctx: FExitContext) -> i32 {
    let returned: i32 = ctx.arg(4);
    if returned >= 0 {
        let result = try_receive(sock(ctx.arg(0)), ctx.arg(1), ctx.arg(3), returned);
        finish(&ctx, result, &NEXT_UNIX_RECVMSG);
    }
    0
}

#[inline(always)]
fn try_receive(sock: u64, message: u64, flags: i32, returned: i32) -> Result<Next, Counter> {
    if flags & MSG_PEEK != 0 || !target::is_current() {
        return Ok(Next::Done);
    }
    if returned == 0 {
        return end_of_file(sock, Family::Unix).map(|()| Next::Done);
    }
    received(sock, Family::Unix, message, 0, returned, followed(sock, Family::Unix))
}

#[fexit(function = "unix_stream_sendpage")]
fn unix_sendpage_exit(ctx: FExitContext) -> i32 {
    moved(&ctx, Direction::Send);
    0
}

#[fexit(function = "unix_stream_splice_read")]
fn unix_splice_exit(ctx: FExitContext) -> i32 {
    moved(&ctx, Direction::Receive);
    0
}

/// The last file of a socket is closed: nothing can be sent or received on it any more, and its address is used again only
/// afterwards.
#[fentry(function = "unix_release")]
fn unix_release(ctx: FEntryContext) -> i32 {
    end(&ctx, sock(ctx.arg(0)));
    0
}

#[inline(always)]
fn moved(ctx: &FExitContext, direction: Direction) {
    if target::is_current()
        && let Err(cause) = by_length(sock(ctx.arg(0)), Family::Unix, direction, ctx.arg(5))
    {
        fail(ctx, cause);
    }
}

/// The `struct sock` of a `struct socket`.
#[inline(always)]
fn sock(socket: u64) -> u64 {
    kernel::load(socket + offset!(socket_sk))
}
