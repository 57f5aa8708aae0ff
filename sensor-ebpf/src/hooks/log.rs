//! Writes to standard streams where functions of the kernel cannot be traced: the returns of the system calls that
//! move bytes into a pipe or a terminal. What was written, and where to, is in the registers that the call was
//! entered with.
//!
//! ```c
//! struct syscalls_exit { u64 common; int nr; long ret; }  // as the tracepoint's format file shows
//! ```
//!
//! A failed or empty write is left at once; a partial one is told as far as it went.

use aya_ebpf::{macros::tracepoint, programs::TracePointContext};
use sensor_common::cause::Counter;

use crate::{
    buffers::Buffers,
    log::{Write, capture, number, spliced},
    registers::{self, Call},
    target, task,
};

/// Offset of the result.
const RESULT: usize = 16;

/// Defines the return of one call that writes from user memory.
macro_rules! write {
    ($name:ident, $buffers:expr) => {
        #[tracepoint]
        fn $name(ctx: TracePointContext) -> u32 {
            if let Some(length) = returned(&ctx) {
                let _ = try_write(length, $buffers).map_err(super::log_exec::fail);
            }
            0
        }
    };
}

write!(log_write, |call: &Call| Ok(Buffers::range(call.arguments[1])));
write!(log_writev, |call: &Call| Buffers::user_vector(call.arguments[1], call.arguments[2]));

/// Defines the return of one call that moves bytes that are in no user memory, by the argument that names where to.
macro_rules! splice {
    ($name:ident, $to:expr) => {
        #[tracepoint]
        fn $name(ctx: TracePointContext) -> u32 {
            if let Some(length) = returned(&ctx) {
                let _ = try_splice(length, $to).map_err(super::log_exec::fail);
            }
            0
        }
    };
}

splice!(log_splice, 2);
splice!(log_sendfile, 0);
splice!(log_tee, 1);
splice!(log_vmsplice, 0);

/// Bytes that the call has moved; `None` when it moved none, or the sensor made it.
#[inline(always)]
fn returned(ctx: &TracePointContext) -> Option<u32> {
    // SAFETY: every return has a result.
    let result: i64 = unsafe { ctx.read_at(RESULT) }.ok()?;
    if result <= 0 || target::is_sensor() {
        return None;
    }
    Some(result as u32)
}

#[inline(always)]
fn try_write(length: u32, buffers: impl Fn(&Call) -> Result<Buffers, Counter>) -> Result<(), Counter> {
    let Some(call) = registers::current()? else { return Ok(()) };
    let descriptor = call.arguments[0] as u32;
    let Some(file) = task::file(descriptor)? else { return Ok(()) };
    let Some(pipe) = number(file)? else { return Ok(()) };
    capture(&Write { pipe, length, buffers: buffers(&call)?, descriptor })
}

#[inline(always)]
fn try_splice(length: u32, to: usize) -> Result<(), Counter> {
    let Some(call) = registers::current()? else { return Ok(()) };
    let Some(file) = task::file(call.arguments[to] as u32)? else { return Ok(()) };
    let Some(pipe) = number(file)? else { return Ok(()) };
    spliced(pipe, length)
}
