//! Reading and validating.

use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use sensor_common::record::HEAD_CAPACITY;
use serde_saphyr::Error as YamlError;
use tracing_subscriber::EnvFilter;

use super::{Config, ConfigError, environment};

/// More than any configuration needs, and little enough to hold in memory.
const FILE_MAX: u64 = 1024 * 1024;
/// How alike two keys are, 0 to 1, for one to be taken for a slip of the other.
const ALIKE: f64 = 0.7;

#[expect(clippy::cast_possible_truncation, reason = "the capacity is a few KiB")]
const HEAD_BYTES: RangeInclusive<u32> = 64..=HEAD_CAPACITY as u32;
const RING_BYTES: RangeInclusive<u32> = 64 * 1024..=1024 * 1024 * 1024;
const CONNECTIONS: RangeInclusive<u32> = 64..=4 * 1024 * 1024;
const ROUTES: RangeInclusive<usize> = 1..=10_000;
const SERIES: RangeInclusive<usize> = 10..=1_000_000;
const ACTIVE_SERIES: RangeInclusive<u64> = 1_000..=10_000_000;
const SERIES_OF_METRIC: RangeInclusive<u64> = 1..=10_000_000;
const TAIL_SPANS: RangeInclusive<usize> = 100..=1_000_000;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const FLOW_INTERVAL: RangeInclusive<Duration> = SECOND..=Duration::from_secs(3600);
const PAIR_TIMEOUT: RangeInclusive<Duration> = SECOND..=Duration::from_secs(24 * 3600);
const MINUTE_TO_MONTH: RangeInclusive<Duration> = MINUTE..=Duration::from_secs(30 * 24 * 3600);
const SPOOL_BYTES: RangeInclusive<u64> = 1024 * 1024..=1 << 40;
const BATCH_SAMPLES: RangeInclusive<usize> = 100..=100_000;

