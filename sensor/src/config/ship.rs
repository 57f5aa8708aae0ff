//! Settings of what leaves the node.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// What leaves the node, and where to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Ship {
    /// Label `cluster` of all series, and `k8s.cluster.name` of all spans; empty leaves it out.
    pub cluster: String,
    /// Label `node` of all series, and `host.name` of all spans; empty takes the host's name. It also sets the moment
    /// within `ship.metrics.interval` at which this node sends.
    pub node: String,
    /// More labels of all series.
    pub labels: BTreeMap<String, String>,
    /// Grafana Cloud, the short form.
    pub grafana_cloud: GrafanaCloud,
    /// Receivers, any number of each protocol. Each gets all of its signal.
    pub receivers: Vec<Receiver>,
    /// Where batches wait until they are delivered.
    pub spool: Spool,
    /// How metrics are sent.
    pub metrics: Metrics,
    /// How logs are sent.
    pub logs: ShipLogs,
    /// How traces are sent.
    pub traces: Traces,
}

/// Grafana Cloud, the short form.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct GrafanaCloud {
    /// Whether anything is sent there.
    pub enabled: bool,
    /// Where metrics go; empty takes `GRAFANA_CLOUD_METRICS_URL`. Without a URL a signal is not sent.
    pub metrics_url: String,
    /// The number of the metrics instance; empty takes `GRAFANA_CLOUD_METRICS_USER`.
    pub metrics_user: String,
    /// Where logs go; empty takes `GRAFANA_CLOUD_LOGS_URL`.
    pub logs_url: String,
    /// The number of the logs instance; empty takes `GRAFANA_CLOUD_LOGS_USER`.
    pub logs_user: String,
    /// The OTLP gateway, for traces; empty takes `GRAFANA_CLOUD_TRACES_URL`.
    pub traces_url: String,
    /// The number of the gateway's instance; empty takes `GRAFANA_CLOUD_TRACES_USER`.
    pub traces_user: String,
    /// The environment variable that holds the access policy's token.
    pub token_env: String,
    /// A file that holds the token, read for each request; goes before `token_env`.
    pub token_file: PathBuf,
}

impl Default for GrafanaCloud {
    fn default() -> Self {
        Self {
            enabled: false,
            metrics_url: String::new(),
            metrics_user: String::new(),
            logs_url: String::new(),
            logs_user: String::new(),
            traces_url: String::new(),
            traces_user: String::new(),
            token_env: "GRAFANA_CLOUD_TOKEN".to_owned(),
            token_file: PathBuf::new(),
        }
    }
}

/// One receiver.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Receiver {
    /// Its name in metrics, logs and the spool: lower-case letters, digits and `-`, no name twice.
    pub name: String,
    /// What it speaks, and so which signal it gets.
    pub protocol: Protocol,
    /// Where it is. Without a path it gets the protocol's own.
    pub url: String,
    /// The user of Basic authentication; empty with a password sends that as a bearer token.
    pub user: String,
    /// The environment variable that holds the password or token.
    pub password_env: String,
    /// A file that holds the password or token, read for each request; goes before `password_env`.
    pub password_file: PathBuf,
    /// More header fields of each request, such as `X-Scope-OrgID`. They are no place for credentials.
    pub headers: BTreeMap<String, String>,
    /// How long a request may take with its answer: 1s to 10m.
    #[cfg_attr(test, schemars(with = "String"))]
    #[serde(with = "super::duration")]
    pub timeout: Duration,
    /// The URL of an HTTP proxy; empty leaves it to `HTTPS_PROXY` and `NO_PROXY` of the environment.
    pub proxy: String,
    /// The DNS name that is connected to instead of the URL's, such as a private endpoint's own. The certificate is
    /// still to be of the URL's host, and the port is the URL's. Not together with `proxy`, nor through one.
    pub connect_to: String,
    /// A file of CA certificates in PEM form that are trusted instead of this host's.
    pub ca_file: PathBuf,
    /// Whether plain http to another host is allowed.
    pub insecure: bool,
}

impl Default for Receiver {
    fn default() -> Self {
        Self {
            name: String::new(),
            protocol: Protocol::RemoteWrite,
            url: String::new(),
            user: String::new(),
            password_env: String::new(),
            password_file: PathBuf::new(),
            headers: BTreeMap::new(),
            timeout: Duration::from_secs(30),
            proxy: String::new(),
            connect_to: String::new(),
            ca_file: PathBuf::new(),
            insecure: false,
        }
    }
}

/// What a receiver speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Metrics by Prometheus remote write 1.0.
    RemoteWrite,
    /// Metrics by Prometheus remote write 2.0, or 1.0 where the receiver shows that it knows no other.
    #[serde(rename = "remote_write_2")]
    RemoteWrite2,
    /// Logs by Loki's push API.
    Loki,
    /// Traces by OTLP over HTTP.
    OtlpHttp,
    /// Traces by OTLP over gRPC.
    OtlpGrpc,
}

/// Where batches wait until they are delivered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Spool {
    /// The directory. One sensor uses it at a time.
    pub directory: PathBuf,
    /// Bytes on disk for each signal: 1048576 to 1099511627776. Beyond that the oldest go first, and are counted.
    pub max_bytes: u64,
    /// How long a batch is kept: 1m to 30d. Older ones are dropped and counted.
    #[cfg_attr(test, schemars(with = "String"))]
    #[serde(with = "super::duration")]
    pub max_age: Duration,
    /// Whether each batch is on stable storage before it counts as accepted. Without, it outlives the sensor but not a
    /// loss of power.
    pub fsync: bool,
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("/var/lib/lionpay-sensor/spool"),
            max_bytes: 512 * 1024 * 1024,
            max_age: Duration::from_secs(24 * 3600),
            fsync: true,
        }
    }
}

