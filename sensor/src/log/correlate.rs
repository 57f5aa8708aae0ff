//! The trace of a record: that of the request which its thread served when it wrote it.
//!
//! Which request that was, [`Joiner`] knows, and it says nothing where it is not certain. It learns of requests from
//! another ring buffer than the one that records come from: so a record waits until all that was captured before it has
//! been told.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Told;
use crate::trace::Joiner;

/// How long records wait for what was captured before them; the pipeline looks every 20 ms.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often it is looked for.
const INTERVAL: Duration = Duration::from_millis(1);

/// The requests of this host's servers, shared by the pipeline, which tells of them, and the reader of logs.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    joiner: Arc<Mutex<Joiner>>,
    /// All that was captured before this time (nanoseconds of `CLOCK_MONOTONIC`) has been told.
    told_ns: Arc<AtomicU64>,
}

impl Requests {
    /// Who knows them.
    pub fn joiner(&self) -> MutexGuard<'_, Joiner> {
        self.joiner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that was captured before `now_ns` has been told.
    pub fn told(&self, now_ns: u64) {
        self.told_ns.store(now_ns, Ordering::Release);
    }

    /// Gives each record the trace and span of the request in whose course it was written, where that is certain; how
    /// many got one.
    pub fn correlate(&self, told: &mut [Told]) -> u64 {
        let Some(newest) = told.iter().filter_map(|told| told.during).map(|(_, last)| last).max() else {
            return 0;
        };
        let deadline = Instant::now() + PATIENCE;
        while self.told_ns.load(Ordering::Acquire) <= newest && Instant::now() < deadline {
            std::thread::sleep(INTERVAL);
        }
        let all_told_ns = self.told_ns.load(Ordering::Acquire);
        let mut joiner = self.joiner();
        let mut count = 0;
        for Told { record, during } in told {
            let Some((first, last)) = during.filter(|(_, last)| *last < all_told_ns) else { continue };
            let Some(context) = joiner.serving(record.pid, record.tid, first) else { continue };
            if last == first || joiner.serving(record.pid, record.tid, last) == Some(context) {
                record.trace_id = Some(context.trace_id);
                record.span_id = Some(context.span_id);
                count += 1;
            }
        }
        count
    }
}
