//! The socket route (kernel 6.3 and later): the tracepoints that fire once an operation on any socket, in the
//! thread's context, after the operation.
//!
//! ```c
//! TRACE_EVENT(sock_send_length, TP_PROTO(struct sock *sk, int ret, int flags))
//! TRACE_EVENT(sock_recv_length, TP_PROTO(struct sock *sk, int ret, int flags))
//! ```

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use sensor_common::{cause::Counter, connection::Direction};

use super::{
    MSG_PEEK, MSG_TRUNC,
    close::{end_of_file, failed},
    next::finish,
};
use crate::{
    buffers::Buffers,
    emit::now,
    maps::NEXT,
    next::Next,
    observe::{Operation, followed, is_opaque, known_or, observe_on},
    plaintext, registers,
    socket::Family,
    target,
};

#[raw_tracepoint(tracepoint = "sock_send_length")]
fn sock_send_length(ctx: RawTracePointContext) -> u32 {
    run(&ctx, Direction::Send)
}

#[raw_tracepoint(tracepoint = "sock_recv_length")]
fn sock_recv_length(ctx: RawTracePointContext) -> u32 {
    run(&ctx, Direction::Receive)
}

#[inline(always)]
fn run(ctx: &RawTracePointContext, direction: Direction) -> u32 {
    finish(ctx, try_run(ctx, direction), &NEXT);
    0
}

#[inline(always)]
fn try_run(ctx: &RawTracePointContext, direction: Direction) -> Result<Next, Counter> {
    let sock: u64 = ctx.arg(0);
    if !target::is_current() {
        return Ok(Next::Done);
    }
    let family = Family::Any;
    let connection = followed(sock, family);
    let length: i32 = ctx.arg(1);
    let flags: i32 = ctx.arg(2);
    let receive = direction as u32 == Direction::Receive as u32;
    if receive && flags & MSG_PEEK != 0 {
        return Ok(Next::Done);
    }
    if length == 0 && receive {
        return end_of_file(sock, family).map(|()| Next::Done);
    }
    if length <= 0 {
        return failed(sock, length).map(|()| Next::Done);
    }
    plaintext::touch(sock, direction, connection);
    if is_opaque(connection) {
        return Ok(Next::Done);
    }
    let buffers = if receive && flags & MSG_TRUNC != 0 {
        Buffers::NONE
    } else {
        known_or(registers::current_buffers(), Buffers::NONE)
    };
    let length = length as u32;
    observe_on(&Operation { sock, family, direction, length, time_ns: now(), buffers }, connection)
}
