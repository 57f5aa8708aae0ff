//! Writes to standard streams where functions of the kernel cannot be traced: the return of the system calls that move
//! bytes into a pipe or a terminal. What was written, and where to, is in the registers that the call was entered with.
//!
//! ```c
//! TRACE_EVENT_SYSCALL(sys_exit, TP_PROTO(struct pt_regs *regs, long ret))
//! ```
//!
//! A failed or empty write is left at once; a partial one is told as far as it went. Why it is the tracepoint of all
//! calls and not those that each has of its own, [`super::syscall`] says.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use sensor_common::cause::Counter;

use crate::{
    buffers::Buffers,
    kernel::Probed,
    log::{Write, capture, number, spliced},
    registers::{self, Call, arch},
    target, task,
};

/// The slot of the scratch map.
const SLOT: u32 = 0;

/// The return of any call.
#[raw_tracepoint(tracepoint = "sys_exit")]
fn log_sys_exit(ctx: RawTracePointContext) -> u32 {
    let _ = try_exit(ctx.arg(0), ctx.arg(1)).map_err(super::log_exec::fail);
    0
}

#[inline(always)]
fn try_exit(registers: u64, returned: i64) -> Result<(), Counter> {
    if returned <= 0 || !writes(registers::number(registers)?) || target::is_sensor() {
        return Ok(());
    }
    let Some(call) = registers::call(registers)? else { return Ok(()) };
    let descriptor = written_to(&call) as u32;
    let Some(file) = task::file(descriptor)? else { return Ok(()) };
    let Some(pipe) = number::<Probed>(file)? else { return Ok(()) };
    let length = returned as u32;
    let [_, second, third] = call.arguments;
    let buffers = match call.number {
        arch::WRITE => Buffers::range(second),
        arch::WRITEV | arch::PWRITEV2 => Buffers::user_vector(second, third)?,
        _ => {
            spliced(pipe, length);
            return Ok(());
        }
    };
    capture(SLOT, &Write { pipe, length, buffers, descriptor })
}

/// Whether a call moves bytes to a descriptor that can be a pipe.
#[inline(always)]
fn writes(number: u64) -> bool {
    matches!(number, arch::WRITE | arch::WRITEV | arch::PWRITEV2) || moves(number)
}

/// Whether a call moves bytes from no user memory.
#[inline(always)]
fn moves(number: u64) -> bool {
    matches!(number, arch::SPLICE | arch::SENDFILE | arch::TEE | arch::VMSPLICE)
}

/// The descriptor that the call moves bytes to.
#[inline(always)]
pub(super) fn written_to(call: &Call) -> u64 {
    match call.number {
        arch::TEE => call.arguments[1],
        arch::SPLICE => call.arguments[2],
        _ => call.arguments[0],
    }
}
