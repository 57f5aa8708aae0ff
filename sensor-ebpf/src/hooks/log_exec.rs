//! A program starts: the pipes that it holds as standard streams are followed from its first instruction on, until
//! the daemon has decided whether they are wanted.
//!
//! ```c
//! TRACE_EVENT(sched_process_exec, TP_PROTO(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm))
//! ```

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel_str_bytes},
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use sensor_common::{
    cause::Counter,
    log::{LogCounter, LogKind, Opened, PipeKey},
    record::{ARGUMENTS_CAPACITY, EXECUTABLE_CAPACITY, Prefix},
};

use crate::{
    count::next_connection_id,
    globals::offset,
    kernel,
    log::{OPENED_SCRATCH, PIPES, count, key_of_terminal_or_pipe, output},
    task,
};

const NO_PIPE: PipeKey = PipeKey { inode: 0, device: 0, padding: 0 };

#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn log_exec(ctx: RawTracePointContext) -> u32 {
    let _ = try_exec(ctx.arg(0), ctx.arg(2)).map_err(fail);
    0
}

/// Counts why a hook could not do its work.
#[inline(always)]
pub(super) fn fail(cause: Counter) {
    let user = cause as u32 == Counter::UserMemory as u32;
    count(if user { LogCounter::UserMemory } else { LogCounter::KernelMemory }, 1);
}

#[inline(always)]
fn try_exec(task: u64, binprm: u64) -> Result<(), Counter> {
    let slot = OPENED_SCRATCH.get_ptr_mut(0).ok_or(Counter::KernelMemory)?;
    // SAFETY: the slot is this processor's; the tracepoint does not interrupt itself.
    let scratch = unsafe { &mut *slot };
    let (out, out_key) = follow(1)?;
    let (error, error_key) = follow(2)?;
    if out == 0 && error == 0 {
        return Ok(());
    }
    let mm: u64 = kernel::read(task + offset!(task_mm))?;
    let start: u64 = kernel::read(mm + offset!(mm_arg_start))?;
    let end: u64 = kernel::read(mm + offset!(mm_arg_end))?;
    let length = bounded(end.saturating_sub(start));
    // SAFETY: the array has room for twice the bound.
    let read = unsafe { kernel::copy_user(scratch.arguments.as_mut_ptr(), length, start) };
    let payload = if read { length } else { 0 };
    let opened = &mut scratch.opened;
    opened.prefix = Prefix { kind: LogKind::Opened as u16, flags: 0, payload };
    opened.tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let parent: u64 = kernel::read(task + offset!(task_parent))?;
    opened.parent = kernel::read(parent + offset!(task_tgid))?;
    opened.numbers = [out, error];
    opened.keys = [out_key, error_key];
    let file: u64 = kernel::read(binprm + offset!(binprm_file))?;
    let dentry: u64 = kernel::read(file + offset!(file_dentry))?;
    let name: u64 = kernel::read(dentry + offset!(dentry_name))?;
    opened.executable = [0; EXECUTABLE_CAPACITY];
    // SAFETY: the helper checks the address and ends the copy within the array.
    unsafe { bpf_probe_read_kernel_str_bytes(name as *const u8, &mut opened.executable) }
        .map_err(|_| Counter::KernelMemory)?;
    let size = size_of::<Opened>() as u32 + bounded(u64::from(payload));
    // SAFETY: the slot holds the record and the arguments behind it.
    if !unsafe { output(core::ptr::from_ref(scratch).cast(), size) } {
        count(LogCounter::RingFull, 1);
    }
    Ok(())
}

/// The number and key of the pipe at a descriptor, which is followed from now on; zeros when there is another file.
#[inline(always)]
fn follow(descriptor: u32) -> Result<(u64, PipeKey), Counter> {
    let Some(file) = task::file(descriptor)? else { return Ok((0, NO_PIPE)) };
    let Some(key) = key_of_terminal_or_pipe(file)? else { return Ok((0, NO_PIPE)) };
    // SAFETY: the value is copied out at once.
    if let Some(number) = unsafe { PIPES.get(key) } {
        return Ok((*number, key));
    }
    let number = next_connection_id();
    if PIPES.insert(key, number, 0).is_err() {
        count(LogCounter::PipesFull, 1);
        return Ok((0, NO_PIPE));
    }
    Ok((number, key))
}

/// The argument bytes to carry, in a form that shows the verifier that they are below twice the capacity.
// VERIFIER: all kernels: see `buffers::bounded`.
#[inline(always)]
fn bounded(length: u64) -> u32 {
    let capacity = ARGUMENTS_CAPACITY as u64;
    let length = if length > capacity { capacity } else { length };
    core::hint::black_box(length as u32) & (2 * ARGUMENTS_CAPACITY as u32 - 1)
}
