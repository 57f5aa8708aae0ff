//! What is counted of a receiver.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Counters of one receiver since the sensor started.
#[derive(Debug, Default)]
pub struct Stats {
    /// Samples, lines or spans that it took.
    pub delivered: AtomicU64,
    /// Those that it refused for good.
    pub refused: AtomicU64,
    /// Those in requests that it answered with 400: it took what was good, and how much that is is not told.
    pub refused_in_part: AtomicU64,
    /// Those that could not be made a request of.
    pub undecodable: AtomicU64,
    /// Requests.
    pub requests: AtomicU64,
    /// Attempts that are to be repeated.
    pub retries: AtomicU64,
    /// Bytes of bodies.
    pub bytes: AtomicU64,
    last: Mutex<Last>,
}

/// The last of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Last {
    /// When something was delivered, in milliseconds of the Unix epoch.
    pub success_ms: Option<u64>,
    /// What went wrong since then.
    pub error: Option<String>,
}

impl Stats {
    /// Adds to a counter.
    pub fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    /// Reads a counter.
    #[must_use]
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    /// A delivery.
    pub fn succeeded(&self) {
        *self.lock() = Last { success_ms: Some(now_ms()), error: None };
    }

    /// A failure; says whether it is another one than before, and so news for the log.
    pub fn failed(&self, error: &str) -> bool {
        let mut last = self.lock();
        let is_news = last.error.as_deref() != Some(error);
        last.error = Some(error.to_owned());
        is_news
    }

    /// The last of each kind.
    #[must_use]
    pub fn last(&self) -> Last {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`, by which exchanges are stamped.
#[must_use]
pub(super) fn monotonic_ns() -> u64 {
    let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// Milliseconds of the Unix epoch.
#[must_use]
pub fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
