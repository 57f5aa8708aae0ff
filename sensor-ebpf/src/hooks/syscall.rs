//! The syscall route, for kernels where neither of the others works: the tracepoints of the system calls that
//! carry data, at entry and at return.
//!
//! ```c
//! struct syscalls_enter { u64 common; int nr; u64 args[6]; }  // as the tracepoint's format file shows
//! struct syscalls_exit  { u64 common; int nr; long ret; }
//! ```
//!
//! The entry finds the socket behind the descriptor and leaves what it was given for the return.

use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::tracepoint, programs::TracePointContext};
use sensor_common::{cause::Counter, connection::Direction};

use super::{MSG_PEEK, MSG_TRUNC, close::end_of_file, walk::finish};
use crate::{
    buffers::Buffers,
    count::fail,
    emit::now,
    http2::Next,
    kernel,
    maps::{IN_FLIGHT, InFlight, WALK_SYSCALL},
    observe::{Operation, known_or, observe},
    registers, socket, target,
};

/// Offset of the first argument, and of the result.
const ARGUMENTS: usize = 16;
/// `mmsghdr.msg_len`
const MMSGHDR_LENGTH: u64 = 56;
/// Defines the entry of one call: its direction, the index of its flags (for a receive that has some), and
/// where its bytes are.
macro_rules! enter {
    ($name:ident, $direction:ident, $flags:expr, $given:expr) => {
        #[tracepoint]
        fn $name(ctx: TracePointContext) -> u32 {
            if target::is_current()
                && let Err(cause) = try_enter(&ctx, Direction::$direction, $flags, $given)
            {
                fail(&ctx, cause);
            }
            0
        }
    };
}

enter!(sys_enter_read, Receive, None, range);
enter!(sys_enter_recvfrom, Receive, Some(3), range);
enter!(sys_enter_readv, Receive, None, vector);
enter!(sys_enter_recvmsg, Receive, Some(2), message);
enter!(sys_enter_recvmmsg, Receive, Some(3), messages);
enter!(sys_enter_write, Send, None, range);
enter!(sys_enter_sendto, Send, None, range);
enter!(sys_enter_writev, Send, None, vector);
enter!(sys_enter_sendmsg, Send, None, message);
enter!(sys_enter_sendmmsg, Send, None, messages);
enter!(sys_enter_sendfile, Send, None, nothing);

#[inline(always)]
fn try_enter(
    ctx: &TracePointContext,
    direction: Direction,
    flags: Option<usize>,
    given: impl Fn(&TracePointContext) -> Result<Given, Counter>,
) -> Result<(), Counter> {
    let Some(sock) = socket::of_descriptor(argument(ctx, 0)? as u32)? else { return Ok(()) };
    let flags = match flags {
        Some(index) => argument(ctx, index)? as i32,
        None => 0,
    };
    if flags & MSG_PEEK != 0 {
        return Ok(());
    }
    enter(
        sock,
        direction,
        if flags & MSG_TRUNC != 0 { Given::NOTHING } else { known_or(given(ctx), Given::NOTHING) },
    )
}

/// `splice(fd_in, off_in, fd_out, …)`: a socket can be on either side.
#[tracepoint]
fn sys_enter_splice(ctx: TracePointContext) -> u32 {
    if target::is_current()
        && let Err(cause) = try_splice(&ctx)
    {
        fail(&ctx, cause);
    }
    0
}

#[inline(always)]
fn try_splice(ctx: &TracePointContext) -> Result<(), Counter> {
    if let Some(sock) = socket::of_descriptor(argument(ctx, 0)? as u32)? {
        return enter(sock, Direction::Receive, Given::NOTHING);
    }
    match socket::of_descriptor(argument(ctx, 2)? as u32)? {
        Some(sock) => enter(sock, Direction::Send, Given::NOTHING),
        None => Ok(()),
    }
}