/// How metrics are sent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// How often all series are sent: 1s to 1h. Grafana Cloud bills more than one sample a minute.
    #[cfg_attr(test, schemars(with = "String"))]
    #[serde(with = "super::duration")]
    pub interval: Duration,
    /// Samples of one request: 100 to 100000.
    pub batch_samples: usize,
    /// Series of exchanges that were not seen for so long end: 1m to 30d. Idle series are billed as active ones.
    #[cfg_attr(test, schemars(with = "String"))]
    #[serde(with = "super::duration")]
    pub idle: Duration,
    /// Names of metrics that are sent, without `_bucket`, `_sum` and `_count`, `*` at the end for any rest; empty sends all.
    pub keep: Vec<String>,
    /// Names of metrics that are not sent, in the same form; goes before `keep`. `/metrics` shows them all the same.
    pub drop: Vec<String>,
    /// Whether durations carry an example of a span that is sent: one a series, the longest of 15 s.
    pub exemplars: bool,
    /// Rules for the labels of what is sent, in their order; `/metrics` shows the labels as they were. Series that become
    /// equal are one: counters, histograms and gauges are added up, of what is no quantity the greatest counts.
    pub labels: Vec<LabelRule>,
    /// The most active series of single metrics; the first entry that names a metric counts. What is beyond goes to the
    /// series whose labels are all `other`, and is counted in `sensor_ship_series_folded_total`.
    pub limits: Vec<SeriesLimit>,
}

/// A rule for the labels of metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct LabelRule {
    /// Names of metrics that it is for, in the form of `ship.metrics.keep`; empty is for all.
    pub metrics: Vec<String>,
    /// What it does.
    pub action: LabelAction,
    /// Names of labels, `*` at the end for any rest. `cluster`, `node`, `ship.labels` and `le` are not concerned.
    pub labels: Vec<String>,
    /// Of `replace`: which values are replaced, as a regular expression of the whole value; empty is any.
    pub regex: String,
    /// Of `replace`: what they become, with `$1` or `${name}` for groups; empty takes the label away.
    pub replacement: String,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "snake_case")]
pub enum LabelAction {
    /// Takes the labels away.
    #[default]
    Drop,
    /// Takes all other labels away.
    Keep,
    /// Writes another value.
    Replace,
}

/// How many series a metric may have.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct SeriesLimit {
    /// Names of metrics that it is for, each by itself, in the form of `ship.metrics.keep`; empty is for all.
    pub metrics: Vec<String>,
    /// Active series of each: 1 to 10000000. A classic histogram has one a bucket, and three more. The series `other` comes
    /// on top.
    pub max_series: u64,
}

impl Default for SeriesLimit {
    fn default() -> Self {
        Self { metrics: Vec::new(), max_series: 10_000 }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            batch_samples: 2_000,
            idle: Duration::from_secs(3_600),
            keep: Vec::new(),
            drop: Vec::new(),
            exemplars: true,
            labels: Vec::new(),
            limits: Vec::new(),
        }
    }
}

/// How logs are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct ShipLogs {
    /// Bytes a day (UTC) of lines and their metadata, before compression, as logs are billed; 0 sets no limit. From 80 %
    /// no lines below `INFO` are sent, from 90 % none below `WARN`, from 95 % errors alone, and then none; what is left
    /// out is counted.
    pub max_bytes_per_day: u64,
}

/// How traces are sent.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Traces {
    /// Share of the traces that is kept, in percent: 0 to 100. All nodes decide from the trace id, so that whole traces
    /// are kept.
    pub sample_percent: f64,
    /// Other shares for services by name, in percent.
    pub services: BTreeMap<String, f64>,
    /// Whether spans of failed requests are kept beyond that.
    pub keep_errors: bool,
    /// Spans that last longer are kept beyond that; 0s keeps none for that.
    #[cfg_attr(test, schemars(with = "String"))]
    #[serde(with = "super::duration")]
    pub keep_slower: Duration,
    /// Spans a second that may be kept as failed or slow; what is beyond is counted.
    pub keep_per_second: u32,
    /// How long spans that are not in the sample wait for the rest of their trace: 0s to 1m. Where one of this node's spans of the
    /// trace fails or is slow meanwhile, all of them are kept; 0s keeps that one alone. A span that waits takes about 1 KiB of
    /// memory.
    #[cfg_attr(test, schemars(with = "String"))]
    #[serde(with = "super::duration")]
    pub tail_wait: Duration,
    /// The most spans that wait so: 100 to 1000000. Beyond that the oldest trace waits no longer, which is counted.
    pub tail_max_spans: usize,
    /// Bytes a day (UTC) of spans, before compression, as traces are billed; 0 sets no limit. From 80 % half of the
    /// sampled traces is kept, from 90 % a quarter, from 95 % failed requests alone, and then none; what is left out is
    /// counted.
    pub max_bytes_per_day: u64,
}

// The shares are compared as they were written.
impl Eq for Traces {}

impl Default for Traces {
    fn default() -> Self {
        Self {
            sample_percent: 15.0,
            services: BTreeMap::new(),
            keep_errors: true,
            keep_slower: Duration::from_secs(2),
            keep_per_second: 100,
            tail_wait: Duration::ZERO,
            tail_max_spans: 20_000,
            max_bytes_per_day: 0,
        }
    }
}
