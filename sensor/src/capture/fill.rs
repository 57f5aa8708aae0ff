//! How full the kernel's maps are.

use std::borrow::Borrow;

use aya::{
    Pod,
    maps::{HashMap, MapData},
};

/// How full something is.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    /// Entries or bytes in use.
    pub used: u64,
    /// The most there can be.
    pub capacity: u64,
}

impl Fill {
    /// How often a map's entries are counted, in updates of the metrics: it takes a system call an entry.
    pub const EVERY: u32 = 5;

    /// Of a map that may hold `capacity` entries. Counts them one by one.
    pub(super) fn of<K: Pod, V: Pod>(map: &HashMap<impl Borrow<MapData>, K, V>, capacity: u32) -> Self {
        Self { used: map.keys().filter_map(Result::ok).count() as u64, capacity: u64::from(capacity) }
    }
}
