//! The life of TCP connections, whatever is spoken on them. No hook runs a packet.
//!
//! ```c
//! TRACE_EVENT(inet_sock_set_state, TP_PROTO(const struct sock *sk, const int oldstate, const int newstate))
//! DEFINE_EVENT(tcp_event_sk, tcp_receive_reset, TP_PROTO(struct sock *sk))
//! int tcp_v4_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len);  // IPv6: tcp_v6_connect
//! TRACE_EVENT(tcp_send_reset, TP_PROTO(const struct sock *sk, const struct sk_buff *skb, ...))
//! ```
//!
//! The kernel sets `SYN_SENT` in the connecting thread and `LISTEN` in the listening one; all else may happen in the
//! name of whoever runs just then, and no task is read there. Before `CLOSE` it has written `sk_err` and stopped
//! counting.

use aya_ebpf::{
    macros::{btf_tracepoint, fexit, raw_tracepoint},
    programs::{BtfTracePointContext, FExitContext, RawTracePointContext},
};
use sensor_common::{
    cause::Counter,
    flow::{FlowCounter, FlowKind},
};

use crate::{
    flow,
    kernel::{Memory, Probed, Reads, Vouched},
};

/// Of `include/net/tcp_states.h`.
const ESTABLISHED: i32 = 1;
const SYN_SENT: i32 = 2;
const SYN_RECV: i32 = 3;
const CLOSE: i32 = 7;
const LISTEN: i32 = 10;
const NEW_SYN_RECV: i32 = 12;

/// Where the kernel vouches for the argument, members are loaded; a helper's call for each costs ten times as much.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn tcp_state(ctx: BtfTracePointContext) -> i32 {
    let (old, new): (i32, i32) = (ctx.arg(1), ctx.arg(2));
    if is_told(old, new)
        && let Some(sock) = flow::as_tcp(ctx.arg(0))
    {
        finish(changed::<Vouched>(sock, old, new));
    }
    0
}

#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
fn inet_sock_set_state(ctx: RawTracePointContext) -> u32 {
    finish(try_state(ctx.arg(0), ctx.arg(1), ctx.arg(2)))
}

/// Defines the return of a function that connects, where functions can be traced.
macro_rules! connect {
    ($name:ident, $function:literal) => {
        #[fexit(function = $function)]
        fn $name(ctx: FExitContext) -> i32 {
            let returned: i32 = ctx.arg(3);
            if flow::has_no_way(returned) {
                finish(flow::unroutable(ctx.arg(0), ctx.arg(1), Memory::Kernel, returned));
            }
            0
        }
    };
}

connect!(tcp_connect, "tcp_v4_connect");
connect!(tcp6_connect, "tcp_v6_connect");

#[raw_tracepoint(tracepoint = "tcp_receive_reset")]
fn tcp_receive_reset(ctx: RawTracePointContext) -> u32 {
    finish(try_reset(ctx.arg(0), FlowKind::ResetReceived))
}

#[raw_tracepoint(tracepoint = "tcp_send_reset")]
fn tcp_send_reset(ctx: RawTracePointContext) -> u32 {
    finish(try_reset(ctx.arg(0), FlowKind::ResetSent))
}

#[inline(always)]
fn finish(result: Result<(), Counter>) -> u32 {
    if result.is_err() {
        flow::count(FlowCounter::KernelMemory);
    }
    0
}

#[inline(always)]
fn try_state(sock: u64, old: i32, new: i32) -> Result<(), Counter> {
    if is_told(old, new) && flow::is_tcp(sock)? { changed::<Probed>(sock, old, new) } else { Ok(()) }
}

/// Whether a change of this kind is told: most are on the way to an end.
#[inline(always)]
fn is_told(old: i32, new: i32) -> bool {
    let starts = new == SYN_SENT || new == ESTABLISHED || new == LISTEN;
    starts || new == CLOSE && old != LISTEN && old != CLOSE
}

#[inline(always)]
fn changed<R: Reads>(sock: u64, old: i32, new: i32) -> Result<(), Counter> {
    match (old, new) {
        (_, SYN_SENT) => flow::connects(sock),
        (SYN_SENT, ESTABLISHED) => flow::established::<R>(sock, false),
        (SYN_RECV, ESTABLISHED) => flow::established::<R>(sock, true),
        (_, LISTEN) => flow::listens::<R>(sock),
        (SYN_SENT | SYN_RECV, CLOSE) => flow::failed::<R>(sock, old == SYN_RECV),
        (_, CLOSE) => flow::closed::<R>(sock),
        _ => Ok(()),
    }
}

#[inline(always)]
fn try_reset(sock: u64, kind: FlowKind) -> Result<(), Counter> {
    let state = if sock == 0 { LISTEN } else { i32::from(flow::state(sock)?) };
    match state {
        // The failure tells it.
        SYN_SENT => Ok(()),
        LISTEN | NEW_SYN_RECV => {
            flow::count(FlowCounter::ResetsWithoutConnection);
            Ok(())
        }
        _ => flow::reset(sock, kind),
    }
}
