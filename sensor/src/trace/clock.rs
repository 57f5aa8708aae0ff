//! From the monotonic clock to the time of day.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// How many readings are taken; the one with the least time between its two ends counts.
const READINGS: usize = 3;

/// How far `CLOCK_REALTIME` is ahead of `CLOCK_MONOTONIC`.
///
/// The distance changes when the time of day is set, so sample it again now and then. Times converted with one
/// sample keep their distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    ahead_ns: i64,
}

impl WallClock {
    /// Compares the two clocks.
    #[must_use]
    pub fn sample() -> Self {
        let readings = (0..READINGS).map(|_| {
            let before = nanoseconds(clock_gettime(ClockId::Monotonic));
            let wall = nanoseconds(clock_gettime(ClockId::Realtime));
            let after = nanoseconds(clock_gettime(ClockId::Monotonic));
            let took = after.saturating_sub(before);
            (took, wall.saturating_sub(before.saturating_add(took / 2)))
        });
        Self { ahead_ns: readings.min().map_or(0, |(_, ahead_ns)| ahead_ns) }
    }

    /// A known distance in nanoseconds.
    #[must_use]
    pub const fn new(ahead_ns: i64) -> Self {
        Self { ahead_ns }
    }

    /// The nanoseconds of the Unix epoch at a time in nanoseconds of `CLOCK_MONOTONIC`.
    #[must_use]
    pub const fn unix_ns(self, monotonic_ns: u64) -> u64 {
        monotonic_ns.saturating_add_signed(self.ahead_ns)
    }
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn now_is_now_on_both_clocks() {
        let clock = WallClock::sample();
        let monotonic = u64::try_from(nanoseconds(clock_gettime(ClockId::Monotonic))).unwrap();
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        let distance = wall.abs_diff(u128::from(clock.unix_ns(monotonic)));
        assert!(distance < 1_000_000_000, "{distance} ns");
    }

    #[test]
    fn distances_are_kept() {
        let clock = WallClock::new(1_700_000_000_000_000_000);
        assert_eq!(clock.unix_ns(7), 1_700_000_000_000_000_007);
        assert_eq!(WallClock::new(-5).unix_ns(3), 0);
    }
}
