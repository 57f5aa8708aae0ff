//! The settings. The first line of a doc comment becomes the setting's text in `docs/configuration.md`, so it is
//! written for the one who sets it.

use std::net::SocketAddr;
use std::time::Duration;

use sensor_common::target::{ALL, ALL_BUT, ONLY};
use serde::Deserialize;

use super::{Flow, Kubernetes, Logs, Ship};
use crate::{capture, rpc::Names};

/// All settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port where metrics are served.
    #[cfg_attr(test, schemars(with = "String"))]
    pub listen: SocketAddr,
    /// Which messages are logged, in the syntax of `tracing-subscriber`'s `EnvFilter`: a level, or `target=level`
    /// pairs with commas between them. `--log` and `SENSOR_LOG` go before it.
    pub log: String,
    /// How the kernel is observed.
    pub capture: Capture,
    /// Which processes are observed.
    pub target: Target,
    /// Where pods, workloads and addresses are known from.
    pub kubernetes: Kubernetes,
    /// How HTTP is read.
    pub http: Http,
    /// How connections are followed, whatever is spoken on them.
    pub flow: Flow,
    /// How metrics are kept.
    pub metric: Metric,
    /// What containers write to standard output and error.
    pub logs: Logs,
    /// What is masked in the daemon, beside card numbers, which always are.
    pub mask: Mask,
    /// What leaves the node, and where to.
    pub ship: Ship,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9464)),
            log: "info".to_owned(),
            capture: Capture::default(),
            target: Target::default(),
            kubernetes: Kubernetes::default(),
            http: Http::default(),
            flow: Flow::default(),
            metric: Metric::default(),
            logs: Logs::default(),
            mask: Mask::default(),
            ship: Ship::default(),
        }
    }
}

impl Config {
    /// How the kernel's map of targets is used, in the words of [`sensor_common::target`].
    #[must_use]
    pub fn target_mode(&self) -> u32 {
        if !self.target.processes.is_empty() {
            ONLY
        } else if self.kubernetes.is_on() {
            ALL_BUT
        } else {
            ALL
        }
    }

    /// Whether any standard stream is followed.
    #[must_use]
    pub fn follows_logs(&self) -> bool {
        !self.logs.processes.is_empty() || (self.logs.containers && self.kubernetes.is_on())
    }

    /// What the capture is told of these settings.
    #[must_use]
    pub fn capture_settings(&self) -> capture::Settings {
        capture::Settings {
            route: self.capture.route.forced(),
            head_bytes: self.capture.head_bytes,
            ring_bytes: self.capture.ring_bytes,
            max_connections: self.capture.max_connections,
            log_ring_bytes: self.follows_logs().then_some(self.logs.ring_bytes),
            target_mode: self.target_mode(),
            tls: self.flow.enabled && self.flow.tls.enabled,
            plaintext: self.capture.tls,
            flows: self.flow.enabled,
            dns_port: if self.flow.dns.enabled { self.flow.dns.port } else { 0 },
        }
    }
}

/// How the kernel is observed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Capture {
    /// The way into the kernel; `auto` takes the cheapest that this kernel allows.
    pub route: Route,
    /// Bytes of a message's head that are captured: 64 to 4096. A longer head is read as far as it was captured.
    pub head_bytes: u32,
    /// Size of the ring buffer between kernel and daemon in bytes: a power of two, 65536 to 1073741824. It is locked
    /// memory. What finds it full is lost and counted.
    pub ring_bytes: u32,
    /// Connections that the kernel side follows at once: 64 to 4194304. What opens beyond that is not seen, and
    /// counted. One of TLS whose plaintext is read counts twice.
    pub max_connections: u32,
    /// Whether what is inside TLS is read where programs hand it to OpenSSL: its functions `SSL_read` and `SSL_write` are
    /// probed in each library and program that has them, which costs each call some microseconds, and in some virtual machines
    /// tens of them.
    pub tls: bool,
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            route: Route::Auto,
            head_bytes: sensor_common::record::HEAD_DEFAULT,
            ring_bytes: 16 * 1024 * 1024,
            max_connections: 32_768,
            tls: false,
        }
    }
}

