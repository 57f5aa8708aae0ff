//! The programs that finish an operation: reached by tail calls from the others, which must be of the same kind, and on
//! the fentry route of the same function. None is attached.

use aya_ebpf::{
    EbpfContext,
    macros::{fexit, raw_tracepoint},
    maps::ProgramArray,
    programs::{FExitContext, RawTracePointContext},
};
use sensor_common::{cause::Counter, connection::Direction, flow::FlowCounter};

use crate::{
    count::fail,
    emit, flow, http2,
    maps::{NEXT, NEXT_RECVMSG, NEXT_SENDMSG},
    next::Next,
    switch,
};

/// Ends a hook: what is left to do for the operation, if anything.
#[inline(always)]
pub(super) fn finish(ctx: &impl EbpfContext, result: Result<Next, Counter>, programs: &ProgramArray) {
    match result {
        Ok(next) => go(ctx, programs, next),
        Err(cause) => fail(ctx, cause),
    }
}

/// Goes on in the next program; comes back only when there is none, or when that is not possible.
#[inline(always)]
fn go(ctx: &impl EbpfContext, programs: &ProgramArray, next: Next) {
    let Some(place) = next.place() else { return };
    // SAFETY: the programs take the same context.
    unsafe { programs.tail_call(ctx, place) };
    match next {
        Next::Done => {}
        Next::Walk(direction) => http2::give_up(direction as u32),
        Next::Tell(_) => fail(ctx, Counter::Untold),
        Next::Dns(_) => flow::count(FlowCounter::DnsUnread),
    }
}

/// Defines a program that walks frames.
macro_rules! walk {
    ($name:ident, $attribute:meta, $context:ty, $result:ty, $programs:ident, $direction:ident) => {
        #[$attribute]
        fn $name(ctx: $context) -> $result {
            if http2::walk(&ctx, Direction::$direction as u32) {
                go(&ctx, &$programs, Next::Walk(Direction::$direction));
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
    NEXT,
    Receive
);
walk!(walk_send, raw_tracepoint(tracepoint = "sock_send_length"), RawTracePointContext, u32, NEXT, Send);
walk!(walk_recvmsg, fexit(function = "tcp_recvmsg"), FExitContext, i32, NEXT_RECVMSG, Receive);
walk!(walk_sendmsg, fexit(function = "tcp_sendmsg"), FExitContext, i32, NEXT_SENDMSG, Send);

/// Defines a program that masks a head and tells it.
macro_rules! tell {
    ($name:ident, $attribute:meta, $context:ty, $result:ty, $programs:ident, $direction:ident) => {
        #[$attribute]
        fn $name(ctx: $context) -> $result {
            if let Err(cause) = emit::tell(Direction::$direction as u32) {
                fail(&ctx, cause);
            }
            finish(&ctx, switch::after_head(Direction::$direction as u32), &$programs);
            0
        }
    };
}

tell!(
    tell_receive,
    raw_tracepoint(tracepoint = "sock_recv_length"),
    RawTracePointContext,
    u32,
    NEXT,
    Receive
);
tell!(tell_send, raw_tracepoint(tracepoint = "sock_send_length"), RawTracePointContext, u32, NEXT, Send);
tell!(tell_recvmsg, fexit(function = "tcp_recvmsg"), FExitContext, i32, NEXT_RECVMSG, Receive);
tell!(tell_sendmsg, fexit(function = "tcp_sendmsg"), FExitContext, i32, NEXT_SENDMSG, Send);
