//! The written list of all metric families.

mod flow;
mod kubernetes;

pub use flow::*;
pub use kubernetes::*;

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

const SERVER_LABELS: &[&str] = &[
    "service_name",
    "http_request_method",
    "http_response_status_code",
    "http_route",
    "server_port",
    "error_type",
];
const CLIENT_LABELS: &[&str] = &[
    "service_name",
    "http_request_method",
    "http_response_status_code",
    "http_route",
    "server_address",
    "server_port",
    "error_type",
];

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

/// The families of exchanges in which the local process is the server, in the order of
/// [`HttpValues`](super::http::HttpValues).
pub static HTTP_SERVER: [&Family; 4] = [
    &duration(
        "http_server_request_duration_seconds",
        "From the first byte of the request received to the last byte of the response sent.",
        SERVER_LABELS,
    ),
    &duration(
        "http_server_time_to_first_byte_seconds",
        "From the first byte of the request received to the first byte of the response sent.",
        SERVER_LABELS,
    ),
    &size(
        "http_server_request_body_size_bytes",
        "Body of the request as transferred, without the head.",
        SERVER_LABELS,
    ),
    &size(
        "http_server_response_body_size_bytes",
        "Body of the response as transferred, without the head.",
        SERVER_LABELS,
    ),
];

/// The families of exchanges in which the local process is the client, in the same order.
pub static HTTP_CLIENT: [&Family; 4] = [
    &duration(
        "http_client_request_duration_seconds",
        "From the first byte of the request sent to the last byte of the response received.",
        CLIENT_LABELS,
    ),
    &duration(
        "http_client_time_to_first_byte_seconds",
        "From the first byte of the request sent to the first byte of the response received.",
        CLIENT_LABELS,
    ),
    &size(
        "http_client_request_body_size_bytes",
        "Body of the request as transferred, without the head.",
        CLIENT_LABELS,
    ),
    &size(
        "http_client_response_body_size_bytes",
        "Body of the response as transferred, without the head.",
        CLIENT_LABELS,
    ),
];

const SPAN_LABELS: &[&str] = &["job", "service", "span_name", "span_kind", "status_code"];

/// The families of spans, in the order of [`SpanValues`](super::spans::SpanValues).
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

const RPC_SERVER_LABELS: &[&str] = &[
    "service_name",
    "rpc_system_name",
    "rpc_method",
    "rpc_response_status_code",
    "server_port",
    "error_type",
];
const RPC_CLIENT_LABELS: &[&str] = &[
    "service_name",
    "rpc_system_name",
    "rpc_method",
    "rpc_response_status_code",
    "server_address",
    "server_port",
    "error_type",
];

/// The families of gRPC calls in which the local process is the server, in the order of
/// [`RpcValues`](super::rpc::RpcValues).
pub static RPC_SERVER: [&Family; 2] = [
    &duration(
        "rpc_server_call_duration_seconds",
        "gRPC: from the first byte of the call received to its trailers sent.",
        RPC_SERVER_LABELS,
    ),
    &duration(
        "rpc_server_call_time_to_first_message_seconds",
        "gRPC: from the first byte of the call received to the first message of the response sent.",
        RPC_SERVER_LABELS,
    ),
];

/// The families of gRPC calls in which the local process is the client, in the same order.
pub static RPC_CLIENT: [&Family; 2] = [
    &duration(
        "rpc_client_call_duration_seconds",
        "gRPC: from the first byte of the call sent to its trailers received.",
        RPC_CLIENT_LABELS,
    ),
    &duration(
        "rpc_client_call_time_to_first_message_seconds",
        "gRPC: from the first byte of the call sent to the first message of the response received.",
        RPC_CLIENT_LABELS,
    ),
];

/// Events that the daemon took from the kernel side.
pub static EVENTS: Family =
    counter("sensor_events_total", "Records taken from the ring buffers, by kind.", &["kind"]);
/// Operations that the kernel side looked at.
pub static KERNEL_OPERATIONS: Family = counter(
    "sensor_kernel_operations_total",
    "Socket operations of targets that moved bytes, as the kernel side counted them.",
    &[],
);
/// Everything that was dropped or not understood.
pub static LOST: Family =
    counter("sensor_lost_total", "What was dropped or not understood, by cause.", &["cause"]);
/// What the kernel did not show.
pub static PROGRAM_MISSED: Family = counter(
    "sensor_program_missed_total",
    "How often the kernel did not run a program because the processor was in it already; their sum is the cause \
     `program_missed` of `sensor_lost_total`. Kernels before 5.12 do not tell.",
    &["program"],
);
/// Exchanges that were recorded.
pub static EXCHANGES: Family =
    counter("sensor_exchanges_total", "Exchanges recorded, by the local process's role.", &["role"]);
