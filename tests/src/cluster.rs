//! A sensor that asks an API server, and what it tells.

use std::path::Path;

use crate::metrics::Metrics;
use crate::receiver::Lines;
use crate::sensor::{Options, Sensor};
use crate::wait::{patience, wait_for};

/// Requests that servers answered.
pub const REQUESTS: &str = "http_server_request_duration_seconds_count";
/// Requests that clients made.
pub const CLIENT_REQUESTS: &str = "http_client_request_duration_seconds_count";
/// What waited for its pod to be known.
pub const WAITED: &str = "sensor_identity_waited_total";
/// The labels of the pods of [`crate::pods::Pod::new`].
pub const SHOP: [(&str, &str); 5] = [
    ("service_name", "shop"),
    ("service_namespace", "pay"),
    ("k8s_namespace_name", "pay"),
    ("k8s_deployment_name", "shop"),
    ("k8s_container_name", "app"),
];

/// A sensor with these settings, which prints spans.
#[must_use]
pub fn sensor(settings: &str) -> Sensor {
    Options::default().yaml(settings).spans().start()
}

/// Settings that send log records there, with the spool in this directory.
#[must_use]
pub fn to_loki(receiver: &Lines, spool: &Path) -> String {
    format!(
        "ship:\n  cluster: test\n  spool: {{directory: {}}}\n  receivers:\n  - {{name: loki, protocol: loki, url: '{}'}}\n",
        spool.display(),
        receiver.url()
    )
}

/// Waits until the metrics are so.
///
/// # Panics
/// When they are not in time, with what they were last.
#[track_caller]
pub fn wait_for_metrics(sensor: &Sensor, what: &str, is_so: impl Fn(&Metrics) -> bool) {
    wait_so_long_for_metrics(30, sensor, what, is_so);
}

/// The same, with a patience in seconds.
///
/// # Panics
/// See there.
#[track_caller]
pub fn wait_so_long_for_metrics(seconds: u64, sensor: &Sensor, what: &str, is_so: impl Fn(&Metrics) -> bool) {
    let mut last = Metrics::default();
    let found = wait_for(patience(seconds), || {
        last = sensor.metrics();
        is_so(&last).then_some(())
    });
    if found.is_none() {
        let lines: Vec<String> = last
            .samples
            .iter()
            .filter(|sample| {
                [REQUESTS, CLIENT_REQUESTS].contains(&&*sample.name)
                    || sample.name.starts_with("sensor_kubernetes")
                    || sample.name == WAITED
            })
            .map(|sample| format!("{} {:?} {}", sample.name, sample.labels, sample.value))
            .collect();
        panic!("waited in vain for {what}; last\n{}\n{}", lines.join("\n"), sensor.stderr());
    }
}

/// Waits until everything that the API server has is known.
///
/// # Panics
/// When it is not in time.
#[track_caller]
pub fn wait_for_watches(sensor: &Sensor) {
    wait_for_metrics(sensor, "the watches", |metrics| {
        let watches = ["pods", "nodes", "services", "endpointslices"];
        watches.iter().all(|name| metrics.sum("sensor_kubernetes_watch_up", &[("resource", name)]) > 0.5)
    });
}

/// Requests that a server at a port answered, in series with these labels.
#[must_use]
pub fn on_port(metrics: &Metrics, port: u16, labels: &[(&str, &str)]) -> u64 {
    let port = port.to_string();
    let mut all = vec![("server_port", &*port)];
    all.extend(labels);
    metrics.count(REQUESTS, &all)
}
