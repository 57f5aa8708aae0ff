//! Settings of what containers write.

use std::time::Duration;

use regex::{Regex, RegexSet};
use serde::Deserialize;

use super::ConfigError;
use crate::log::{Choice, Filter, Names, Pods, Severity};

/// What containers write to standard output and error.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Logs {
    /// Processes whose standard output and error are followed, where these are pipes or terminals: process ids, commands,
    /// or paths of control groups. Empty follows none. `--logs` adds to it.
    pub processes: Vec<String>,
    /// Whether what the containers of pods write is followed too, where the API server is asked.
    pub containers: bool,
    /// Namespaces of the pods whose containers are followed; empty follows those of all that `kubernetes` observes.
    pub namespaces: Vec<String>,
    /// Namespaces of the pods whose containers are not followed; goes before `namespaces`.
    pub exclude_namespaces: Vec<String>,
    /// Size of the ring buffer between kernel and daemon in bytes: a power of two, 65536 to 1073741824. It is locked
    /// memory. What finds it full is lost and counted.
    pub ring_bytes: u32,
    /// Whether escape sequences, such as colours, are stripped.
    pub strip_ansi: bool,
    /// A regular expression that the first line of each record matches; every other line goes on with the one before.
    /// Empty: the layouts of stack traces of Java, .NET, Python and Go are known.
    pub first_line: String,
    /// The most lines of one record: 1 to 10000.
    pub max_lines: usize,
    /// How long a record that may go on waits for its next line: 10ms to 10s.
    #[cfg_attr(test, schemars(with = "String"))]
    #[serde(with = "super::duration")]
    pub multiline_wait: Duration,
    /// The least severity that is told: `trace`, `debug`, `info`, `warn`, `error` or `fatal`. A record that does not say
    /// how severe it is is always told.
    pub min_severity: String,
    /// Service names whose records are told; empty tells all. Containers of other services are not followed.
    pub services: Vec<String>,
    /// Service names whose records are not told; goes before `services`.
    pub exclude_services: Vec<String>,
    /// Regular expressions; a record that one of them matches is left out.
    pub drop: Vec<String>,
    /// Regular expressions; where there are any, only records that one of them matches are told.
    pub keep: Vec<String>,
    /// Share of the records that is told, more than 0 and at most 1.
    pub sample: f64,
    /// Bytes of text a minute and service that are told; 0 is no limit. What was left out is told once a minute.
    pub bytes_per_minute: u64,
}

impl Eq for Logs {}

impl Default for Logs {
    fn default() -> Self {
        Self {
            processes: Vec::new(),
            containers: true,
            namespaces: Vec::new(),
            exclude_namespaces: Vec::new(),
            ring_bytes: 16 * 1024 * 1024,
            strip_ansi: true,
            first_line: String::new(),
            max_lines: 1000,
            multiline_wait: Duration::from_millis(500),
            min_severity: "trace".to_owned(),
            services: Vec::new(),
            exclude_services: Vec::new(),
            drop: Vec::new(),
            keep: Vec::new(),
            sample: 1.0,
            bytes_per_minute: 0,
        }
    }
}

impl Logs {
    /// Follows more processes.
    pub fn add(&mut self, choices: &[Choice]) {
        self.processes.extend(choices.iter().map(ToString::to_string));
    }

    /// Which processes are followed; what is not valid is left out.
    #[must_use]
    pub fn choices(&self) -> Vec<Choice> {
        self.processes.iter().filter_map(|text| text.parse().ok()).collect()
    }

    /// The pattern of first lines; `None` where the known layouts are used.
    #[must_use]
    pub fn first_line_regex(&self) -> Option<Regex> {
        if self.first_line.is_empty() { None } else { Regex::new(&self.first_line).ok() }
    }

    /// What is left out.
    #[must_use]
    pub fn filter(&self) -> Filter {
        let mut filter = Filter::default();
        filter.floor = Severity::of_word(&self.min_severity);
        filter.drop = RegexSet::new(&self.drop).unwrap_or_default();
        filter.keep = RegexSet::new(&self.keep).unwrap_or_default();
        filter.sample = self.sample;
        filter.bytes_per_minute = (self.bytes_per_minute > 0).then_some(self.bytes_per_minute);
        filter.services = self.pods().services;
        filter
    }

    /// Whose containers are followed.
    #[must_use]
    pub fn pods(&self) -> Pods {
        let names = |only: &[String], but: &[String]| Names { only: only.to_vec(), but: but.to_vec() };
        Pods {
            namespaces: names(&self.namespaces, &self.exclude_namespaces),
            services: names(&self.services, &self.exclude_services),
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let value = |key, value: String, allowed: &str| {
            Err(ConfigError::Value { key, value, allowed: allowed.to_owned() })
        };
        let ring = 64 * 1024..=1024 * 1024 * 1024;
        if !ring.contains(&self.ring_bytes) || !self.ring_bytes.is_power_of_two() {
            let allowed = "a power of two, 65536 to 1073741824";
            return value("logs.ring_bytes", self.ring_bytes.to_string(), allowed);
        }
        for text in &self.processes {
            if let Err(error) = text.parse::<Choice>() {
                return value("logs.processes", format!("{text:?}"), &error.to_string());
            }
        }
        for (key, names) in [
            ("logs.namespaces", &self.namespaces),
            ("logs.exclude_namespaces", &self.exclude_namespaces),
            ("logs.services", &self.services),
            ("logs.exclude_services", &self.exclude_services),
        ] {
            super::load::names(key, names)?;
        }
        for (key, patterns) in [
            ("logs.first_line", std::slice::from_ref(&self.first_line)),
            ("logs.drop", &self.drop),
            ("logs.keep", &self.keep),
        ] {
            if let Some(wrong) = patterns.iter().find(|pattern| Regex::new(pattern).is_err()) {
                return value(
                    key,
                    format!("{wrong:?}"),
                    "a regular expression in the syntax of Rust's regex",
                );
            }
        }
        if !(1..=10_000).contains(&self.max_lines) {
            return value("logs.max_lines", self.max_lines.to_string(), "1 to 10000");
        }
        if !(Duration::from_millis(10)..=Duration::from_secs(10)).contains(&self.multiline_wait) {
            let written = humantime::format_duration(self.multiline_wait).to_string();
            return value("logs.multiline_wait", written, "10ms to 10s");
        }
        if !["trace", "debug", "info", "warn", "error", "fatal"].contains(&self.min_severity.as_str()) {
            let allowed = "trace, debug, info, warn, error or fatal";
            return value("logs.min_severity", format!("{:?}", self.min_severity), allowed);
        }
        if !(self.sample > 0.0 && self.sample <= 1.0) {
            return value("logs.sample", self.sample.to_string(), "more than 0 and at most 1");
        }
        Ok(())
    }
}