/// Fill of the kernel maps.
pub static MAP_ENTRIES: Family = gauge("sensor_map_entries", "1", "Entries in a kernel map.", &["map"]);
/// Size of the kernel maps.
pub static MAP_CAPACITY: Family =
    gauge("sensor_map_capacity", "1", "Entries for which a kernel map has room.", &["map"]);
/// Fill of the ring buffers.
pub static RING_FILL: Family = level(
    "sensor_ring_fill_ratio",
    "1",
    "Share of a ring buffer that was waiting to be read when it was last looked at, 0 to 1.",
    &["ring"],
);
/// Size of the ring buffers.
pub static RING_BYTES: Family = gauge("sensor_ring_bytes", "By", "Size of a ring buffer.", &["ring"]);
/// Connections that the daemon remembers: those on which something waits, and settled ones up to a bound.
pub static OPEN_CONNECTIONS: Family = gauge(
    "sensor_open_connections",
    "1",
    "Connections that the daemon remembers: those on which something waits, and settled ones up to a bound.",
    &[],
);
/// Series held.
pub static SERIES: Family = gauge(
    "sensor_series",
    "1",
    "Label sets held for a metric; each is one series, or one a bucket and two more for a histogram.",
    &["metric"],
);
/// Recordings that found no room.
pub static SERIES_FOLDED: Family = counter(
    "sensor_series_folded_total",
    "Recordings that went to the series whose labels are all `other`, because `metric.max_series` or \
     `metric.max_active_series` was reached.",
    &["metric"],
);
/// Exchanges whose route found no room.
pub static ROUTES_FOLDED: Family = counter(
    "sensor_routes_folded_total",
    "Exchanges whose route became `*`, because the service had `http.max_routes` of them.",
    &[],
);
/// Spans without the parent that they may have.
pub static PARENTS_LEFT_OUT: Family = counter(
    "sensor_parents_left_out_total",
    "Spans whose parent was left out, by cause: more than one request could be it, or too many were open.",
    &["cause"],
);
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
/// The version that runs.
pub static BUILD_INFO: Family =
    level("sensor_build_info", "1", "Always 1; the labels say which build runs.", &["version"]);
/// How the sensor runs here.
pub static INFO: Family = level(
    "sensor_info",
    "1",
    "Always 1; the labels say by which route the kernel is observed, and which kernel it is.",
    &["route", "kernel"],
);
/// What the kernel has of what was asked of it.
pub static CAPABILITY: Family = level(
    "sensor_capability",
    "1",
    "1 where the kernel has something that a feature needs, 0 where it has not and the feature is off; of all that \
     was asked for. `sensor check` tells the reasons.",
    &["name"],
);
/// Files whose OpenSSL functions are probed.
pub static PROBED_FILES: Family = gauge(
    "sensor_tls_probed_files",
    "1",
    "Libraries and programs whose OpenSSL functions are probed, because a process uses them.",
    &[],
);
/// What of that went wrong.
pub static PROBE_MISSES: Family = counter(
    "sensor_tls_probe_misses_total",
    "Files with OpenSSL's functions that were not probed: the kernel refused (`attach`), or 256 were already (`limit`); and times \
     that reports of programs that start found no room (`reports_lost`), after which all processes are looked at.",
    &["cause"],
);
/// Processor time of the daemon.
pub static PROCESS_CPU: Family = Family {
    name: "process_cpu_seconds_total",
    kind: Kind::Counter,
    unit: "s",
    help: "Processor time that the daemon has used, in user and kernel mode.",
    labels: &[],
};
/// Memory of the daemon.
pub static PROCESS_MEMORY: Family =
    gauge("process_resident_memory_bytes", "By", "Resident memory of the daemon.", &[]);
/// Start of the daemon.
pub static PROCESS_START: Family =
    level("process_start_time_seconds", "s", "When the daemon started, in seconds of the Unix epoch.", &[]);

/// Lines of logs that were lost.
pub static LOG_LINES_LOST: Family = counter(
    "sensor_log_lines_lost_total",
    "Lines of followed standard streams that were not told, by cause: no room in the ring buffer, a part of the line \
     lost, not taken by the output.",
    &["cause"],
);
/// Bytes of logs.
pub static LOG_BYTES: Family = counter(
    "sensor_log_bytes_total",
    "Bytes of followed standard streams: all that was written, and of it what found no room in the ring buffer, what \
     was cut off long writes; and what was moved there from no user memory.",
    &["fate"],
);
/// Records of logs.
pub static LOG_RECORDS: Family = counter(
    "sensor_log_records_total",
    "Log records told, by where their trace is from: the line itself, the request that the writing thread served, none \
     because it is unclear which of several requests that was, or none because it served none.",
    &["trace"],
);
/// Records of logs that were left out.
pub static LOG_FILTERED: Family =
    counter("sensor_log_filtered_total", "Log records left out, by the filter that did it.", &["filter"]);
