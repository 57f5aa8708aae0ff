//! What the sensor says of masking.

use super::{Family, counter, level};

/// What was masked.
pub static MASKED: Family = counter(
    "sensor_masked_total",
    "What was masked, by rule and by layer: `kernel` masks card numbers before a byte reaches the daemon, `full` applies \
     all rules in the daemon.",
    &["rule", "layer"],
);
/// Where masking begins.
pub static MASK_LAYER: Family = level(
    "sensor_mask_layer",
    "1",
    "Always 1; the label says where card numbers are masked first: `kernel` is before they reach the ring buffer.",
    &["layer"],
);
/// What only the last gate found.
pub static MASK_GATE_HITS: Family = counter(
    "sensor_mask_gate_hits_total",
    "Card numbers that only the last gate before sending found and masked. More than 0 is an alarm.",
    &[],
);
