//! What the sensor says of the standard streams that it follows.

use super::{Family, counter, gauge};

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
