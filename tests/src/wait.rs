//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// `seconds`, times the environment's `SENSOR_TEST_PATIENCE` (default 1) for machines slower than most, such as
/// emulated ones.
#[must_use]
pub fn patience(seconds: u64) -> Duration {
    Duration::from_secs(seconds) * factor()
}

/// How many seconds of load a test makes: `SENSOR_TEST_SECONDS`, 60 by default.
///
/// # Panics
/// When that is no number.
#[must_use]
pub fn load_seconds() -> u64 {
    match std::env::var("SENSOR_TEST_SECONDS") {
        Ok(text) => text.parse().expect("SENSOR_TEST_SECONDS is a number of seconds"),
        Err(_) => 60,
    }
}

/// As much of `count` as a machine slower than most does in the time that others take for all.
#[must_use]
pub fn portion(count: u32) -> u32 {
    count / factor()
}

fn factor() -> u32 {
    let text = std::env::var("SENSOR_TEST_PATIENCE").ok();
    text.and_then(|text| text.parse::<u32>().ok()).unwrap_or(1).max(1)
}

/// The first value that `probe` yields within `limit`, or `None`.
pub fn wait_for<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(INTERVAL);
    }
}

/// The first value that `probe` yields within `limit`.
///
/// # Panics
/// When the limit passes; the message says what was waited for.
#[track_caller]
pub fn wait_until<T>(what: &str, limit: Duration, probe: impl FnMut() -> Option<T>) -> T {
    match wait_for(limit, probe) {
        Some(value) => value,
        None => panic!("waited {limit:?} in vain for {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_returned_at_once() {
        assert_eq!(wait_until("a number", Duration::ZERO, || Some(3)), 3);
    }

    #[test]
    #[should_panic(expected = "in vain for rain")]
    fn what_never_comes_is_named() {
        wait_until("rain", Duration::ZERO, || None::<()>);
    }
}
