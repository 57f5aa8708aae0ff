//! A real Prometheus that takes remote write.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;
use tempfile::TempDir;

use crate::link::free_port;
use crate::process::{Process, program};
use crate::wait::{patience, wait_until};

/// One that scrapes nothing. It ends when it is dropped.
pub struct Prometheus {
    _process: Process,
    _directory: TempDir,
    port: u16,
}

impl Prometheus {
    /// Starts one with these recording rules (a file of Prometheus' own form; may be empty), which it evaluates once a
    /// second.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    #[must_use]
    pub fn start(rules: &str) -> Self {
        Self::start_with(rules, "global: {evaluation_interval: 1s}\nrule_files: [rules.yml]\n", &[])
    }

    /// Starts one that scrapes `target` once a second, with these features.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    #[must_use]
    pub fn scraping(target: SocketAddr, features: &[&str]) -> Self {
        let text = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: sensor\n  static_configs: [{{targets: ['{target}']}}]\n"
        );
        Self::start_with("", &text, features)
    }

    /// Starts one that scrapes nothing, with these features.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    #[must_use]
    pub fn with(features: &[&str]) -> Self {
        Self::start_with("", "global: {}\n", features)
    }

    #[track_caller]
    fn start_with(rules: &str, text: &str, features: &[&str]) -> Self {
        let directory = TempDir::new().expect("make a directory");
        let config = directory.path().join("prometheus.yml");
        std::fs::write(&config, text).expect("write a configuration");
        std::fs::write(directory.path().join("rules.yml"), rules).expect("write rules");
        let port = free_port();
        let process = Process::start(
            program("prometheus")
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .arg("--web.enable-remote-write-receiver")
                .args((!features.is_empty()).then(|| format!("--enable-feature={}", features.join(",")))),
        );
        let prometheus = Self { _process: process, _directory: directory, port };
        wait_until("Prometheus to be ready", patience(60), || prometheus.get("/-/ready"));
        prometheus
    }

    /// Where it takes remote write.
    #[must_use]
    pub fn write_url(&self) -> String {
        format!("http://127.0.0.1:{}/api/v1/write", self.port)
    }

    fn get(&self, path: &str) -> Option<String> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let request = ureq::get(url).config().http_status_as_error(false).build();
        let mut answer = request.call().ok()?;
        let text = answer.body_mut().read_to_string().ok()?;
        (answer.status() == 200 || path.starts_with("/api/")).then_some(text)
    }

    /// The series of an instant query.
    ///
    /// # Errors
    /// Prometheus' words, when it can't evaluate the query.
    ///
    /// # Panics
    /// When it does not answer as its API says.
    #[track_caller]
    pub fn query(&self, query: &str) -> Result<Vec<Value>, String> {
        self.api(&format!("/api/v1/query?query={}", encoded(query)))
            .map(|data| data["result"].as_array().expect("a vector").clone())
    }

    /// The exemplars of the series that a selector finds: their labels, and their values.
    ///
    /// # Panics
    /// When it does not answer as its API says.
    #[track_caller]
    #[must_use]
    pub fn exemplars(&self, selector: &str) -> Vec<(BTreeMap<String, String>, f64)> {
        let path = format!("/api/v1/query_exemplars?query={}&start=0&end=9999999999", encoded(selector));
        let series = self.api(&path).unwrap_or_else(|error| panic!("{selector}: {error}"));
        let all = series.as_array().expect("series").iter();
        all.flat_map(|series| series["exemplars"].as_array().expect("exemplars").clone())
            .map(|exemplar| {
                let labels = serde_json::from_value(exemplar["labels"].clone()).expect("labels");
                let value = exemplar["value"].as_str().expect("a value").parse().expect("a number");
                (labels, value)
            })
            .collect()
    }

    /// The values of a label, of the series that a selector finds.
    ///
    /// # Panics
    /// When it does not answer as its API says.
    #[track_caller]
    #[must_use]
    pub fn label_values(&self, selector: &str, label: &str) -> Vec<String> {
        let path = format!("/api/v1/label/{label}/values?match[]={}", encoded(selector));
        let values = self.api(&path).unwrap_or_else(|error| panic!("{selector}: {error}"));
        values.as_array().expect("values").iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    #[track_caller]
    fn api(&self, path: &str) -> Result<Value, String> {
        let text = self.get(path).expect("Prometheus to answer");
        let mut answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"));
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(answer["error"].as_str().unwrap_or(&text).to_owned()),
        }
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}