impl Config {
    /// Reads and validates a file; without one, the defaults.
    ///
    /// # Errors
    /// When the file can't be read, or what it says is not valid.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let read = |source| ConfigError::Read { path: path.to_owned(), source };
        let mut text = String::new();
        let file = File::open(path).map_err(read)?;
        let length = file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(read)?;
        if length as u64 > FILE_MAX {
            return Err(ConfigError::TooLarge { path: path.to_owned(), limit: FILE_MAX });
        }
        let name = path.display().to_string();
        let text = environment::expand(&text, &name, |variable| std::env::var(variable).ok())?;
        let config = Self::parse(&text, &name)?;
        config.validate()?;
        Ok(config)
    }

    /// Reads the settings from YAML; `name` is the file's name for messages.
    ///
    /// # Errors
    /// When it is not YAML, a key does not exist, or a value has the wrong type.
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigError> {
        // A file of comments alone is a file without settings.
        let empty = |line: &str| matches!(line.trim(), "" | "---") || line.trim_start().starts_with('#');
        if text.lines().all(empty) {
            return Ok(Self::default());
        }
        let mut outer = None;
        let options = serde_saphyr::options! { with_snippet: false };
        let result = serde_saphyr::with_deserializer_from_str_with_options(text, options, |deserializer| {
            match serde_path_to_error::deserialize(deserializer) {
                Ok(config) => Ok(config),
                Err(error) => {
                    outer = Some(error.path().to_string());
                    Err(error.into_inner())
                }
            }
        });
        result.map_err(|error| explain(&error, outer.as_deref(), name))
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Names the first value that is not allowed, and what would be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        within("capture.head_bytes", &self.capture.head_bytes, &HEAD_BYTES)?;
        within("capture.ring_bytes", &self.capture.ring_bytes, &RING_BYTES)?;
        if !self.capture.ring_bytes.is_power_of_two() {
            return Err(ConfigError::Value {
                key: "capture.ring_bytes",
                value: self.capture.ring_bytes.to_string(),
                allowed: format!("a power of two, such as {}", self.capture.ring_bytes.next_power_of_two()),
            });
        }
        within("capture.max_connections", &self.capture.max_connections, &CONNECTIONS)?;
        within("http.max_routes", &self.http.max_routes, &ROUTES)?;
        let connections = *CONNECTIONS.start() as usize..=*CONNECTIONS.end() as usize;
        within("http.max_connections", &self.http.max_connections, &connections)?;
        within("flow.max_connections", &self.flow.max_connections, &connections)?;
        lasts("flow.interval", self.flow.interval, &FLOW_INTERVAL)?;
        within("flow.dns.port", &self.flow.dns.port, &(1..=u16::MAX))?;
        within("flow.dns.max_names", &self.flow.dns.max_names, &(1..=100_000))?;
        within("flow.tls.max_names", &self.flow.tls.max_names, &(1..=100_000))?;
        lasts("flow.dns.timeout", self.flow.dns.timeout, &(SECOND..=MINUTE))?;
        within("metric.max_series", &self.metric.max_series, &SERIES)?;
        within("metric.max_active_series", &self.metric.max_active_series, &ACTIVE_SERIES)?;
        lasts("http.pair_timeout", self.http.pair_timeout, &PAIR_TIMEOUT)?;
        self.validate_ship()?;
        self.validate_log()?;
        self.logs.validate()?;
        self.kubernetes.validate()?;
        crate::mask::Masker::new(&self.mask).map_err(|error| ConfigError::Value {
            key: "mask.custom",
            value: format!("a list with the rule {:?}", error.name),
            allowed: error.allowed,
        })?;
        names("target.processes", &self.target.processes)?;
        names("target.exclude", &self.target.exclude)
    }

    fn validate_ship(&self) -> Result<(), ConfigError> {
        let ship = &self.ship;
        lasts("ship.spool.max_age", ship.spool.max_age, &MINUTE_TO_MONTH)?;
        lasts("ship.metrics.idle", ship.metrics.idle, &MINUTE_TO_MONTH)?;
        lasts("ship.metrics.interval", ship.metrics.interval, &(SECOND..=60 * MINUTE))?;
        within("ship.spool.max_bytes", &ship.spool.max_bytes, &SPOOL_BYTES)?;
        within("ship.metrics.batch_samples", &ship.metrics.batch_samples, &BATCH_SAMPLES)?;
        lasts("ship.traces.tail_wait", ship.traces.tail_wait, &(Duration::ZERO..=MINUTE))?;
        within("ship.traces.tail_max_spans", &ship.traces.tail_max_spans, &TAIL_SPANS)?;
        within("ship.traces.sample_percent", &ship.traces.sample_percent, &(0.0..=100.0))?;
        for percent in ship.traces.services.values() {
            within("ship.traces.services", percent, &(0.0..=100.0))?;
        }
        for limit in &ship.metrics.limits {
            within("ship.metrics.limits.max_series", &limit.max_series, &SERIES_OF_METRIC)?;
        }
        crate::ship::remote_write::Selection::new(&ship.metrics)?;
        for receiver in &ship.receivers {
            lasts("ship.receivers.timeout", receiver.timeout, &(SECOND..=10 * MINUTE))?;
        }
        // An environment variable that the process does not have yet is no reason to refuse a file.
        crate::ship::plan::receivers(ship, |name| std::env::var(name).ok()).map(drop)
    }

    fn validate_log(&self) -> Result<(), ConfigError> {
        match EnvFilter::try_new(&self.log) {
            Ok(_) => Ok(()),
            Err(_) => Err(ConfigError::Value {
                key: "log",
                value: format!("{:?}", self.log),
                allowed:
                    "a level (error, warn, info, debug, trace, off) or `target=level` pairs with commas \
                          between them"
                        .to_owned(),
            }),
        }
    }
}

fn within<T: PartialOrd + Display>(
    key: &'static str,
    value: &T,
    range: &RangeInclusive<T>,
) -> Result<(), ConfigError> {
    if range.contains(value) {
        return Ok(());
    }
    let allowed = format!("{} to {}", range.start(), range.end());
    Err(ConfigError::Value { key, value: value.to_string(), allowed })
}

