//! Reading kernel and user memory, with a cause when it fails.

use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_probe_read_user};
use sensor_common::cause::Counter;

/// The value at a kernel address.
#[inline(always)]
pub(crate) fn read<T>(address: u64) -> Result<T, Counter> {
    // SAFETY: the helper checks the address and fails instead of faulting.
    unsafe { bpf_probe_read_kernel(address as *const T) }.map_err(|_| Counter::KernelMemory)
}

/// The value at a user address of the current process.
#[inline(always)]
pub(crate) fn read_user<T>(address: u64) -> Result<T, Counter> {
    // SAFETY: as above.
    unsafe { bpf_probe_read_user(address as *const T) }.map_err(|_| Counter::UserMemory)
}

/// Copies `length` bytes from a user address; `false` when they could not be read.
///
/// # Safety
/// `to` has room for `length` bytes that the verifier can prove.
#[inline(always)]
pub(crate) unsafe fn copy_user(to: *mut u8, length: u32, from: u64) -> bool {
    // SAFETY: the caller vouches for `to`; the helper checks `from`.
    unsafe { aya_ebpf::helpers::generated::bpf_probe_read_user(to.cast(), length, from as *const _) == 0 }
}
