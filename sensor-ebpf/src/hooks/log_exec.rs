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
    let [out, error] = [1, 2].map(|descriptor| {
        follow(descriptor).unwrap_or_else(|cause| {
            fail(cause);
            Stream::NONE
        })
    });
    if out.number == 0 && error.number == 0 {
        return Ok(());
    }
    let told = tell(task, binprm, [&out, &error]);
    if !matches!(told, Ok(true)) {
        // The daemon does not know of them, so nobody would ever give them up.
        count(LogCounter::StartLost, 1);
        out.give_up();
        error.give_up();
    }
    told.map(drop)
}

/// Writes the record; whether there was room for it.
#[inline(always)]
fn tell(task: u64, binprm: u64, [out, error]: [&Stream; 2]) -> Result<bool, Counter> {
    let (started, arguments) = Started::read(task, binprm)?;
    let record = started.record::<Opened>();
    // SAFETY: the slot has room for it, and its name was read.
    let opened = unsafe { &mut *record };
    opened.prefix = Prefix { kind: LogKind::Opened as u16, flags: 0, payload: arguments };
    opened.tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let parent: u64 = kernel::read(task + offset!(task_parent))?;
    opened.parent = kernel::read(parent + offset!(task_tgid))?;
    opened.cgroup = task::cgroup();
    opened.numbers = [out.number, error.number];
    opened.keys = [out.key, error.key];
    let size = size_of::<Opened>() as u32 + bounded(u64::from(arguments));
    // SAFETY: the slot holds the record and the arguments behind it.
    Ok(unsafe { output(record.cast_const().cast(), size) })
}

/// The file at a descriptor, if it is a pipe or a terminal.
struct Stream {
    /// 0 when it is none.
    number: u64,
    key: PipeKey,
    /// Whether it is followed since now.
    is_new: bool,
}

impl Stream {
    const NONE: Self = Self { number: 0, key: NO_PIPE, is_new: false };

    #[inline(always)]
    fn give_up(&self) {
        if self.is_new {
            let _ = PIPES.remove(self.key);
        }
    }
}

/// The pipe at a descriptor, which is followed from now on.
#[inline(always)]
fn follow(descriptor: u32) -> Result<Stream, Counter> {
    let Some(file) = task::file(descriptor)? else { return Ok(Stream::NONE) };
    let Some(key) = key_of_terminal_or_pipe(file)? else { return Ok(Stream::NONE) };
    // SAFETY: the value is copied out at once.
    if let Some(number) = unsafe { PIPES.get(key) } {
        return Ok(Stream { number: *number, key, is_new: false });
    }
    let number = next_connection_id();
    if PIPES.insert(key, number, 0).is_err() {
        count(LogCounter::PipesFull, 1);
        return Ok(Stream::NONE);
    }
    Ok(Stream { number, key, is_new: true })
}
