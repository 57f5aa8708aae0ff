//! What the sensor says of its capture, of what it holds, and of itself.

use super::{Family, Kind, counter, gauge, level};

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
    "Spans without a parent, by cause. Of calls that name none themselves: more than one request could be it (`ambiguous`); \
     the process serves requests, but the thread received none of them (`other_thread`); the process serves none, so a \
     trace begins (`no_request`); more threads serve than are told apart (`too_many_threads`). Of all: too many requests \
     were open (`too_many_requests`).",
    &["cause"],
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
