//! A sensor that is killed again and again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often: `SENSOR_TEST_KILLS`, 3 by default.
///
/// # Panics
/// When that is no number.
#[must_use]
pub fn kills() -> u32 {
    std::env::var("SENSOR_TEST_KILLS").map_or(3, |text| text.parse().expect("a number"))
}

/// Waits for any moment of a second, so that a kill hits whatever happens then.
///
/// # Panics
/// When the clock is before the Unix epoch.
pub fn any_moment() {
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").subsec_nanos();
    std::thread::sleep(Duration::from_nanos(u64::from(nanoseconds)));
}
