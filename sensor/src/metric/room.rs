//! Room for the series of a node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Series that all groups of a registry may hold together. Its copies share it; they are used under the registry's lock.
#[derive(Clone, Debug)]
pub struct Room(Arc<Inner>, bool);

#[derive(Debug)]
struct Inner {
    limit: u64,
    used: AtomicU64,
}

impl Room {
    /// For so many series.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Inner { limit, used: AtomicU64::new(0) }), false)
    }

    /// For series whose histograms are native ones, each of which is one series.
    #[must_use]
    pub fn native(self, is_native: bool) -> Self {
        Self(self.0, is_native)
    }

    /// Whether histograms are native ones.
    #[must_use]
    pub const fn is_native(&self) -> bool {
        self.1
    }

    /// Takes room, if there is as much.
    #[must_use]
    pub fn take(&self, series: u64) -> bool {
        let fits = self.used().saturating_add(series) <= self.0.limit;
        if fits {
            self.0.used.fetch_add(series, Ordering::Relaxed);
        }
        fits
    }

    /// Takes room for the series of what finds none, of which there are as many as groups.
    pub fn take_for_other(&self, series: u64) {
        self.0.used.fetch_add(series, Ordering::Relaxed);
    }

    /// Gives back what was taken.
    pub fn give_back(&self, series: u64) {
        self.0.used.fetch_sub(series, Ordering::Relaxed);
    }

    /// Series that take room now.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }
}

impl Default for Room {
    /// Without a limit.
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}
