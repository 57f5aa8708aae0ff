//! How many requests of which kind.

use std::collections::{BTreeMap, BTreeSet};

use crate::metrics::{Metrics, Sample};

/// Counts by "METHOD ROUTE STATUS", such as "GET /items/{id} 200". Where the connection ended too early the error
/// follows: "GET / - no_response", "GET / 200 response_cut".
pub type Calls = BTreeMap<String, u64>;

/// Which side of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It received the request.
    Server,
    /// It sent the request.
    Client,
}

impl Role {
    /// As in metric names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }

    /// As in OTLP's `SpanKind`.
    #[must_use]
    pub fn span_kind(self) -> u64 {
        match self {
            Self::Server => 2,
            Self::Client => 3,
        }
    }

    /// The histogram's name, such as `http_server_request_duration_seconds` with a `part` of `_count`.
    #[must_use]
    pub fn duration(self, part: &str) -> String {
        format!("http_{}_request_duration_seconds{part}", self.name())
    }
}

/// Calls written down: `calls(&[("GET / 200", 3)])`.
#[must_use]
pub fn calls(list: &[(&str, u64)]) -> Calls {
    list.iter().map(|(call, count)| ((*call).to_owned(), *count)).collect()
}

/// How many there are.
#[must_use]
pub fn total(calls: &Calls) -> u64 {
    calls.values().sum()
}

/// What the sensor counted on one side of a server's port.
#[must_use]
pub fn counted(metrics: &Metrics, role: Role, port: u16) -> Calls {
    let mut calls = Calls::new();
    for sample in metrics.select(&role.duration("_count"), &[("server_port", &port.to_string())]) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter")]
        let count = sample.value as u64;
        *calls.entry(call(sample)).or_default() += count;
    }
    calls
}

/// The `service_name`s on one side of a server's port, each once.
#[must_use]
pub fn services(metrics: &Metrics, role: Role, port: u16) -> BTreeSet<String> {
    let (name, port) = (role.duration("_count"), port.to_string());
    let labels = [("server_port", port.as_str())];
    metrics.select(&name, &labels).map(|sample| sample.label("service_name").to_owned()).collect()
}

fn call(sample: &Sample) -> String {
    let status = match sample.label("http_response_status_code") {
        "" => "-",
        status => status,
    };
    let call = format!("{} {} {status}", sample.label("http_request_method"), sample.label("http_route"));
    match sample.label("error_type") {
        // A status that says so is an error as well, which the call already names.
        error if error.is_empty() || error == status => call,
        error => format!("{call} {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_one_port_and_role_are_added_up() {
        let text = "\
http_server_request_duration_seconds_count{http_request_method=\"GET\",http_route=\"/\",http_response_status_code=\"200\",server_port=\"8080\",service_name=\"a\"} 3
http_server_request_duration_seconds_count{http_request_method=\"GET\",http_route=\"/\",http_response_status_code=\"200\",server_port=\"8080\",service_name=\"b\"} 4
http_server_request_duration_seconds_count{http_request_method=\"GET\",http_route=\"/\",error_type=\"no_response\",server_port=\"8080\"} 1
http_server_request_duration_seconds_count{http_request_method=\"GET\",http_route=\"/\",http_response_status_code=\"200\",server_port=\"8081\"} 5
http_client_request_duration_seconds_count{http_request_method=\"GET\",http_route=\"/\",http_response_status_code=\"200\",server_port=\"8080\"} 6
";
        let metrics = Metrics::parse(text);
        let server = counted(&metrics, Role::Server, 8080);
        assert_eq!(server, calls(&[("GET / 200", 7), ("GET / - no_response", 1)]));
        assert_eq!(total(&counted(&metrics, Role::Client, 8080)), 6);
        let names = services(&metrics, Role::Server, 8080);
        assert_eq!(names, ["", "a", "b"].map(str::to_owned).into());
    }
}