fn lasts(key: &'static str, value: Duration, range: &RangeInclusive<Duration>) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    let spelled = |time: Duration| {
        let hours = time.as_secs() / 3600;
        match time.as_secs() {
            seconds if seconds >= 48 * 3600 => format!("{}d", hours / 24),
            seconds if seconds >= 3600 => format!("{hours}h"),
            seconds if seconds >= 60 => format!("{}m", seconds / 60),
            seconds => format!("{seconds}s"),
        }
    };
    let allowed = format!("{} to {}", spelled(*range.start()), spelled(*range.end()));
    Err(ConfigError::Value { key, value: humantime::format_duration(value).to_string(), allowed })
}

pub(super) fn names(key: &'static str, names: &[String]) -> Result<(), ConfigError> {
    match names.iter().find(|name| name.trim().is_empty()) {
        None => Ok(()),
        Some(name) => Err(ConfigError::Value {
            key,
            value: format!("a list with {name:?} in it"),
            allowed: "a list of service names".to_owned(),
        }),
    }
}

fn explain(error: &YamlError, path: Option<&str>, name: &str) -> ConfigError {
    let error = error.without_snippet();
    let place = match error.location() {
        Some(location) if location.line() > 0 => format!("{name}:{}:{}", location.line(), location.column()),
        _ => name.to_owned(),
    };
    // "." is how the path of the document itself is written.
    let key = path.filter(|path| *path != ".").map(str::to_owned);
    let YamlError::SerdeUnknownField { field, expected, .. } = error else {
        let message = error.to_string();
        return ConfigError::Parse { place, key, message };
    };
    let section = key.as_deref().and_then(|key| key.rsplit_once('.')).map_or("", |(section, _)| section);
    let full = |field: &str| if section.is_empty() { field.to_owned() } else { format!("{section}.{field}") };
    let nearest = expected
        .iter()
        .map(|known| (strsim::jaro_winkler(field, known), *known))
        .filter(|(alike, _)| *alike > ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| full(known));
    ConfigError::UnknownKey {
        place,
        key: full(field),
        nearest,
        known: expected.iter().map(|known| full(known)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture;
    use crate::config::Route;

    fn parse(text: &str) -> Result<Config, String> {
        let config = Config::parse(text, "sensor.yaml").map_err(|error| error.to_string())?;
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }

    fn refused(text: &str) -> String {
        parse(text).unwrap_err()
    }

    #[test]
    fn no_settings_are_the_defaults() {
        for text in ["", "---\n", "# nothing\n", "{}", "capture: {}\n"] {
            assert_eq!(parse(text), Ok(Config::default()), "{text:?}");
        }
        Config::default().validate().unwrap();
        assert_eq!(Config::load(None).unwrap(), Config::default());
    }

    #[test]
    fn every_setting_is_read() {
        let text = "
listen: '[::]:9000'
log: warn,sensor=debug
capture: {route: socket, head_bytes: 4096, ring_bytes: 65536, max_connections: 64}
target: {processes: [nginx, shop], exclude: [curl]}
http: {max_routes: 1, max_connections: 100, pair_timeout: 1m 30s}
flow: {enabled: false, interval: 1s, max_connections: 64}
metric: {max_series: 10, max_active_series: 1000, span_metrics: true}
";
        let config = parse(text).unwrap();
        assert_eq!(config.listen, "[::]:9000".parse().unwrap());
        assert_eq!(config.log, "warn,sensor=debug");
        assert_eq!((config.capture.route, config.capture.head_bytes), (Route::Socket, 4096));
        assert_eq!((config.capture.ring_bytes, config.capture.max_connections), (65_536, 64));
        assert_eq!(config.target.processes, ["nginx", "shop"]);
        assert_eq!(config.target.exclude, ["curl"]);
        assert_eq!((config.http.max_routes, config.http.max_connections), (1, 100));
        assert_eq!(config.http.pair_timeout, Duration::from_secs(90));
        assert!(!config.flow.enabled);
        assert_eq!((config.flow.interval, config.flow.max_connections), (Duration::from_secs(1), 64));
        assert_eq!((config.metric.max_series, config.metric.span_metrics), (10, true));
        assert_eq!(config.metric.max_active_series, 1_000);
    }

    #[test]
    fn the_words_for_the_routes_are_the_captures_own() {
        for route in [capture::Route::Fentry, capture::Route::Socket, capture::Route::Syscall] {
            let config = parse(&format!("capture: {{route: {}}}", route.name())).unwrap();
            assert_eq!(config.capture.route.forced(), Some(route));
        }
        assert_eq!(Route::Auto.forced(), None);
    }

    #[test]
    fn an_unknown_key_names_the_nearest_one() {
        assert_eq!(
            refused("capture:\n  head_byte: 64\n"),
            "sensor.yaml:2:3: unknown key `capture.head_byte`; hint: did you mean `capture.head_bytes`?"
        );
        assert_eq!(
            refused("metrics: {}\n"),
            "sensor.yaml:1:1: unknown key `metrics`; hint: did you mean `metric`?"
        );
        assert_eq!(
            refused("metric:\n  zzz: 1\n"),
            "sensor.yaml:2:3: unknown key `metric.zzz`; hint: known here are metric.max_series, metric.max_active_series, metric.native_histograms, metric.span_metrics"
        );
    }

    #[test]
    fn a_wrong_type_names_the_key() {
        let message = refused("capture:\n  head_bytes: many\n");
        assert!(message.starts_with("sensor.yaml:2:15: `capture.head_bytes`: "), "{message}");
        let message = refused("capture:\n  route: kprobe\n");
        assert!(message.contains("`capture.route`: ") && message.contains("fentry"), "{message}");
        let message = refused("listen: localhost\n");
        assert!(message.contains("`listen`: "), "{message}");
        let message = refused("http:\n  pair_timeout: 30\n");
        assert!(
            message.contains("`http.pair_timeout`: `30` is no duration; write it like `30s`"),
            "{message}"
        );
    }

    #[test]
    fn a_wrong_value_names_what_would_be_right() {
        assert_eq!(
            refused("capture: {head_bytes: 63}"),
            "`capture.head_bytes` is 63, but must be 64 to 4096"
        );
        assert_eq!(
            refused("capture: {ring_bytes: 100000}"),
            "`capture.ring_bytes` is 100000, but must be a power of two, such as 131072"
        );
        assert_eq!(
            refused("http: {pair_timeout: 25h}"),
            "`http.pair_timeout` is 1day 1h, but must be 1s to 24h"
        );
        assert!(refused("capture: {ring_bytes: 1024}").contains("65536 to 1073741824"));
        assert_eq!(refused("flow: {interval: 2h}"), "`flow.interval` is 2h, but must be 1s to 1h");
        assert_eq!(refused("flow: {dns: {port: 0}}"), "`flow.dns.port` is 0, but must be 1 to 65535");
        assert!(refused("flow: {networks: {pod: [10.0.0.0/40]}}").contains("flow.networks.pod[0]"));
        assert!(refused("http: {max_routes: 0}").contains("1 to 10000"));
        assert!(refused("target: {processes: ['']}").contains("target.processes"));
        assert!(refused("log: 'a=b=c'").contains("`log`"));
    }

    #[test]
    fn what_is_not_yaml_is_refused_with_its_place() {
        assert!(refused("capture: [").starts_with("sensor.yaml:"));
        assert!(refused("capture: {}\ncapture: {}\n").starts_with("sensor.yaml:2:1: "));
        assert!(refused("- a\n").starts_with("sensor.yaml:1:1: "));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Config::load(Some(Path::new("/nonexistent/sensor.yaml"))).unwrap_err();
        assert!(error.to_string().starts_with("read /nonexistent/sensor.yaml: "), "{error}");
    }

    #[test]
    fn a_file_that_is_too_large_is_refused() {
        let error = Config::load(Some(Path::new("/dev/zero"))).unwrap_err();
        assert!(matches!(error, ConfigError::TooLarge { .. }), "{error}");
    }
}
