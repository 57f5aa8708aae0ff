//! Processes that appear, so that one that lives for milliseconds still has its name.
//!
//! ```c
//! TRACE_EVENT(sched_process_exec, TP_PROTO(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm))
//! TRACE_EVENT(sched_process_fork, TP_PROTO(struct task_struct *parent, struct task_struct *child))
//! TRACE_EVENT(sched_process_exit, TP_PROTO(struct task_struct *p, ...))
//! ```

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel_str_bytes},
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use sensor_common::{
    cause::Counter,
    record::{ARGUMENTS_CAPACITY, EXECUTABLE_CAPACITY, FOLLOWED, Kind, Prefix, Process},
};

use crate::{
    count::{count, fail},
    emit,
    globals::{self, offset},
    kernel,
    maps::{EXEC_SCRATCH, TARGETS},
    target,
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
fn sched_process_exit(_ctx: RawTracePointContext) -> u32 {
    let ids = bpf_get_current_pid_tgid();
    if globals::selected_only() && ids as u32 == (ids >> 32) as u32 {
        let _ = TARGETS.remove((ids >> 32) as u32);
    }
    0
}

#[inline(always)]
fn try_exec(task: u64, binprm: u64) -> Result<(), Counter> {
    let slot = EXEC_SCRATCH.get_ptr_mut(0).ok_or(Counter::RingFullOther)?;
    // SAFETY: the slot is this processor's; the tracepoint does not interrupt itself.
    let scratch = unsafe { &mut *slot };
    let mm: u64 = kernel::read(task + offset!(task_mm))?;
    let start: u64 = kernel::read(mm + offset!(mm_arg_start))?;
    let end: u64 = kernel::read(mm + offset!(mm_arg_end))?;
    let length = bounded(end.saturating_sub(start));
    // The new program's arguments were written by the kernel a moment ago, so they are in memory.
    // SAFETY: the array has room for twice the bound.
    let read = unsafe { kernel::copy_user(scratch.arguments.as_mut_ptr(), length, start) };
    let payload = if read { length } else { 0 };
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    if globals::selected_only() {
        // It is another program now; the daemon decides by its name.
        let _ = TARGETS.remove(tgid);
    }
    let process = &mut scratch.process;
    process.prefix = Prefix { kind: Kind::Exec as u16, flags: 0, payload };
    process.tgid = tgid;
    process.parent = 0;
    let file: u64 = kernel::read(binprm + offset!(binprm_file))?;
    let dentry: u64 = kernel::read(file + offset!(file_dentry))?;
    let name: u64 = kernel::read(dentry + offset!(dentry_name))?;
    process.executable = [0; EXECUTABLE_CAPACITY];
    // SAFETY: the helper checks the address and ends the copy within the array.
    unsafe { bpf_probe_read_kernel_str_bytes(name as *const u8, &mut process.executable) }
        .map_err(|_| Counter::KernelMemory)?;
    let size = size_of::<Process>() as u32 + bounded(u64::from(payload));
    // SAFETY: the slot holds the record and the arguments behind it.
    let written = unsafe { emit::output(core::ptr::from_ref(scratch).cast(), size) };
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
    if globals::selected_only() && target::is(parent_tgid) {
        match TARGETS.insert(tgid, 1, 0) {
            Ok(()) => flags = FOLLOWED,
            Err(_) => count(Counter::TargetsFull),
        }
    }
    let record = Process {
        prefix: Prefix { kind: Kind::Fork as u16, flags, payload: 0 },
        tgid,
        parent: parent_tgid,
        executable: [0; EXECUTABLE_CAPACITY],
    };
    // SAFETY: the record is on the stack and whole.
    let written = unsafe { emit::output(core::ptr::from_ref(&record).cast(), size_of::<Process>() as u32) };
    if written { Ok(()) } else { Err(Counter::RingFullOther) }
}

/// The argument bytes to carry, in a form that shows the verifier that they are below twice the capacity.
// VERIFIER: all kernels: see `buffers::bounded`.
#[inline(always)]
fn bounded(length: u64) -> u32 {
    let capacity = ARGUMENTS_CAPACITY as u64;
    let length = if length > capacity { capacity } else { length };
    core::hint::black_box(length as u32) & (2 * ARGUMENTS_CAPACITY as u32 - 1)
}
