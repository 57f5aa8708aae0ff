//! The current process and thread.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_current_task, generated::bpf_get_current_cgroup_id,
};
use sensor_common::{cause::Counter, record::Task};

use crate::{globals::offset, kernel};

/// Address of the current `task_struct`.
#[inline(always)]
pub(crate) fn current() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_task() }
}

/// Number of the current process's control group of version 2.
#[inline(always)]
pub(crate) fn cgroup() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_cgroup_id() }
}

/// Who the current thread is, given who the last one of this connection was. The name is the process's: threads of one
/// process are named differently.
#[inline(always)]
pub(crate) fn update_current(task: &mut Task) -> Result<(), Counter> {
    let ids = bpf_get_current_pid_tgid();
    let tgid = (ids >> 32) as u32;
    if task.tgid != tgid {
        let leader: u64 = kernel::read(current() + offset!(task_group_leader))?;
        task.comm = kernel::read(leader + offset!(task_comm))?;
        task.tgid = tgid;
    }
    task.tid = ids as u32;
    Ok(())
}

/// The `struct file` behind a descriptor of the current process; `None` when there is none.
///
/// The way that the kernel itself goes (`fdget`): `task → files → fdt → fd[n]`.
#[inline(always)]
pub(crate) fn file(descriptor: u32) -> Result<Option<u64>, Counter> {
    let files: u64 = kernel::read(current() + offset!(task_files))?;
    let table: u64 = kernel::read(files + offset!(files_fdt))?;
    let size: u32 = kernel::read(table + offset!(fdtable_max_fds))?;
    if descriptor >= size {
        return Ok(None);
    }
    let array: u64 = kernel::read(table + offset!(fdtable_fd))?;
    let file: u64 = kernel::read(array + u64::from(descriptor) * size_of::<u64>() as u64)?;
    Ok(if file == 0 { None } else { Some(file) })
}
