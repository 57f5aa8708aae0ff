//! A program that starts: the name of its executable and its arguments, read and masked once for each record of it.

use aya_ebpf::helpers::bpf_probe_read_kernel_str_bytes;
use sensor_common::{
    cause::Counter,
    log::Opened,
    mask::State,
    record::{ARGUMENTS_CAPACITY, EXECUTABLE_CAPACITY, Process},
};

use crate::{globals::offset, kernel, maps::STARTED_SCRATCH, mask::mask_started};

/// What the masking is told that the text's capacity is: the next power of two.
pub(crate) const TEXT_CAPACITY: usize = (EXECUTABLE_CAPACITY + ARGUMENTS_CAPACITY).next_power_of_two();
/// Bytes before the executable's name in the longest record.
const LEAD: usize = size_of::<Opened>() - EXECUTABLE_CAPACITY;

/// Where the record is put together: its name and arguments are the text that is masked.
#[repr(C)]
pub(crate) struct Started {
    /// The masking's memory.
    pub(crate) mask: State,
    /// What stands before them, at the end.
    lead: [u64; LEAD / size_of::<u64>()],
    /// Name and arguments, and more room than they need: see [`crate::maps::HeadScratch`].
    pub(crate) text: [u8; 3 * TEXT_CAPACITY],
}

const _: () = assert!(core::mem::offset_of!(Started, text) % 8 == 0);
const _: () = assert!(size_of::<Process>() <= size_of::<Opened>());
const _: () =
    assert!(core::mem::offset_of!(Process, executable) + EXECUTABLE_CAPACITY == size_of::<Process>());
const _: () = assert!(core::mem::offset_of!(Opened, executable) + EXECUTABLE_CAPACITY == size_of::<Opened>());

impl Started {
    /// Reads what the program that has just started is called and was given, without card numbers; how many bytes the
    /// arguments have.
    #[inline(always)]
    pub(crate) fn read(task: u64, binprm: u64) -> Result<(&'static mut Self, u32), Counter> {
        let slot = STARTED_SCRATCH.get_ptr_mut(0).ok_or(Counter::KernelMemory)?;
        // SAFETY: the slot is this processor's; the tracepoint does not interrupt itself, and its programs run one after
        // the other.
        let started = unsafe { &mut *slot };
        let file: u64 = kernel::read(binprm + offset!(binprm_file))?;
        let dentry: u64 = kernel::read(file + offset!(file_dentry))?;
        let name: u64 = kernel::read(dentry + offset!(dentry_name))?;
        // SAFETY: the text is longer than the name.
        let executable = unsafe { &mut *(&raw mut started.text).cast::<[u8; EXECUTABLE_CAPACITY]>() };
        *executable = [0; EXECUTABLE_CAPACITY];
        // SAFETY: the helper checks the address and ends the copy within the array.
        unsafe { bpf_probe_read_kernel_str_bytes(name as *const u8, executable) }
            .map_err(|_| Counter::KernelMemory)?;
        let mm: u64 = kernel::read(task + offset!(task_mm))?;
        let start: u64 = kernel::read(mm + offset!(mm_arg_start))?;
        let end: u64 = kernel::read(mm + offset!(mm_arg_end))?;
        let length = bounded(end.saturating_sub(start));
        // The new program's arguments were written by the kernel a moment ago, so they are in memory.
        // SAFETY: behind the name is room for twice the bound.
        let read =
            unsafe { kernel::copy_user(started.text.as_mut_ptr().add(EXECUTABLE_CAPACITY), length, start) };
        let arguments = if read { length } else { 0 };
        mask_started(0, EXECUTABLE_CAPACITY as u32 + arguments, 0);
        Ok((started, arguments))
    }

    /// Where a record is that ends with the executable's name and has the arguments behind it.
    #[inline(always)]
    pub(crate) fn record<T>(&mut self) -> *mut T {
        const { assert!(size_of::<T>() <= LEAD + EXECUTABLE_CAPACITY && align_of::<T>() <= 8) };
        let lead = size_of::<T>() - EXECUTABLE_CAPACITY;
        (&raw mut *self).cast::<u8>().wrapping_add(core::mem::offset_of!(Self, text) - lead).cast()
    }
}

/// The argument bytes to carry, in a form that shows the verifier that they are below twice the capacity.
// VERIFIER: all kernels: see `buffers::bounded`.
#[inline(always)]
pub(crate) fn bounded(length: u64) -> u32 {
    let capacity = ARGUMENTS_CAPACITY as u64;
    let length = if length > capacity { capacity } else { length };
    core::hint::black_box(length as u32) & (2 * ARGUMENTS_CAPACITY as u32 - 1)
}
