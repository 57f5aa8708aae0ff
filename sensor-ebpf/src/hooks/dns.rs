//! Messages of the name service. Two of the routes come here by a tail call from their hooks (see [`super::next`]); on
//! the fentry route the functions of UDP have programs of their own.
//!
//! ```c
//! int udp_sendmsg(struct sock *sk, struct msghdr *msg, size_t len);    // IPv6: udpv6_sendmsg
//! int udp_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int flags, int *addr_len);
//!     // IPv6: udpv6_recvmsg. Before 5.19: (sk, msg, len, int nonblock, flags, addr_len); newest: without addr_len
//! ```

use aya_ebpf::{
    macros::{fentry, fexit, raw_tracepoint},
    programs::{FEntryContext, FExitContext, RawTracePointContext},
};
use sensor_common::{cause::Counter, connection::Direction, flow::FlowCounter};

use super::{MSG_PEEK, MSG_TRUNC};
use crate::{
    buffers::Buffers,
    dns,
    emit::now,
    flow,
    flow::flow_offset,
    globals::offset,
    kernel::{self, Memory},
    maps::{DATAGRAM_SLOT, ENTRY_SLOT},
    observe::Operation,
    registers,
    socket::Family,
    target,
};

#[inline(always)]
fn finish(result: Result<(), Counter>) {
    if result.is_err() {
        flow::count(FlowCounter::DnsUnread);
    }
}

/// The socket route.
#[raw_tracepoint(tracepoint = "sock_send_length")]
fn dns_send(_ctx: RawTracePointContext) -> u32 {
    finish(dns::sent(Direction::Send as u32, registers::current()));
    0
}

/// The syscall route.
#[raw_tracepoint(tracepoint = "sys_exit")]
fn dns_sys_send(ctx: RawTracePointContext) -> u32 {
    finish(dns::sent(Direction::Send as u32, ctx.arg(0)));
    0
}

/// Both.
#[raw_tracepoint(tracepoint = "sock_recv_length")]
fn dns_receive(_ctx: RawTracePointContext) -> u32 {
    finish(dns::received(Direction::Receive as u32));
    0
}

/// The fentry route's streams.
#[fentry(function = "tcp_sendmsg")]
fn dns_sendmsg(_ctx: FEntryContext) -> i32 {
    finish(dns::received(ENTRY_SLOT));
    0
}

#[fexit(function = "tcp_recvmsg")]
fn dns_recvmsg(_ctx: FExitContext) -> i32 {
    finish(dns::received(Direction::Receive as u32));
    0
}

/// Defines the entry of a function that sends datagrams.
macro_rules! udp_send {
    ($name:ident, $function:literal) => {
        #[fentry(function = $function)]
        fn $name(ctx: FEntryContext) -> i32 {
            if target::is_current() {
                finish(try_send(ctx.arg(0), ctx.arg(1), ctx.arg(2)));
            }
            0
        }
    };
}

udp_send!(dns_udp_send, "udp_sendmsg");
udp_send!(dns_udp6_send, "udpv6_sendmsg");

#[inline(always)]
fn try_send(sock: u64, message: u64, size: u64) -> Result<(), Counter> {
    let direction = Direction::Send;
    if !dns::is_datagram_of(sock, direction)? {
        return Ok(());
    }
    let number = DATAGRAM_SLOT + direction as u32;
    let scratch = dns::slot(number)?;
    let length = if size > u64::from(u32::MAX) { u32::MAX } else { size as u32 };
    let buffers = Buffers::ahead(message + offset!(msghdr_iter))?;
    scratch.buffers = buffers;
    dns::put(
        scratch,
        &Operation { sock, family: Family::Inet, direction, length, time_ns: now(), buffers },
        0,
    );
    let name: u64 = kernel::read(message + flow_offset!(msghdr_name))?;
    if dns::addressed(scratch, name, Memory::Kernel)? { dns::received(number) } else { Ok(()) }
}

/// Defines the return of a function that receives datagrams: the index of `flags`, and of the result.
macro_rules! udp_receive {
    ($name:ident, $function:literal, $flags:expr, $result:expr) => {
        #[fexit(function = $function)]
        fn $name(ctx: FExitContext) -> i32 {
            let returned: i32 = ctx.arg($result);
            if returned > 0 && target::is_current() {
                finish(try_receive(ctx.arg(0), ctx.arg(1), ctx.arg($flags), returned));
            }
            0
        }
    };
}

udp_receive!(dns_udp_receive_4, "udp_recvmsg", 3, 4);
udp_receive!(dns_udp_receive_5, "udp_recvmsg", 3, 5);
udp_receive!(dns_udp_receive_6, "udp_recvmsg", 4, 6);
udp_receive!(dns_udp6_receive_4, "udpv6_recvmsg", 3, 4);
udp_receive!(dns_udp6_receive_5, "udpv6_recvmsg", 3, 5);
udp_receive!(dns_udp6_receive_6, "udpv6_recvmsg", 4, 6);

#[inline(always)]
fn try_receive(sock: u64, message: u64, flags: i32, returned: i32) -> Result<(), Counter> {
    let direction = Direction::Receive;
    if flags & MSG_PEEK != 0 || !dns::is_datagram_of(sock, direction)? {
        return Ok(());
    }
    let number = DATAGRAM_SLOT + direction as u32;
    let scratch = dns::slot(number)?;
    let length = returned as u32;
    let buffers = if flags & MSG_TRUNC != 0 {
        Buffers::NONE
    } else {
        Buffers::consumed(message + offset!(msghdr_iter), length)?
    };
    scratch.buffers = buffers;
    dns::put(
        scratch,
        &Operation { sock, family: Family::Inet, direction, length, time_ns: now(), buffers },
        0,
    );
    dns::received(number)
}
