//! Counters by cause: what was seen, and why something was not.

use aya_ebpf::EbpfContext;
use aya_log_ebpf::debug;
use sensor_common::cause::Counter;

use crate::maps::COUNTERS;

/// Counts why a hook could not do its work, and says so when debug messages are asked for (the daemon sets their
/// level before loading; at level 0 the verifier drops the code).
#[inline(always)]
pub(crate) fn fail(ctx: &impl EbpfContext, cause: Counter) {
    count(cause);
    debug!(ctx, "cause {}", cause as u32);
}

/// Adds one to `counter` on this processor.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(slot) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the map returned a live slot of this processor.
        unsafe { *slot += 1 };
    }
}

/// A number no other connection has: this processor's number in the high 16 bits, a count in the low 48.
#[inline(always)]
pub(crate) fn next_connection_id() -> u64 {
    // SAFETY: the helper has no preconditions.
    let cpu = u64::from(unsafe { aya_ebpf::helpers::bpf_get_smp_processor_id() });
    let Some(slot) = COUNTERS.get_ptr_mut(Counter::LEN) else { return 0 };
    // SAFETY: the map returned a live slot of this processor.
    let number = unsafe {
        *slot += 1;
        *slot
    };
    cpu << 48 | number
}
