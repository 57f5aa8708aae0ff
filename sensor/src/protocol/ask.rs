//! When to ask the kernel how far a connection has come.

use std::time::Duration;

/// The wait before the first question.
const FIRST: Duration = Duration::from_millis(50);
/// The longest wait between two.
const LONGEST: Duration = Duration::from_secs(5);
/// So often the wait is doubled.
const DOUBLINGS: u32 = 7;

/// Questions about one connection: 50 ms after it began to wait, then after twice as long each time, up to 5 s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ask {
    since_ns: u64,
    doublings: u32,
}

impl Ask {
    /// Begins anew: something else is waited for.
    pub(super) fn restart(&mut self, now_ns: u64) {
        *self = Self { since_ns: now_ns, doublings: 0 };
    }

    /// The question was put.
    pub(super) fn asked(&mut self, now_ns: u64) {
        *self = Self { since_ns: now_ns, doublings: (self.doublings + 1).min(DOUBLINGS) };
    }

    /// The answer calls for another question soon.
    pub(super) fn again_soon(&mut self) {
        self.doublings = 0;
    }

    /// When to put the next question.
    pub(super) fn at_ns(&self) -> u64 {
        let wait = (FIRST * (1 << self.doublings)).min(LONGEST);
        self.since_ns.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_five_seconds() {
        let mut ask = Ask::default();
        ask.restart(0);
        let mut waits = Vec::new();
        let mut now = 0;
        for _ in 0..10 {
            waits.push((ask.at_ns() - now) / 1_000_000);
            now = ask.at_ns();
            ask.asked(now);
        }
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
    }
}
