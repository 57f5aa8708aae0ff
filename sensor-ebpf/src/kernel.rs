//! Reading kernel and user memory, with a cause when it fails.

use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_probe_read_user};
use sensor_common::cause::Counter;

/// The value at a kernel address.
#[inline(always)]
pub(crate) fn read<T>(address: u64) -> Result<T, Counter> {
    // SAFETY: the helper checks the address and fails instead of faulting.
    unsafe { bpf_probe_read_kernel(address as *const T) }.map_err(|_| Counter::KernelMemory)
}

/// The value at an address that the verifier knows to be within an argument of a traced function: a plain load, a tenth of
/// a helper's call. It yields 0 instead of faulting.
// VERIFIER: all kernels: of one scalar member, at offsets that are constant when the program is loaded.
#[inline(always)]
pub(crate) fn load<T>(address: u64) -> T {
    // SAFETY: the kernel checks the load.
    unsafe { core::ptr::read_volatile(address as *const T) }
}

/// How members of kernel structures are read.
pub(crate) trait Reads {
    /// A scalar member; never a structure or an array.
    fn member<T>(address: u64) -> Result<T, Counter>;
}

/// By [`read`].
pub(crate) struct Probed;
/// By [`load`]: addresses are such as the verifier vouches for.
pub(crate) struct Vouched;

impl Reads for Probed {
    #[inline(always)]
    fn member<T>(address: u64) -> Result<T, Counter> {
        read(address)
    }
}

impl Reads for Vouched {
    #[inline(always)]
    fn member<T>(address: u64) -> Result<T, Counter> {
        Ok(load(address))
    }
}

/// The value at a user address of the current process.
#[inline(always)]
pub(crate) fn read_user<T>(address: u64) -> Result<T, Counter> {
    // SAFETY: as above.
    unsafe { bpf_probe_read_user(address as *const T) }.map_err(|_| Counter::UserMemory)
}

/// Where something is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    User,
    Kernel,
}

impl Memory {
    #[inline(always)]
    pub(crate) fn read<T>(self, address: u64) -> Result<T, Counter> {
        match self {
            Self::User => read_user(address),
            Self::Kernel => read(address),
        }
    }
}

/// Copies `length` bytes from a kernel address.
///
/// # Safety
/// `to` has room for `length` bytes that the verifier can prove.
#[inline(always)]
pub(crate) unsafe fn copy(to: *mut u8, length: u32, from: u64) -> Result<(), Counter> {
    // SAFETY: the caller vouches for `to`; the helper checks `from`.
    let result =
        unsafe { aya_ebpf::helpers::generated::bpf_probe_read_kernel(to.cast(), length, from as *const _) };
    if result == 0 { Ok(()) } else { Err(Counter::KernelMemory) }
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
