//! The programs that walk the frames of HTTP/2 connections: reached by tail calls from the others, which must be of the
//! same kind, and on the fentry route of the same function. None is attached.

use aya_ebpf::{
    EbpfContext,
    macros::{fexit, raw_tracepoint},
    maps::ProgramArray,
    programs::{FExitContext, RawTracePointContext},
};
use sensor_common::{cause::Counter, connection::Direction};

use crate::{
    count::fail,
    http2::{self, Next},
    maps::{WALK, WALK_RECVMSG, WALK_SENDMSG},
};

/// Ends a hook: what is left to do for the operation, if anything.
#[inline(always)]
pub(super) fn finish(ctx: &impl EbpfContext, result: Result<Next, Counter>, programs: &ProgramArray) {
    match result {
        Ok(Next::Done) => {}
        Ok(Next::Walk(direction)) => go(ctx, programs, direction),
        Err(cause) => fail(ctx, cause),
    }
}

/// Goes on in the walking program; comes back only when that is not possible.
#[inline(always)]
fn go(ctx: &impl EbpfContext, programs: &ProgramArray, direction: Direction) {
    // SAFETY: the programs take the same context.
    unsafe { programs.tail_call(ctx, direction as u32) };
    http2::give_up(direction);
}

/// Defines a walking program.
macro_rules! walk {
    ($name:ident, $attribute:meta, $context:ty, $result:ty, $programs:ident, $direction:ident) => {
        #[$attribute]
        fn $name(ctx: $context) -> $result {
            if http2::walk(&ctx, Direction::$direction) {
                go(&ctx, &$programs, Direction::$direction);
            }
            0
        }
    };
}

walk!(
    walk_receive,
    raw_tracepoint(tracepoint = "sock_recv_length"),
    RawTracePointContext,
    u32,
    WALK,
    Receive
);
walk!(walk_send, raw_tracepoint(tracepoint = "sock_send_length"), RawTracePointContext, u32, WALK, Send);
walk!(walk_recvmsg, fexit(function = "tcp_recvmsg"), FExitContext, i32, WALK_RECVMSG, Receive);
walk!(walk_sendmsg, fexit(function = "tcp_sendmsg"), FExitContext, i32, WALK_SENDMSG, Send);
