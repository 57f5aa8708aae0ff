//! What the sensor says of what it knows of the cluster.

use super::{Family, counter, gauge, level};

/// What is known.
pub static KUBERNETES_KNOWN: Family = gauge(
    "sensor_kubernetes_known",
    "1",
    "Pods of this node (also those deleted in the last 30 s), their containers, and addresses in the cluster that are \
     known.",
    &["kind"],
);
/// What found no room.
pub static KUBERNETES_LEFT_OUT: Family = counter(
    "sensor_kubernetes_left_out_total",
    "Pods and addresses that were not taken up, because there was no room for more.",
    &[],
);
/// Whether a watch is well.
pub static KUBERNETES_WATCH_UP: Family = level(
    "sensor_kubernetes_watch_up",
    "1",
    "1 while what is known of a resource is whole and followed, 0 while the API server does not answer as it should.",
    &["resource"],
);
/// Why watches failed.
pub static KUBERNETES_WATCH_FAILURES: Family = counter(
    "sensor_kubernetes_watch_failures_total",
    "Failures of watches, by cause; after each the sensor waits and asks again. `gone` is ordinary after a long silence.",
    &["resource", "cause"],
);
/// Events that came before their container was known.
pub static IDENTITY_WAITED: Family = counter(
    "sensor_identity_waited_total",
    "Exchanges and log records that came before their container was known, by outcome: `known` in time, `unknown` 5 s after its first sight, \
     and `full` where too many waited already; the last two were told with what was known.",
    &["event", "outcome"],
);
