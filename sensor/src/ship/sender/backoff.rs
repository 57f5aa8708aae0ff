//! How long to wait before the next attempt.

use std::time::Duration;

use rand::Rng;

/// The bound of the first wait.
pub(super) const BASE: Duration = Duration::from_millis(500);
/// The bound of every wait.
pub(super) const CAP: Duration = Duration::from_secs(60);
/// The longest `Retry-After` that is believed.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// Exponential backoff with full jitter: a wait is anything between nothing and a bound that doubles with each
/// failure up to [`CAP`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// An attempt succeeded.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// An attempt failed; how long to wait. A receiver that names a time gets it, and the jitter on top so that a
    /// fleet does not come back at once.
    pub fn failed(&mut self, retry_after: Option<Duration>, random: &mut impl Rng) -> Duration {
        let bound = self.bound();
        self.failures = self.failures.saturating_add(1);
        let jitter = Duration::from_secs_f64(random.random_range(0.0..=bound.as_secs_f64()));
        retry_after.unwrap_or_default().min(RETRY_AFTER_MAX) + jitter
    }

    /// The bound of the next wait.
    #[must_use]
    pub fn bound(&self) -> Duration {
        BASE.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(CAP)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    proptest! {
        #[test]
        fn a_wait_is_within_its_bounds(failures in 0_u32..100, after in prop::option::of(0_u64..10_000), seed: u64) {
            let mut backoff = Backoff { failures };
            let bound = backoff.bound();
            prop_assert!(bound >= BASE && bound <= CAP);
            let after = after.map(Duration::from_secs);
            let wait = backoff.failed(after, &mut SmallRng::seed_from_u64(seed));
            let least = after.unwrap_or_default().min(RETRY_AFTER_MAX);
            prop_assert!(wait >= least && wait <= least + bound);
            prop_assert!(backoff.bound() >= bound);
        }
    }

    #[test]
    fn waits_are_spread_over_the_whole_range() {
        let mut random = SmallRng::seed_from_u64(1);
        let waits: Vec<f64> =
            (0..1_000).map(|_| Backoff { failures: 3 }.failed(None, &mut random).as_secs_f64()).collect();
        let below = |bound: f64| waits.iter().filter(|wait| **wait < bound).count();
        assert!(below(1.0) > 150 && below(2.0) > 400 && below(2.0) < 600 && below(4.0) == 1_000);
        let mut backoff = Backoff { failures: 9 };
        backoff.reset();
        assert_eq!(backoff.bound(), BASE);
    }
}