/// Streams that are followed.
pub static LOG_STREAMS: Family =
    gauge("sensor_log_streams", "1", "Pipes and terminals that are followed as standard streams.", &[]);

/// Items that receivers took.
pub static SHIP_DELIVERED: Family = counter(
    "sensor_ship_delivered_total",
    "Samples, lines or spans that a receiver took.",
    &["signal", "receiver"],
);
/// Items that did not arrive.
pub static SHIP_LOST: Family = counter(
    "sensor_ship_lost_total",
    "Samples, lines or spans that will not arrive, by cause; without a receiver where they were lost for all of them.",
    &["signal", "receiver", "cause"],
);
/// Items in the spool.
pub static SHIP_ACCEPTED: Family =
    counter("sensor_ship_accepted_total", "Samples, lines or spans written to the spool.", &["signal"]);
/// Requests that were sent.
pub static SHIP_REQUESTS: Family =
    counter("sensor_ship_requests_total", "Requests to a receiver.", &["signal", "receiver"]);
/// Requests that are to be repeated.
pub static SHIP_RETRIES: Family = counter(
    "sensor_ship_retries_total",
    "Requests that failed and are to be repeated.",
    &["signal", "receiver"],
);
/// Bytes that were sent.
pub static SHIP_BYTES: Family = Family {
    name: "sensor_ship_sent_bytes_total",
    kind: Kind::Counter,
    unit: "By",
    help: "Bodies of requests to a receiver, compressed.",
    labels: &["signal", "receiver"],
};
/// Batches in the spool.
pub static SHIP_WAITING: Family = gauge(
    "sensor_ship_waiting_batches",
    "1",
    "Batches in the spool that a receiver has not taken.",
    &["signal", "receiver"],
);
/// Size of the spool.
pub static SHIP_SPOOL_BYTES: Family =
    gauge("sensor_ship_spool_bytes", "By", "Size of a signal's spool on the disk.", &["signal"]);
/// Writes that a crash cut off.
pub static SHIP_TORN: Family = counter(
    "sensor_ship_spool_torn_total",
    "Segments of the spool that ended in a write that was cut off; it was never accepted.",
    &["signal"],
);
/// Requests that were not sampled.
pub static SHIP_UNSAMPLED: Family = counter(
    "sensor_ship_unsampled_total",
    "Exchanges of which no span is sent, because their trace is not in the sample.",
    &[],
);
/// Spans that wait.
pub static SHIP_TAIL_WAITING: Family = gauge(
    "sensor_ship_tail_waiting_spans",
    "1",
    "Spans that are not in the sample and wait for the rest of their trace, by `ship.traces.tail_wait`.",
    &[],
);
/// Lines that were too long.
pub static SHIP_CUT: Family = counter(
    "sensor_ship_cut_lines_total",
    "Lines that were cut, because the receiver takes none over 256 KiB.",
    &[],
);
/// Bytes of a day.
pub static SHIP_DAY_BYTES: Family = gauge(
    "sensor_ship_day_bytes",
    "By",
    "Bytes of logs or traces taken on this day (UTC), before compression: what is billed.",
    &["signal"],
);
/// Bytes that a day has.
pub static SHIP_DAY_LIMIT: Family = gauge(
    "sensor_ship_day_limit_bytes",
    "By",
    "Bytes that may be taken on a day; 0 is no limit.",
    &["signal"],
);
/// How far the day's bytes are used up.
pub static SHIP_DAY_STAGE: Family = level(
    "sensor_ship_day_stage",
    "1",
    "How little is taken as the day's bytes run out: 0 all, 1 from 80 %, 2 from 90 %, 3 errors alone, 4 nothing.",
    &["signal"],
);
/// What a month costs.
pub static SHIP_MONTH_BYTES: Family = gauge(
    "sensor_ship_month_bytes",
    "By",
    "Bytes of logs or traces a month, if all its days were like this one; there after a minute of the day.",
    &["signal"],
);
/// Series that are sent.
pub static SHIP_ACTIVE_SERIES: Family = gauge(
    "sensor_ship_active_series",
    "1",
    "Series in the last collection of the metrics: what a receiver bills as active.",
    &[],
);
/// Label sets that a limit of their metric's own folded.
pub static SHIP_SERIES_FOLDED: Family = counter(
    "sensor_ship_series_folded_total",
    "Label sets that are sent as the series whose labels are all `other`, because the metric was at its limit in \
     `ship.metrics.limits`.",
    &["metric"],
);

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
