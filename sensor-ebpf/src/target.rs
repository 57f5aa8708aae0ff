//! Whether the current process is one whose traffic is wanted. Tested before anything else.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;

use sensor_common::target::{ALL, ENTRIES_A_VALUE, NOT_ENTERED, ONLY};

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
fn is(tgid: u32) -> bool {
    if tgid == globals::sensor_tgid() {
        return false;
    }
    let mode = globals::target_mode();
    mode == ALL || (entry(tgid) != NOT_ENTERED) == (mode == ONLY)
}

/// The entry of a process.
#[inline(always)]
pub(crate) fn entry(tgid: u32) -> u8 {
    // SAFETY: the map returned a live value, and the byte is within it.
    place(tgid).map_or(NOT_ENTERED, |place| unsafe { place.read_volatile() })
}

/// Gives a process an entry, or takes it.
#[inline(always)]
pub(crate) fn enter(tgid: u32, entry: u8) {
    if let Some(place) = place(tgid) {
        // SAFETY: as above.
        unsafe { place.write_volatile(entry) };
    }
}

#[inline(always)]
fn place(tgid: u32) -> Option<*mut u8> {
    let value = TARGETS.get_ptr_mut(tgid / ENTRIES_A_VALUE)?;
    // SAFETY: a value has so many bytes.
    Some(unsafe { value.cast::<u8>().add((tgid % ENTRIES_A_VALUE) as usize) })
}
