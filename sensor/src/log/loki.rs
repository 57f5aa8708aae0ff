//! Records to Loki.

use std::time::{Duration, Instant};

use super::record::hex;
use super::{Record, Severity, Sink};
use crate::ship::logs;
use crate::ship::loki::Line;

/// How long records wait to be sent together.
const INTERVAL: Duration = Duration::from_secs(1);

/// Sends records, where a receiver of logs is named.
pub struct Loki {
    sink: logs::Sink,
    flushed: Instant,
}

impl Loki {
    /// By this way.
    #[must_use]
    pub fn new(sink: logs::Sink) -> Self {
        Self { sink, flushed: Instant::now() }
    }
}

impl Sink for Loki {
    fn take(&mut self, records: &[Record]) {
        self.sink.take(records.iter().map(line));
    }

    fn turn(&mut self) {
        if self.flushed.elapsed() >= INTERVAL {
            self.flushed = Instant::now();
            self.sink.second();
        }
    }

    /// What is lost on the way is counted there (`sensor_ship_lost_total`).
    fn dropped(&self) -> u64 {
        0
    }

    /// A receiver can be named later.
    fn is_closed(&self) -> bool {
        false
    }

    fn finish(mut self: Box<Self>) {
        self.sink.second();
    }
}

/// The service is a label. All else would make too many streams, and is structured metadata, named as Loki names what
/// comes by OTLP. The fields of JSON and logfmt are in the text.
fn line(record: &Record) -> Line {
    let severity = record.severity;
    let metadata = [
        ("trace_id", record.trace_id.as_ref().map(|id| hex(id))),
        ("span_id", record.span_id.as_ref().map(|id| hex(id))),
        ("severity_text", severity.map(|severity| severity.name().to_owned())),
        ("severity_number", severity.map(Severity::number).map(|number| number.to_string())),
        ("log_iostream", Some(record.iostream.name().to_owned())),
        ("process_pid", Some(record.pid.to_string())),
        ("thread_id", Some(record.tid.to_string())),
        ("log_cut", record.is_cut.then(|| "true".to_owned())),
    ];
    Line {
        time_ns: record.time_unix_ns,
        labels: vec![("service_name".to_owned(), record.service_name.to_string())],
        metadata: metadata.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect(),
        body: record.body.clone(),
        severity: severity.map(Severity::number),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Map;

    use super::*;
    use crate::log::Iostream;

    #[test]
    fn only_what_is_known_is_told() {
        let record = Record {
            time_unix_ns: 7,
            observed_time_unix_ns: 9,
            severity: None,
            body: "hello".to_owned(),
            attributes: Map::new(),
            trace_id: None,
            span_id: None,
            iostream: Iostream::Stderr,
            is_cut: false,
            service_name: Arc::from("shop"),
            pid: 4,
            tid: 5,
        };
        let names = |record: &Record| -> Vec<String> {
            line(record).metadata.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
        };
        assert_eq!(names(&record), ["log_iostream=stderr", "process_pid=4", "thread_id=5"]);
        let all = Record {
            severity: Some(Severity::WARN),
            trace_id: Some([1; 16]),
            span_id: Some([2; 8]),
            is_cut: true,
            ..record
        };
        let trace = format!("trace_id={}", "01".repeat(16));
        let told = names(&all);
        assert_eq!(
            told[..4],
            [&*trace, "span_id=0202020202020202", "severity_text=WARN", "severity_number=13"]
        );
        assert_eq!(told.last().unwrap(), "log_cut=true");
        assert_eq!(line(&all).labels, [("service_name".to_owned(), "shop".to_owned())]);
    }
}
