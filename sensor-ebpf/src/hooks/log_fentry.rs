//! Writes to standard streams at the functions themselves.
//!
//! ```c
//! static ssize_t pipe_write(struct kiocb *iocb, struct iov_iter *from);  // newer: anon_pipe_write
//! static ssize_t tty_write(struct kiocb *iocb, struct iov_iter *from);  // since 5.12
//! ```

use aya_ebpf::{macros::fexit, programs::FExitContext};
use sensor_common::{cause::Counter, log::NO_DESCRIPTOR};

use crate::{
    buffers::Buffers,
    globals::offset,
    kernel,
    log::{Write, capture, number, spliced},
    target,
};

#[fexit(function = "pipe_write")]
fn log_pipe_write(ctx: FExitContext) -> i32 {
    run(&ctx, 0)
}

#[fexit(function = "tty_write")]
fn log_tty_write(ctx: FExitContext) -> i32 {
    run(&ctx, 1)
}

/// `slot` is the program's own of the scratch map: a program is not run within itself, but one may be preempted by another.
#[inline(always)]
fn run(ctx: &FExitContext, slot: u32) -> i32 {
    let returned: i64 = ctx.arg(2);
    if returned > 0 && !target::is_sensor() {
        let _ = try_write(slot, ctx.arg(0), ctx.arg(1), returned as u32).map_err(super::log_exec::fail);
    }
    0
}

#[inline(always)]
fn try_write(slot: u32, request: u64, from: u64, length: u32) -> Result<(), Counter> {
    let file: u64 = kernel::read(request + offset!(kiocb_file))?;
    let Some(pipe) = number(file)? else { return Ok(()) };
    let buffers = Buffers::consumed(from, length)?;
    if !buffers.are_known() {
        // Pages of the kernel's own, or registered buffers.
        return spliced(slot, pipe, length);
    }
    capture(slot, &Write { pipe, length, buffers, descriptor: NO_DESCRIPTOR })
}
