//! Whether the current process is one whose traffic is wanted. Tested before anything else.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;

use sensor_common::target::{ALL, ONLY};

use crate::{globals, maps::TARGETS};

/// Whether the current process is a target. The sensor itself never is.
#[inline(always)]
pub(crate) fn is_current() -> bool {
    is((bpf_get_current_pid_tgid() >> 32) as u32)
}

/// Whether the current process is the sensor itself.
#[inline(always)]
pub(crate) fn is_sensor() -> bool {
    (bpf_get_current_pid_tgid() >> 32) as u32 == globals::sensor_tgid()
}

/// Whether a process is a target.
#[inline(always)]
pub(crate) fn is(tgid: u32) -> bool {
    if tgid == globals::sensor_tgid() {
        return false;
    }
    let mode = globals::target_mode();
    // SAFETY: only the presence of the key is used, never the value behind the pointer.
    mode == ALL || unsafe { TARGETS.get(tgid) }.is_some() == (mode == ONLY)
}