/// The return of any of them.
#[tracepoint]
fn sys_exit(ctx: TracePointContext) -> u32 {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: only this thread writes its entry, and it is in this call: the value does not change.
    let Some(in_flight) = (unsafe { IN_FLIGHT.get(thread) }) else { return 0 };
    let direction =
        if in_flight.direction == Direction::Receive as u32 { Direction::Receive } else { Direction::Send };
    let result = argument(&ctx, 0).and_then(|returned| leave(in_flight, returned as i64));
    let _ = IN_FLIGHT.remove(thread);
    finish(&ctx, result, &WALK_SYSCALL, direction);
    0
}

/// What a call was given: where its bytes are, and the `struct mmsghdr` array whose result is not a length.
struct Given {
    buffers: Buffers,
    messages: u64,
}

impl Given {
    const NOTHING: Self = Self { buffers: Buffers::NONE, messages: 0 };

    #[inline(always)]
    fn of(buffers: Buffers) -> Self {
        Self { buffers, messages: 0 }
    }
}

#[inline(always)]
fn argument(ctx: &TracePointContext, index: usize) -> Result<u64, Counter> {
    // SAFETY: the tracepoint has this many arguments.
    unsafe { ctx.read_at(ARGUMENTS + index * size_of::<u64>()) }.map_err(|_| Counter::KernelMemory)
}

#[inline(always)]
fn nothing(_ctx: &TracePointContext) -> Result<Given, Counter> {
    Ok(Given::NOTHING)
}

#[inline(always)]
fn range(ctx: &TracePointContext) -> Result<Given, Counter> {
    Ok(Given::of(Buffers::range(argument(ctx, 1)?)))
}

#[inline(always)]
fn vector(ctx: &TracePointContext) -> Result<Given, Counter> {
    Ok(Given::of(Buffers::user_vector(argument(ctx, 1)?, argument(ctx, 2)?)?))
}

#[inline(always)]
fn message(ctx: &TracePointContext) -> Result<Given, Counter> {
    Ok(Given::of(registers::message(argument(ctx, 1)?)?))
}

/// One message is read like `sendmsg`; of several, none is: they are counted by length.
#[inline(always)]
fn messages(ctx: &TracePointContext) -> Result<Given, Counter> {
    let header = argument(ctx, 1)?;
    let buffers = if argument(ctx, 2)? as u32 == 1 { registers::message(header)? } else { Buffers::NONE };
    Ok(Given { buffers, messages: header })
}

#[inline(always)]
fn enter(sock: u64, direction: Direction, given: Given) -> Result<(), Counter> {
    let in_flight = InFlight {
        sock,
        time_ns: now(),
        buffers: given.buffers,
        messages: given.messages,
        direction: direction as u32,
        padding: 0,
    };
    IN_FLIGHT.insert(bpf_get_current_pid_tgid(), in_flight, 0).map_err(|_| Counter::InFlightFull)
}

#[inline(always)]
fn leave(in_flight: &InFlight, returned: i64) -> Result<Next, Counter> {
    let sock = in_flight.sock;
    let receive = in_flight.direction == Direction::Receive as u32;
    if returned == 0 && receive {
        return end_of_file(sock).map(|()| Next::Done);
    }
    if returned <= 0 {
        return Ok(Next::Done);
    }
    let length = if in_flight.messages == 0 { returned as u32 } else { total(in_flight.messages, returned)? };
    if length == 0 {
        return Ok(Next::Done);
    }
    let direction = if receive { Direction::Receive } else { Direction::Send };
    let time_ns = if receive { now() } else { in_flight.time_ns };
    observe(&Operation { sock, direction, length, time_ns, buffers: in_flight.buffers })
}

/// Bytes of the first messages of a `struct mmsghdr` array.
#[inline(always)]
fn total(header: u64, messages: i64) -> Result<u32, Counter> {
    const MMSGHDR: u64 = 64;
    const MOST: u64 = 8;
    let mut total = 0_u32;
    for index in 0..MOST {
        if index >= messages as u64 {
            return Ok(total);
        }
        let length: u32 = kernel::read_user(header + index * MMSGHDR + MMSGHDR_LENGTH)?;
        total += length;
    }
    if messages as u64 == MOST { Ok(total) } else { Err(Counter::VectorTooLong) }
}
