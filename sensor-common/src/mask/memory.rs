//! What the kernel's verifier must not know, and what the compiler must not change for its sake. On the host these are
//! nothing.

/// The member as it is in memory.
// VERIFIER: all kernels: kept in a register, what one byte taught about it would multiply the states of the next.
#[inline(always)]
pub(super) fn fresh(member: &u32) -> u32 {
    if cfg!(target_arch = "bpf") {
        // SAFETY: a reference can be read.
        unsafe { core::ptr::read_volatile(member) }
    } else {
        *member
    }
}

/// `value`, by way of the state's memory.
// VERIFIER: all kernels: what comes from a map is unknown, so that ways that led to different values meet again.
#[inline(always)]
pub(super) fn by_memory(member: &mut u32, value: u32) -> u32 {
    if cfg!(target_arch = "bpf") {
        // SAFETY: a reference can be written and read.
        unsafe {
            core::ptr::write_volatile(member, value);
            core::ptr::read_volatile(member)
        }
    } else {
        value
    }
}

/// The end of a loop that the compiler shall leave one.
// VERIFIER: all kernels: the stacks of a chain of calls may take 512 bytes together, and unrolled loops spill. What is
// in a read-only map is known.
#[inline(always)]
#[must_use]
pub fn rolled(end: u32) -> u32 {
    static NOTHING: u32 = 0;
    if cfg!(target_arch = "bpf") {
        // SAFETY: the static is initialised.
        end + unsafe { core::ptr::read_volatile(&raw const NOTHING) }
    } else {
        end
    }
}