/// The way into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum Route {
    /// The cheapest of the others that this kernel allows.
    Auto,
    /// Programs at entry and exit of the kernel's TCP functions.
    Fentry,
    /// The socket tracepoints of Linux 6.3 and later.
    Socket,
    /// The system call tracepoints.
    Syscall,
}

impl Route {
    /// The one way that is asked for; `None` leaves the choice to the kernel's abilities.
    #[must_use]
    pub const fn forced(self) -> Option<capture::Route> {
        match self {
            Self::Auto => None,
            Self::Fentry => Some(capture::Route::Fentry),
            Self::Socket => Some(capture::Route::Socket),
            Self::Syscall => Some(capture::Route::Syscall),
        }
    }
}

/// Which processes are observed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Target {
    /// Service names of the processes to observe; empty observes all.
    pub processes: Vec<String>,
    /// Service names of processes to leave alone; goes before `processes`.
    pub exclude: Vec<String>,
}

/// How HTTP is read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Routes kept for one service: 1 to 10000. Every further one is `*`, and counted.
    pub max_routes: usize,
    /// Connections that the daemon follows at once: 64 to 4194304. Beyond that the one that was silent longest is
    /// given up, and counted.
    pub max_connections: usize,
    /// How long a request may wait for its response before it is given up and counted: 1s to 24h.
    #[cfg_attr(test, schemars(with = "String"))]
    #[serde(with = "super::duration")]
    pub pair_timeout: Duration,
    /// Which names gRPC calls have in metrics and spans: those of the semantic conventions since 1.38, or those before. The
    /// dashboards and alerts of `deploy/` read the first.
    pub rpc_names: Names,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            max_routes: 100,
            max_connections: 32_768,
            pair_timeout: Duration::from_secs(600),
            rpc_names: Names::Stable,
        }
    }
}

/// How metrics are kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Metric {
    /// Label sets kept for one metric: 10 to 1000000. Every further one goes to the series whose labels are all
    /// `other`, and is counted. A label set of an HTTP exchange takes about 1.5 KiB of memory.
    pub max_series: usize,
    /// Series of all metrics together, those of the sensor itself apart: 1000 to 10000000. New label sets beyond that go
    /// to the series whose labels are all `other`, and are counted; once an hour the labels with the most values are named in
    /// the log. Each bucket of a histogram is a series.
    pub max_active_series: u64,
    /// Whether histograms are sent as native ones of Prometheus, with exponential buckets: one series each, in place of one
    /// a bucket. Receivers that do not know them drop them, or refuse the whole request. `/metrics` shows classic ones all
    /// the same.
    pub native_histograms: bool,
    /// Whether span metrics for Application Observability are made of all exchanges before sampling.
    pub span_metrics: bool,
}

impl Default for Metric {
    fn default() -> Self {
        Self { max_series: 10_000, max_active_series: 100_000, native_histograms: false, span_metrics: false }
    }
}

/// What is masked in the daemon, beside card numbers, which always are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Mask {
    /// Whether resident registration numbers, telephone numbers, e-mail addresses and, beside a word that names one, bank
    /// accounts are masked.
    pub person: bool,
    /// Whether credentials are masked: values of keys such as `password`, authorization headers and cookies, JSON web
    /// tokens, AWS keys.
    pub secret: bool,
    /// Rules of your own, at most 64, each with `name` (letters, digits, `_`), `regex` (syntax of Rust's `regex`) and one
    /// of `replacement` (with `$1` or `${name}` for groups) and `keep_first` or `keep_last`, the characters of a match that
    /// stay; all others become `*`.
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub custom: Vec<CustomRule>,
}

impl Default for Mask {
    fn default() -> Self {
        Self { person: true, secret: true, custom: Vec::new() }
    }
}

/// One rule of the user's.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct CustomRule {
    /// What its matches are counted as.
    pub name: String,
    /// What is masked.
    pub regex: String,
    /// What a match becomes.
    #[serde(default)]
    pub replacement: Option<String>,
    /// Characters at the start of a match that stay.
    #[serde(default)]
    pub keep_first: Option<usize>,
    /// Characters at its end that stay.
    #[serde(default)]
    pub keep_last: Option<usize>,
}
