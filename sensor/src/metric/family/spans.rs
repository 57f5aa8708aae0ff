//! Families of span metrics.

use super::{Family, counter, duration, level};

const SPAN_LABELS: &[&str] = &["job", "service", "span_name", "span_kind", "status_code"];

/// The families of spans, in the order of [`SpanValues`](crate::metric::spans::SpanValues).
pub static SPANS: [&Family; 2] = [
    &counter("traces_spanmetrics_calls_total", "Exchanges by the name of their span.", SPAN_LABELS),
    &duration("traces_spanmetrics_latency", "How long they took, in seconds.", SPAN_LABELS),
];
/// The services that spans are of.
pub static TARGETS: [&Family; 1] = [&level(
    "target_info",
    "1",
    "Always 1; the labels say of which services there are spans.",
    TARGET_LABELS,
)];
const TARGET_LABELS: &[&str] = &["job", "service_name"];
