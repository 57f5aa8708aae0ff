//! Processes that appear, so that one that lives for milliseconds still has its name.
//!
//! ```c
//! TRACE_EVENT(sched_process_exec, TP_PROTO(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm))
//! TRACE_EVENT(sched_process_fork, TP_PROTO(struct task_struct *parent, struct task_struct *child))
//! TRACE_EVENT(sched_process_exit, TP_PROTO(struct task_struct *p, ...))
//! ```

use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::raw_tracepoint, programs::RawTracePointContext};
use sensor_common::{
    cause::Counter,
    record::{EXECUTABLE_CAPACITY, FOLLOWED, Kind, Prefix, Process},
    target::{ALL, BY_PROGRAM, NOT_ENTERED},
};

use crate::{
    count::fail,
    emit,
    globals::{self, offset},
    kernel, plaintext,
    started::{Started, bounded},
    target, task,
};

#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn sched_process_exec(ctx: RawTracePointContext) -> u32 {
    if let Err(cause) = try_exec(ctx.arg(0), ctx.arg(2)) {
        fail(&ctx, cause);
    }
    0
}

#[raw_tracepoint(tracepoint = "sched_process_fork")]
fn sched_process_fork(ctx: RawTracePointContext) -> u32 {
    if let Err(cause) = try_fork(ctx.arg(0), ctx.arg(1)) {
        fail(&ctx, cause);
    }
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exit")]
fn sched_process_exit(ctx: RawTracePointContext) -> u32 {
    plaintext::thread_ended();
    if let Err(cause) = try_exit(ctx.arg(0)) {
        fail(&ctx, cause);
    }
    0
}

#[inline(always)]
fn try_exec(task: u64, binprm: u64) -> Result<(), Counter> {
    let (started, arguments) = Started::read(task, binprm)?;
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if globals::target_mode() != ALL && target::entry(tgid) == BY_PROGRAM {
        // It is another program now; the daemon decides by its name.
        target::enter(tgid, NOT_ENTERED);
    }
    let record = started.record::<Process>();
    // SAFETY: the slot has room for it, and its name was read.
    let process = unsafe { &mut *record };
    process.prefix = Prefix { kind: Kind::Exec as u16, flags: 0, payload: arguments };
    process.tgid = tgid;
    process.parent = 0;
    process.cgroup = task::cgroup();
    let size = size_of::<Process>() as u32 + bounded(u64::from(arguments));
    // SAFETY: the slot holds the record and the arguments behind it.
    let written = unsafe { emit::output(record.cast_const().cast(), size) };
    if written { Ok(()) } else { Err(Counter::RingFullOther) }
}

#[inline(always)]
fn try_fork(parent: u64, child: u64) -> Result<(), Counter> {
    let tgid: u32 = kernel::read(child + offset!(task_tgid))?;
    let pid: u32 = kernel::read(child + offset!(task_pid))?;
    if tgid != pid {
        return Ok(());
    }
    let parent_tgid: u32 = kernel::read(parent + offset!(task_tgid))?;
    let mut flags = 0;
    if globals::target_mode() != ALL {
        // Whatever the number stood for before is gone.
        let entry = target::entry(parent_tgid);
        target::enter(tgid, entry);
        if entry != NOT_ENTERED {
            flags = FOLLOWED;
        }
    }
    let record = Process {
        prefix: Prefix { kind: Kind::Fork as u16, flags, payload: 0 },
        tgid,
        parent: parent_tgid,
        cgroup: 0,
        executable: [0; EXECUTABLE_CAPACITY],
    };
    // SAFETY: the record is on the stack and whole.
    let written = unsafe { emit::output(core::ptr::from_ref(&record).cast(), size_of::<Process>() as u32) };
    if written { Ok(()) } else { Err(Counter::RingFullOther) }
}

/// A thread ends. Its process does when no other lives on, which need not be when the first one ends (`pthread_exit` in
/// `main`): the kernel has taken this one off `signal->live` before it tells.
#[inline(always)]
fn try_exit(task: u64) -> Result<(), Counter> {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if globals::target_mode() == ALL || target::entry(tgid) == NOT_ENTERED {
        return Ok(());
    }
    let signal: u64 = kernel::read(task + offset!(task_signal))?;
    let live: i32 = kernel::read(signal + offset!(signal_live))?;
    if live == 0 {
        target::enter(tgid, NOT_ENTERED);
    }
    Ok(())
}
