//! The written list of all metric families.

mod flow;
mod http;
mod kubernetes;
mod logs;
mod mask;
mod own;
mod rpc;
mod ship;
mod spans;

pub use flow::*;
pub use http::*;
pub use kubernetes::*;
pub use logs::*;
pub use mask::*;
pub use own::*;
pub use rpc::*;
pub use ship::*;
pub use spans::*;

use super::histogram::{Buckets, DURATION, SIZE};

/// What is said once about all series of a name.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// The name in Prometheus form: unit last, `_total` after it on counters.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// The unit, as UCUM writes it.
    pub unit: &'static str,
    /// One line.
    pub help: &'static str,
    /// The labels that a series can have.
    pub labels: &'static [&'static str],
}

impl Family {
    /// Series of one label set, whose histograms are native ones or classic.
    #[must_use]
    pub const fn series(&self, is_native: bool) -> u64 {
        match self.kind {
            Kind::Histogram(buckets) if !is_native => buckets.bounds.len() as u64 + 3,
            Kind::Counter | Kind::Gauge | Kind::Level | Kind::Histogram(_) => 1,
        }
    }
}

/// What the values of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number that only grows.
    Counter,
    /// A quantity that goes up and down.
    Gauge,
    /// A number that goes up and down and is no quantity, so that a sum of several means nothing: a state, a share, a time.
    Level,
    /// Observations in these buckets.
    Histogram(&'static Buckets),
}

impl Kind {
    /// The word in a `# TYPE` line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge | Self::Level => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

const fn duration(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Family {
    Family { name, kind: Kind::Histogram(&DURATION), unit: "s", help, labels }
}

const fn size(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Family {
    Family { name, kind: Kind::Histogram(&SIZE), unit: "By", help, labels }
}

const fn counter(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Family {
    Family { name, kind: Kind::Counter, unit: "1", help, labels }
}

const fn gauge(
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
) -> Family {
    Family { name, kind: Kind::Gauge, unit, help, labels }
}

const fn level(
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
) -> Family {
    Family { kind: Kind::Level, ..gauge(name, unit, help, labels) }
}

/// What the sensor says of itself.
pub static OWN: &[&Family] = &[
    &KUBERNETES_KNOWN,
    &KUBERNETES_LEFT_OUT,
    &KUBERNETES_WATCH_UP,
    &KUBERNETES_WATCH_FAILURES,
    &IDENTITY_WAITED,
    &EVENTS,
    &KERNEL_OPERATIONS,
    &LOST,
    &PROGRAM_MISSED,
    &EXCHANGES,
    &MAP_ENTRIES,
    &MAP_CAPACITY,
    &RING_FILL,
    &RING_BYTES,
    &LOG_LINES_LOST,
    &LOG_BYTES,
    &LOG_RECORDS,
    &LOG_FILTERED,
    &LOG_STREAMS,
    &OPEN_CONNECTIONS,
    &SERIES,
    &SERIES_FOLDED,
    &ROUTES_FOLDED,
    &PARENTS_LEFT_OUT,
    &MASKED,
    &MASK_LAYER,
    &MASK_GATE_HITS,
    &BUILD_INFO,
    &INFO,
    &RESETS_WITHOUT_CONNECTION,
    &FLOW_INTERVAL_CPU,
    &FLOW_SOCKETS,
    &DNS_NAMES_FOLDED,
    &TLS_NAMES_FOLDED,
    &CAPABILITY,
    &PROBED_FILES,
    &PROBE_MISSES,
    &PROCESS_CPU,
    &PROCESS_MEMORY,
    &PROCESS_START,
    &SHIP_DELIVERED,
    &SHIP_LOST,
    &SHIP_ACCEPTED,
    &SHIP_REQUESTS,
    &SHIP_RETRIES,
    &SHIP_BYTES,
    &SHIP_WAITING,
    &SHIP_SPOOL_BYTES,
    &SHIP_TORN,
    &SHIP_UNSAMPLED,
    &SHIP_TAIL_WAITING,
    &SHIP_CUT,
    &SHIP_ACTIVE_SERIES,
    &SHIP_SERIES_FOLDED,
    &SHIP_DAY_BYTES,
    &SHIP_DAY_LIMIT,
    &SHIP_DAY_STAGE,
    &SHIP_MONTH_BYTES,
];

/// Every family.
pub fn all() -> impl Iterator<Item = &'static Family> {
    HTTP_SERVER
        .iter()
        .chain(&HTTP_CLIENT)
        .chain(&RPC_SERVER)
        .chain(&RPC_CLIENT)
        .chain(&RPC_SERVER_OLD[..1])
        .chain(&RPC_CLIENT_OLD[..1])
        .chain(connections())
        .chain(&GRAPH)
        .chain(&SPANS)
        .chain(&TARGETS)
        .chain(OWN)
        .copied()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        let mut names = HashSet::new();
        for family in all() {
            let name = family.name;
            assert!(names.insert(name), "{name} is there twice");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(matches!(family.kind, Kind::Counter), name.ends_with("_total"), "{name}");
            let base = name.trim_end_matches("_total");
            // Its readers know this one by a name without the unit.
            let is_given = name == "traces_spanmetrics_latency";
            assert!(family.unit != "s" || base.ends_with("_seconds") || is_given, "{name}");
            assert!(family.unit != "By" || base.ends_with("_bytes"), "{name}");
            assert!(!family.help.contains('\n'), "{name}");
        }
    }
}
