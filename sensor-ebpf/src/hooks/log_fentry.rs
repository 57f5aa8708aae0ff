//! Writes to standard streams at the functions themselves.
//!
//! ```c
//! static ssize_t pipe_write(struct kiocb *iocb, struct iov_iter *from);  // newer: anon_pipe_write
//! static ssize_t tty_write(struct kiocb *iocb, struct iov_iter *from);
//!     // before 5.12: (struct file *file, const char __user *buf, size_t count, loff_t *ppos)
//! long __x64_sys_splice(const struct pt_regs *regs);  // on arm64: __arm64_sys_splice
//! ```
//!
//! What is moved into a pipe without a write passes no function that has both the pipe's file and the length, so it is
//! counted at the functions of the calls.

use aya_ebpf::{macros::fexit, programs::FExitContext};
use sensor_common::{cause::Counter, log::NO_DESCRIPTOR};

use super::log::written_to;
use crate::{
    buffers::Buffers,
    globals::offset,
    kernel::{self, Probed, Vouched},
    log::{Write, capture, number, spliced},
    registers, target, task,
};

/// The programs' own slots of the scratch map: a program is not run within itself, but one may be preempted by another.
/// Of the two for terminals, one is loaded.
const PIPE: u32 = 0;
const TERMINAL: u32 = 1;

#[fexit(function = "pipe_write")]
fn log_pipe_write(ctx: FExitContext) -> i32 {
    run(ctx.arg(2), || try_write(PIPE, ctx.arg(0), ctx.arg(1), ctx.arg(2)))
}

#[fexit(function = "tty_write")]
fn log_tty_write_2(ctx: FExitContext) -> i32 {
    run(ctx.arg(2), || try_write(TERMINAL, ctx.arg(0), ctx.arg(1), ctx.arg(2)))
}

#[fexit(function = "tty_write")]
fn log_tty_write_4(ctx: FExitContext) -> i32 {
    run(ctx.arg(4), || try_write_from(TERMINAL, ctx.arg(0), Buffers::range(ctx.arg(1)), ctx.arg(4)))
}

/// Defines the return of calls that move bytes from no user memory.
macro_rules! moved {
    ($($name:ident, $function:literal;)*) => {$(
        #[fexit(function = $function)]
        fn $name(ctx: FExitContext) -> i32 {
            run(ctx.arg(1), || try_move(ctx.arg(0), ctx.arg(1)))
        }
    )*};
}

moved! {
    log_splice, "__x64_sys_splice";
    log_sendfile, "__x64_sys_sendfile64";
    log_tee, "__x64_sys_tee";
    log_vmsplice, "__x64_sys_vmsplice";
}

#[inline(always)]
fn run(returned: i64, work: impl FnOnce() -> Result<(), Counter>) -> i32 {
    if returned > 0 && !target::is_sensor() {
        let _ = work().map_err(super::log_exec::fail);
    }
    0
}

#[inline(always)]
fn try_write(slot: u32, request: u64, from: u64, returned: i64) -> Result<(), Counter> {
    let file: u64 = kernel::load(request + offset!(kiocb_file));
    let Some(pipe) = number::<Vouched>(file)? else { return Ok(()) };
    let length = returned as u32;
    let buffers = Buffers::consumed(from, length)?;
    if !buffers.are_known() {
        // Pages of the kernel's own, or registered buffers.
        spliced(pipe, length);
        return Ok(());
    }
    capture(slot, &Write { pipe, length, buffers, descriptor: NO_DESCRIPTOR })
}

#[inline(always)]
fn try_write_from(slot: u32, file: u64, buffers: Buffers, returned: i64) -> Result<(), Counter> {
    let Some(pipe) = number::<Vouched>(file)? else { return Ok(()) };
    capture(slot, &Write { pipe, length: returned as u32, buffers, descriptor: NO_DESCRIPTOR })
}

#[inline(always)]
fn try_move(registers: u64, returned: i64) -> Result<(), Counter> {
    let Some(call) = registers::call(registers)? else { return Ok(()) };
    let Some(file) = task::file(written_to(&call) as u32)? else { return Ok(()) };
    if let Some(pipe) = number::<Probed>(file)? {
        spliced(pipe, returned as u32);
    }
    Ok(())
}
