//! The sensor's metrics about itself.

use sensor_common::cause::Counter;

use super::Sinks;
use crate::{
    capture::{Capability, Capture, Fill},
    mask::{Masker, gate_hits},
    metric::{Shared, family},
    protocol::{Event, RouteLimiter, Tracker},
    trace::{Joiner, LeftOut},
};

const KERNEL_LAYER: &str = "kernel";
const FULL_LAYER: &str = "full";
const CARD_RULE: &str = "card";
const EVENT_RING: &str = "events";

/// What is counted on the way.
#[derive(Debug, Default)]
pub struct Own {
    heads: u64,
    tls: u64,
    frames: u64,
    closes: u64,
    processes: u64,
    fill: f64,
    lost: u64,
    updates: u32,
}

impl Own {
    /// Everything lost so far, all causes.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Head(_) => self.heads += 1,
            Event::Frames(_) => self.frames += 1,
            Event::Close(_) => self.closes += 1,
            Event::Progress(_) => {}
        }
    }

    pub(super) fn tls(&mut self) {
        self.tls += 1;
    }

    pub(super) fn process(&mut self) {
        self.processes += 1;
    }

    /// What one turn found in the ring buffer.
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
    pub(super) fn drained(&mut self, bytes: u64, capacity: u32) {
        self.fill = self.fill.max(bytes as f64 / f64::from(capacity)).min(1.0);
    }

    /// The same for what was masked in the daemon.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus values are 64-bit floats")]
    pub(super) fn masked(masker: &Masker, registry: &Shared) {
        let mut registry = registry.lock();
        let own = registry.own();
        own.set(&family::MASK_LAYER, &[KERNEL_LAYER], 1.0);
        own.set(&family::MASK_GATE_HITS, &[], gate_hits() as f64);
        for (rule, count) in masker.counts().all() {
            own.set(&family::MASKED, &[rule, FULL_LAYER], count as f64);
        }
    }

    /// Brings the registry up to date.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus values are 64-bit floats")]
    pub(super) fn update(
        &mut self,
        capture: &Capture,
        tracker: &Tracker,
        joiner: &Joiner,
        routes: &RouteLimiter,
        sinks: &Sinks,
        registry: &Shared,
    ) {
        let kernel = match capture.counters() {
            Ok(counters) => counters,
            Err(error) => {
                tracing::warn!("the kernel side's counters are not up to date: {error}");
                return;
            }
        };
        let missed: Vec<(&str, u64)> = capture.missed().collect();
        let lost: Vec<(&str, u64)> = Counter::ALL
            .into_iter()
            .zip(kernel)
            .filter(|(counter, _)| counter.is_loss())
            .map(|(counter, count)| (counter.name(), count))
            .chain(tracker.counts().iter().map(|(loss, count)| (loss.name(), count)))
            .chain([
                ("program_missed", missed.iter().map(|(_, count)| count).sum()),
                ("rejected_record", capture.rejected()),
                ("output", sinks.dropped()),
            ])
            .collect();
        self.lost = lost.iter().map(|(_, count)| count).sum();
        let fills = self.updates.is_multiple_of(Fill::EVERY).then(|| capture.fills().collect::<Vec<_>>());
        self.updates = self.updates.wrapping_add(1);

        let mut registry = registry.lock();
        let own = registry.own();
        for (cause, count) in lost {
            own.set(&family::LOST, &[cause], count as f64);
        }
        for (program, count) in missed {
            own.set(&family::PROGRAM_MISSED, &[program], count as f64);
        }
        for (kind, count) in [
            ("head", self.heads),
            ("frames", self.frames),
            ("tls", self.tls),
            ("close", self.closes),
            ("process", self.processes),
            ("length_only", kernel[Counter::LengthOnly as usize]),
        ] {
            own.set(&family::EVENTS, &[kind], count as f64);
        }
        for (capability, there) in Capability::answered() {
            own.set(&family::CAPABILITY, &[capability.name()], f64::from(u8::from(there)));
        }
        if let Some(probed) = capture.probed() {
            own.set(&family::PROBED_FILES, &[], probed.files() as f64);
            for (cause, count) in probed.misses() {
                own.set(&family::PROBE_MISSES, &[cause], count as f64);
            }
        }
        own.set(&family::KERNEL_OPERATIONS, &[], kernel[Counter::Operations as usize] as f64);
        own.set(&family::OPEN_CONNECTIONS, &[], tracker.open_connections() as f64);
        for cause in LeftOut::ALL {
            own.set(&family::PARENTS_LEFT_OUT, &[cause.name()], joiner.left_out(cause) as f64);
        }
        own.set(&family::ROUTES_FOLDED, &[], routes.folded() as f64);
        own.set(&family::RING_FILL, &[EVENT_RING], self.fill);
        own.set(&family::RING_BYTES, &[EVENT_RING], f64::from(capture.ring_bytes()));
        for (map, fill) in fills.into_iter().flatten() {
            own.set(&family::MAP_ENTRIES, &[map], fill.used as f64);
            own.set(&family::MAP_CAPACITY, &[map], fill.capacity as f64);
        }
        own.set(&family::MASKED, &[CARD_RULE, KERNEL_LAYER], kernel[Counter::CardsMasked as usize] as f64);
        self.fill = 0.0;
    }
}
