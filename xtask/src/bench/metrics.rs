//! Reads a page of metrics in the Prometheus text format.

use std::time::Duration;

use anyhow::{Context as _, Result};

/// How many requests servers were seen to answer.
pub(super) const SERVER_COUNT: &str = "http_server_request_duration_seconds_count";

const PATIENCE: Duration = Duration::from_secs(10);
/// A page of 100 000 series has some 20 MB.
const PAGE_MAX: u64 = 256 * 1024 * 1024;

/// # Errors
/// No connection, no answer in time, or a status other than 2xx.
pub(super) fn get(url: &str) -> Result<String> {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build().into();
    let mut response = agent.get(url).call().with_context(|| format!("cannot get {url}"))?;
    let body = response.body_mut().with_config().limit(PAGE_MAX);
    body.read_to_string().with_context(|| format!("cannot read {url}"))
}

pub(super) struct Sample<'a> {
    pub(super) name: &'a str,
    labels: &'a str,
    pub(super) value: f64,
}

impl<'a> Sample<'a> {
    /// The value of a label as it is written, or `None`. Escapes are left as they are: no label that is asked
    /// for here has any.
    pub(super) fn label(&self, name: &str) -> Option<&'a str> {
        self.labels.match_indices(name).find_map(|(at, _)| {
            let begins = at == 0 || self.labels[..at].ends_with(',');
            let value = self.labels[at + name.len()..].strip_prefix("=\"")?;
            begins.then(|| value.split('"').next()).flatten()
        })
    }
}

/// The samples of a page; comments and what is no sample are passed over.
pub(super) fn samples(page: &str) -> impl Iterator<Item = Sample<'_>> {
    page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (series, value) = match line.rfind('}') {
            Some(end) => (&line[..end], line[end + 1..].split_whitespace().next()?),
            None => line.split_once(' ')?,
        };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        Some(Sample { name, labels, value: value.split_whitespace().next()?.parse().ok()? })
    })
}

/// The sum over the samples of a family that have all the labels.
pub(super) fn sum(page: &str, family: &str, labels: &[(&str, &str)]) -> f64 {
    samples(page)
        .filter(|sample| sample.name == family)
        .filter(|sample| labels.iter().all(|(name, value)| sample.label(name) == Some(value)))
        // Not `sum`, which makes a negative zero of nothing.
        .fold(0.0, |sum, sample| sum + sample.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP sensor_lost_total Lost.\n# TYPE sensor_lost_total counter\n\
        sensor_lost_total{cause=\"ring_full\"} 3\nsensor_lost_total{cause=\"unparsed\"} 4\n\
        process_cpu_seconds_total 1.5\n\
        requests_count{service_name=\"nginx\",server_port=\"80\"} 10\n\
        requests_count{server_port=\"8080\",service_name=\"nginx\"} 1e3\n\
        requests_count{service_name=\"curl}\",server_port=\"80\"} 7 1700000000000\n";

    #[test]
    fn families_are_summed_by_labels() {
        assert_eq!(sum(PAGE, "sensor_lost_total", &[]), 7.0);
        assert_eq!(sum(PAGE, "process_cpu_seconds_total", &[]), 1.5);
        assert_eq!(sum(PAGE, "requests_count", &[("service_name", "nginx")]), 1010.0);
        assert_eq!(sum(PAGE, "requests_count", &[("server_port", "80")]), 17.0);
        assert_eq!(sum(PAGE, "requests_count", &[("port", "80")]), 0.0);
        assert_eq!(sum(PAGE, "requests", &[]), 0.0);
    }

    #[test]
    fn what_is_no_sample_is_passed_over() {
        assert_eq!(samples("\nname\nname{a=\"b\"\nname{a=\"b\"}\n name_without_value \n").count(), 0);
    }
}
