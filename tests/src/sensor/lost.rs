//! What it says that it lost.

use super::{SETTLE, Sensor};
use crate::calls::Calls;
use crate::metrics::Metrics;
use crate::wait::{patience, wait_until};

impl Sensor {
    /// Everything lost until now, by cause; causes at 0 are left out.
    ///
    /// The sensor brings these figures up to date from time to time: they are those of now when a later event is in
    /// them.
    #[track_caller]
    #[must_use]
    pub fn lost(&self) -> Calls {
        self.barrier();
        let events = |metrics: &Metrics| metrics.count("sensor_events_total", &[]);
        let before = events(&self.metrics());
        self.barrier();
        wait_until("the sensor's own figures", patience(SETTLE), || {
            let metrics = self.metrics();
            (events(&metrics) > before).then(|| lost(&metrics))
        })
    }
}

/// Everything that a scrape says was lost, by cause; causes at 0 are left out.
#[must_use]
pub fn lost(metrics: &Metrics) -> Calls {
    let mut lost = Calls::new();
    for sample in metrics.select("sensor_lost_total", &[]).filter(|sample| sample.value != 0.0) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter")]
        let count = sample.value as u64;
        *lost.entry(sample.label("cause").to_owned()).or_default() += count;
    }
    lost
}
