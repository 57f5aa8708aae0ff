//! Which processes are targets: what the map `TARGETS` and the global `TARGET_MODE` mean.

/// The most entries of the map.
pub const CAPACITY: u32 = 16_384;

/// All processes are targets; the map is not looked at.
pub const ALL: u32 = 0;
/// Only the processes in the map are.
pub const ONLY: u32 = 1;
/// All but the processes in the map are.
pub const ALL_BUT: u32 = 2;

/// Value of an entry that a process loses when it replaces its program: it was chosen by the name of that.
pub const BY_PROGRAM: u32 = 1;
/// Value of an entry that a process keeps: it was chosen by its container.
pub const BY_CONTAINER: u32 = 2;
