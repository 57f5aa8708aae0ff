//! The syscall route, for kernels where neither of the others works: the tracepoints at the entry and return of all
//! system calls. Those that carry no data cost a comparison.
//!
//! ```c
//! TRACE_EVENT_SYSCALL(sys_enter, TP_PROTO(struct pt_regs *regs, long id))
//! TRACE_EVENT_SYSCALL(sys_exit, TP_PROTO(struct pt_regs *regs, long ret))
//! ```
//!
//! The entry finds the socket behind the descriptor and leaves what it was given for the return.
//!
//! Each call has tracepoints of its own, too. The kernel skips their programs while the processor is inside an operation
//! on a map, the daemon's own look-ups among them (`bpf_prog_active`), which a preempted daemon can be for
//! milliseconds. Programs on raw tracepoints are not skipped.

use core::hint::black_box;

use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::raw_tracepoint, programs::RawTracePointContext};
use sensor_common::{cause::Counter, connection::Direction};

use super::{
    MSG_PEEK, MSG_TRUNC,
    close::{end_of_file, failed},
    next::finish,
};
use crate::{
    buffers::Buffers,
    count::fail,
    emit::now,
    flow, globals,
    kernel::{self, Memory},
    maps::{IN_FLIGHT, InFlight, NEXT},
    next::Next,
    observe::{Operation, known_or, observe},
    plaintext,
    registers::{self, Call, arch},
    socket::{self, Family},
    target,
};

/// `mmsghdr.msg_len`
const MMSGHDR_LENGTH: u64 = 56;

/// Whether a call can move bytes of a socket.
#[inline(always)]
fn carries_data(number: u64) -> bool {
    receives(number)
        || matches!(
            number,
            arch::WRITE
                | arch::WRITEV
                | arch::SENDTO
                | arch::SENDMSG
                | arch::SENDMMSG
                | arch::SENDFILE
                | arch::SPLICE
        )
}

#[inline(always)]
fn receives(number: u64) -> bool {
    matches!(number, arch::READ | arch::READV | arch::RECVFROM | arch::RECVMSG | arch::RECVMMSG)
}

/// The entry of any call.
#[raw_tracepoint(tracepoint = "sys_enter")]
fn sys_enter(ctx: RawTracePointContext) -> u32 {
    if carries_data(ctx.arg(1))
        && target::is_current()
        && let Err(cause) = try_enter(ctx.arg(0))
    {
        fail(&ctx, cause);
    }
    0
}

#[inline(always)]
fn try_enter(registers: u64) -> Result<(), Counter> {
    let Some(call) = registers::call(registers)? else { return Ok(()) };
    let [descriptor, _, third] = call.arguments;
    let Some(sock) = socket::of_descriptor(descriptor as u32)? else {
        // `splice(fd_in, off_in, fd_out, …)`: a socket can be on either side.
        if call.number == arch::SPLICE
            && let Some(sock) = socket::of_descriptor(third as u32)?
        {
            return enter(sock, Direction::Send, Given::NOTHING);
        }
        return Ok(());
    };
    if call.number == arch::SPLICE {
        return enter(sock, Direction::Receive, Given::NOTHING);
    }
    if !receives(call.number) {
        return enter(sock, Direction::Send, known_or(given(&call), Given::NOTHING));
    }
    let flags = match call.number {
        arch::RECVMSG => third as i32,
        arch::RECVFROM | arch::RECVMMSG => registers::fourth(registers)? as i32,
        _ => 0,
    };
    if flags & MSG_PEEK != 0 {
        return Ok(());
    }
    let nowhere = flags & MSG_TRUNC != 0;
    enter(
        sock,
        Direction::Receive,
        if nowhere { Given::NOTHING } else { known_or(given(&call), Given::NOTHING) },
    )
}

/// The return of any call.
#[raw_tracepoint(tracepoint = "sys_exit")]
fn sys_exit(ctx: RawTracePointContext) -> u32 {
    finish(&ctx, try_exit(&ctx, ctx.arg(0), ctx.arg(1)), &NEXT);
    0
}

#[inline(always)]
fn try_exit(ctx: &RawTracePointContext, registers: u64, returned: i64) -> Result<Next, Counter> {
    let number = registers::number(registers)?;
    if !carries_data(number) {
        if number == arch::CONNECT && flow::has_no_way(returned as i32) && globals::flows() {
            unroutable(registers, returned as i32)?;
        }
        return Ok(Next::Done);
    }
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: only this thread writes its entry, and it is in this call: the value does not change.
    let Some(in_flight) = (unsafe { IN_FLIGHT.get(thread) }) else { return Ok(Next::Done) };
    // VERIFIER: all kernels: as one number, because a part that an answer does not have is not initialised, and may not be kept
    // across the call.
    let place = black_box(match leave(in_flight, returned) {
        Ok(next) => next.place().unwrap_or(NOWHERE),
        Err(cause) => {
            fail(ctx, cause);
            NOWHERE
        }
    });
    let _ = IN_FLIGHT.remove(thread);
    Ok(Next::at(place))
}

/// The place of no program.
const NOWHERE: u32 = u32::MAX;

/// A `connect` failed because no way leads there.
#[inline(always)]
fn unroutable(registers: u64, returned: i32) -> Result<(), Counter> {
    if !target::is_current() {
        return Ok(());
    }
    let Some(call) = registers::call(registers)? else { return Ok(()) };
    let [descriptor, to, _] = call.arguments;
    match socket::of_descriptor(descriptor as u32)? {
        Some(sock) => flow::unroutable(sock, to, Memory::User, returned),
        None => Ok(()),
    }
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
fn given(call: &Call) -> Result<Given, Counter> {
    let [_, second, third] = call.arguments;
    match call.number {
        arch::READ | arch::WRITE | arch::RECVFROM | arch::SENDTO => Ok(Given::of(Buffers::range(second))),
        arch::READV | arch::WRITEV => Ok(Given::of(Buffers::user_vector(second, third)?)),
        arch::RECVMSG | arch::SENDMSG => Ok(Given::of(registers::message(second)?)),
        // One message is read like `sendmsg`; of several, none is: they are counted by length.
        arch::RECVMMSG | arch::SENDMMSG => {
            let buffers = if third as u32 == 1 { registers::message(second)? } else { Buffers::NONE };
            Ok(Given { buffers, messages: second })
        }
        _ => Ok(Given::NOTHING),
    }
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
        return end_of_file(sock, Family::Any).map(|()| Next::Done);
    }
    if returned <= 0 {
        return failed(sock, returned as i32).map(|()| Next::Done);
    }
    let length = if in_flight.messages == 0 { returned as u32 } else { total(in_flight.messages, returned)? };
    if length == 0 {
        return Ok(Next::Done);
    }
    let direction = if receive { Direction::Receive } else { Direction::Send };
    plaintext::touch(sock, direction, None);
    let time_ns = if receive { now() } else { in_flight.time_ns };
    let (family, buffers) = (Family::Any, in_flight.buffers);
    observe(&Operation { sock, family, direction, length, time_ns, buffers })
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
