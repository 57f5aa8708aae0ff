//! What the sensor says of what it sends.

use super::{Family, Kind, counter, gauge, level};

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
