//! A program starts: the pipes that it holds as standard streams are followed from its first instruction on, until
//! the daemon has decided whether they are wanted.
//!
//! ```c
//! TRACE_EVENT(sched_process_exec, TP_PROTO(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm))
//! ```

use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::raw_tracepoint, programs::RawTracePointContext};
use sensor_common::{
    cause::Counter,
    log::{LogCounter, LogKind, Opened, PipeKey},
    record::Prefix,
};

use crate::{
    count::next_connection_id,
    globals::offset,
    kernel,
    log::{PIPES, count, key_of_terminal_or_pipe, output},
    started::{Started, bounded},
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
    let (out, out_key) = follow(1)?;
    let (error, error_key) = follow(2)?;
    if out == 0 && error == 0 {
        return Ok(());
    }
    let (started, arguments) = Started::read(task, binprm)?;
    let record = started.record::<Opened>();
    // SAFETY: the slot has room for it, and its name was read.
    let opened = unsafe { &mut *record };
    opened.prefix = Prefix { kind: LogKind::Opened as u16, flags: 0, payload: arguments };
    opened.tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let parent: u64 = kernel::read(task + offset!(task_parent))?;
    opened.parent = kernel::read(parent + offset!(task_tgid))?;
    opened.cgroup = task::cgroup();
    opened.numbers = [out, error];
    opened.keys = [out_key, error_key];
    let size = size_of::<Opened>() as u32 + bounded(u64::from(arguments));
    // SAFETY: the slot holds the record and the arguments behind it.
    if !unsafe { output(record.cast_const().cast(), size) } {
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
