//! Which processes are targets: what the map `TARGETS` and the global `TARGET_MODE` mean.
//!
//! The map has a byte a process id, 0 for those that are not entered: a look-up is an index, nothing is ever full, and whoever
//! writes a byte leaves its neighbours alone. The kernel side and the daemon both write.

/// Process ids are below this (`PID_MAX_LIMIT` of `include/linux/threads.h` on 64-bit machines).
pub const PROCESSES: u32 = 1 << 22;
/// Entries in one value of the map.
pub const ENTRIES_A_VALUE: u32 = u64::BITS / u8::BITS;

/// All processes are targets; the map is not looked at.
pub const ALL: u32 = 0;
/// Only the processes in the map are.
pub const ONLY: u32 = 1;
/// All but the processes in the map are.
pub const ALL_BUT: u32 = 2;

/// Of a process that is not entered.
pub const NOT_ENTERED: u8 = 0;
/// Of one that loses its entry when it replaces its program: it was chosen by the name of that.
pub const BY_PROGRAM: u8 = 1;
/// Of one that keeps it: it was chosen by its container.
pub const BY_CONTAINER: u8 = 2;
