//! Records to Loki.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::record::hex;
use super::{Record, Severity, Sink};
use crate::identity::Container;
use crate::ship::logs;
use crate::ship::loki::Line;

/// How long records wait to be sent together.
const INTERVAL: Duration = Duration::from_secs(1);

/// A name and a value.
type Pair = (Cow<'static, str>, String);

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
    let mut labels = vec![("service_name".into(), record.service_name.to_string())];
    let mut metadata: Vec<Pair> =
        metadata.into_iter().filter_map(|(name, value)| Some((name.into(), value?))).collect();
    if let Some(container) = &record.container {
        of_container(container, &mut labels, &mut metadata);
    }
    Line {
        time_ns: record.time_unix_ns,
        labels,
        metadata,
        body: record.body.clone(),
        severity: severity.map(Severity::number),
    }
}

/// Labels as Grafana's views of Kubernetes expect them. What is another one for each pod is structured metadata.
fn of_container(container: &Container, labels: &mut Vec<Pair>, metadata: &mut Vec<Pair>) {
    let workload = &container.workload;
    let (namespace, name) = (&*workload.namespace, &*workload.container);
    let job =
        if namespace.is_empty() || name.is_empty() { String::new() } else { format!("{namespace}/{name}") };
    let told = [
        ("namespace", namespace.to_owned()),
        ("container", name.to_owned()),
        ("job", job),
        ("service_namespace", workload.service_namespace.to_string()),
    ];
    labels.extend(told.into_iter().filter(|(_, text)| !text.is_empty()).map(owned));
    let owner = workload.owner.as_ref().map(|(kind, name)| (kind.label(), name.to_string()));
    let told = [
        ("pod", container.pod.to_string()),
        ("service_instance_id", container.instance_id.to_string()),
        ("k8s_pod_uid", container.pod_uid.map(|uid| uid.to_string()).unwrap_or_default()),
        ("container_id", container.id.to_string()),
    ];
    metadata.extend(told.into_iter().chain(owner).filter(|(_, text)| !text.is_empty()).map(owned));
}

fn owned((name, text): (&'static str, String)) -> Pair {
    (name.into(), text)
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
            container: None,
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
        assert_eq!(line(&all).labels, vec![owned(("service_name", "shop".to_owned()))]);
    }
}
