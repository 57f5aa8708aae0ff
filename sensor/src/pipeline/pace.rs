//! When to look into the ring buffers again.
//!
//! A look that finds much keeps a processor for long, and whoever was running there, often the very service that is
//! observed, has to wait for it. So the busier the host, the more often is looked, each time for less: what a stalled
//! thread misses then is absorbed by the queues between it and its peers.

use std::time::Duration;

/// How long records wait when little happens.
const LONGEST: Duration = Duration::from_millis(20);
/// How long they wait when much happens; the runtime's timer knows no less.
const SHORTEST: Duration = Duration::from_millis(1);
/// Records that one look shall find: some 0.5 ms of work.
const RECORDS: u32 = 1024;

/// The time between two looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace(Duration);

impl Default for Pace {
    fn default() -> Self {
        Self(LONGEST)
    }
}

impl Pace {
    /// How long to wait after a look that found so many records, the time before having been waited.
    #[must_use]
    pub fn after(self, records: usize) -> Self {
        let records = u32::try_from(records).unwrap_or(u32::MAX).max(1);
        let fitting = self.0.saturating_mul(RECORDS) / records;
        // Slower only step by step: a pause of a few milliseconds is no end of the load.
        Self(fitting.min(self.0.saturating_mul(2)).clamp(SHORTEST, LONGEST))
    }

    /// The time to wait.
    #[must_use]
    pub const fn wait(self) -> Duration {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_host_is_looked_at_seldom() {
        assert_eq!(Pace::default().after(0), Pace::default());
        assert_eq!(Pace::default().after(RECORDS as usize / 2), Pace::default());
    }

    #[test]
    fn a_busy_host_is_looked_at_often_and_the_pace_comes_back() {
        let busy = Pace::default().after(4 * RECORDS as usize);
        assert_eq!(busy.wait(), LONGEST / 4);
        assert_eq!(busy.after(RECORDS as usize), busy);
        let mut pace = busy.after(usize::MAX);
        assert_eq!(pace.wait(), SHORTEST);
        for _ in 0..5 {
            pace = pace.after(0);
        }
        assert_eq!(pace, Pace::default());
    }
}
