//! From settings to receivers: who gets what, and how they are reached.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::gate::Signal;
use super::otlp;
use super::sender::{self, Connection, Credentials, Source};
use super::wire::Wire;
use crate::config::ConfigError;
use crate::config::ship::{GrafanaCloud, Protocol, Receiver, Ship};

/// A receiver that is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// How it is reached.
    pub connection: Connection,
}

impl Plan {
    /// What it gets.
    #[must_use]
    pub const fn signal(&self) -> Signal {
        match self.protocol {
            Protocol::RemoteWrite | Protocol::RemoteWrite2 => Signal::Metrics,
            Protocol::Loki => Signal::Logs,
            Protocol::OtlpHttp | Protocol::OtlpGrpc => Signal::Traces,
        }
    }

    /// How it is spoken to.
    #[must_use]
    pub const fn wire(&self) -> Wire {
        match self.protocol {
            Protocol::RemoteWrite => Wire::RemoteWrite { by_2: AtomicBool::new(false) },
            Protocol::RemoteWrite2 => Wire::RemoteWrite { by_2: AtomicBool::new(true) },
            Protocol::Loki => Wire::Loki,
            Protocol::OtlpHttp => Wire::OtlpHttp,
            Protocol::OtlpGrpc => Wire::OtlpGrpc,
        }
    }
}

/// The paths that a URL without one gets.
const fn path(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::RemoteWrite | Protocol::RemoteWrite2 => "/api/v1/write",
        Protocol::Loki => "/loki/api/v1/push",
        Protocol::OtlpHttp => otlp::HTTP_PATH,
        Protocol::OtlpGrpc => otlp::GRPC_PATH,
    }
}

/// All receivers that the settings name.
///
/// # Errors
/// Names the receiver and what is wrong with it.
pub fn receivers(
    ship: &Ship,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Plan>, ConfigError> {
    let mut plans = Vec::new();
    if ship.grafana_cloud.enabled {
        cloud(&ship.grafana_cloud, &environment, &mut plans)?;
    }
    for (place, receiver) in ship.receivers.iter().enumerate() {
        plans.push(plan(place, receiver)?);
    }
    let mut names = BTreeSet::new();
    for plan in &plans {
        if !names.insert(&plan.name) {
            return Err(wrong("ship.receivers", format!("the name `{}` is there twice", plan.name)));
        }
    }
    Ok(plans)
}

fn wrong(key: impl Into<String>, reason: impl Into<String>) -> ConfigError {
    ConfigError::Receiver { key: key.into(), reason: reason.into() }
}

fn source(variable: &str, file: &Path) -> Option<Source> {
    if !file.as_os_str().is_empty() {
        return Some(Source::File(file.to_owned()));
    }
    (!variable.is_empty()).then(|| Source::Environment(variable.to_owned()))
}

/// Whether a text is a host name by its form (RFC 1123, section 2.1), underscores allowed.
fn is_host_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(fits);
    text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(is_label)
}

fn plan(place: usize, receiver: &Receiver) -> Result<Plan, ConfigError> {
    let name = receiver.name.clone();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 63 || !name.chars().all(fits) {
        let reason =
            format!("`{name}` is no name; write lower-case letters, digits and `-`, 1 to 63 of them");
        return Err(wrong(format!("ship.receivers[{place}].name"), reason));
    }
    let key = |field: &str| format!("ship.receivers.{name}.{field}");
    if receiver.url.is_empty() {
        return Err(wrong(key("url"), "is missing"));
    }
    let mut url = sender::check(&receiver.url, path(receiver.protocol), receiver.insecure)
        .map_err(|error| wrong(key("url"), error.to_string()))?;
    if receiver.protocol == Protocol::OtlpGrpc {
        // The path of gRPC is the method, whatever the URL says.
        url.set_path(otlp::GRPC_PATH);
    }
    let credentials = match source(&receiver.password_env, &receiver.password_file) {
        None if receiver.user.is_empty() => Credentials::None,
        None => return Err(wrong(key("user"), "needs a `password_file` or a `password_env`")),
        Some(token) if receiver.user.is_empty() => Credentials::Bearer(token),
        Some(password) => Credentials::Basic { user: receiver.user.clone(), password },
    };
    let mut headers = Vec::new();
    for (name, value) in &receiver.headers {
        let parsed = (HeaderName::try_from(name), HeaderValue::try_from(value));
        match parsed {
            (Ok(AUTHORIZATION), _) => {
                return Err(wrong(
                    key("headers"),
                    "`Authorization` is refused; use `password_file` or `password_env`",
                ));
            }
            (Ok(name), Ok(value)) => headers.push((name, value)),
            _ => return Err(wrong(key("headers"), format!("`{name}` or its value can't be in a header"))),
        }
    }
    let proxy = match receiver.proxy.as_str() {
        "" => None,
        text => Some(Url::parse(text).map_err(|error| wrong(key("proxy"), format!("no URL: {error}")))?),
    };
    let connect_to = connect_to(receiver, &url).map_err(|reason| wrong(key("connect_to"), reason))?;
    let connection = Connection {
        url,
        credentials,
        headers,
        timeout: receiver.timeout,
        proxy,
        connect_to,
        ca_file: Some(receiver.ca_file.clone()).filter(|path| *path != PathBuf::new()),
        http2_only: receiver.protocol == Protocol::OtlpGrpc,
    };
    Ok(Plan { name, protocol: receiver.protocol, connection })
}

/// The name that is asked for the address in place of the URL's host.
fn connect_to(receiver: &Receiver, url: &Url) -> Result<Option<String>, String> {
    let name = &receiver.connect_to;
    if name.is_empty() {
        return Ok(None);
    }
    if !receiver.proxy.is_empty() {
        return Err("is refused together with `proxy`".to_owned());
    }
    if !is_host_name(name) {
        return Err(format!("`{name}` is no DNS name; the port is the URL's"));
    }
    if url.domain().is_none() {
        return Err("needs a name in the URL, which the certificate is to be of".to_owned());
    }
    Ok(Some(name.clone()))
}

/// The short form: three URLs, three users, one token.
fn cloud(
    cloud: &GrafanaCloud,
    environment: &impl Fn(&str) -> Option<String>,
    plans: &mut Vec<Plan>,
) -> Result<(), ConfigError> {
    let before = plans.len();
    for (protocol, signal, default_path, url, user) in [
        (Protocol::RemoteWrite, "metrics", "/api/prom/push", &cloud.metrics_url, &cloud.metrics_user),
        (Protocol::Loki, "logs", "/loki/api/v1/push", &cloud.logs_url, &cloud.logs_user),
        (Protocol::OtlpHttp, "traces", "/otlp/v1/traces", &cloud.traces_url, &cloud.traces_user),
    ] {
        let or_variable = |text: &str, what: &str| {
            let variable = format!("GRAFANA_CLOUD_{}_{what}", signal.to_uppercase());
            Some(text.to_owned()).filter(|text| !text.is_empty()).or_else(|| environment(&variable))
        };
        let Some(address) = or_variable(url, "URL").filter(|url| !url.is_empty()) else { continue };
        let key = |what: &str| format!("ship.grafana_cloud.{signal}_{what}");
        let mut url = sender::check(&address, default_path, false)
            .map_err(|error| wrong(key("url"), error.to_string()))?;
        if protocol == Protocol::OtlpHttp && url.path().trim_end_matches('/') == "/otlp" {
            url.set_path(default_path);
        }
        let user = or_variable(user, "USER").filter(|user| !user.is_empty());
        let user = user.ok_or_else(|| wrong(key("user"), "is missing: the number of the instance"))?;
        let password = source(&cloud.token_env, &cloud.token_file)
            .ok_or_else(|| wrong("ship.grafana_cloud.token_env", "is empty, and so is `token_file`"))?;
        let connection = Connection {
            url,
            credentials: Credentials::Basic { user, password },
            headers: Vec::new(),
            timeout: Receiver::default().timeout,
            proxy: None,
            connect_to: None,
            ca_file: None,
            http2_only: false,
        };
        plans.push(Plan { name: format!("grafana-cloud-{signal}"), protocol, connection });
    }
    if plans.len() == before {
        return Err(wrong(
            "ship.grafana_cloud",
            "is enabled, and there is no URL, neither here nor in the environment",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn plans(text: &str, environment: &[(&str, &str)]) -> Result<Vec<Plan>, String> {
        let config = Config::parse(text, "sensor.yaml").map_err(|error| error.to_string())?;
        let lookup = |name: &str| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        receivers(&config.ship, lookup).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_sent_by_default() {
        assert_eq!(plans("", &[]).unwrap(), []);
    }

    #[test]
    fn the_short_form_comes_from_the_environment_as_well() {
        let environment = [
            ("GRAFANA_CLOUD_METRICS_URL", "https://p.example"),
            ("GRAFANA_CLOUD_METRICS_USER", "1"),
            ("GRAFANA_CLOUD_LOGS_URL", "https://l.example"),
            ("GRAFANA_CLOUD_LOGS_USER", "2"),
        ];
        let text =
            "ship: {grafana_cloud: {enabled: true, traces_url: 'https://t.example/otlp', traces_user: '3'}}";
        let plans = plans(text, &environment).unwrap();
        let urls: Vec<&str> = plans.iter().map(|plan| plan.connection.url.as_str()).collect();
        let expected = [
            "https://p.example/api/prom/push",
            "https://l.example/loki/api/v1/push",
            "https://t.example/otlp/v1/traces",
        ];
        assert_eq!(urls, expected);
        let users: Vec<&Credentials> = plans.iter().map(|plan| &plan.connection.credentials).collect();
        for (place, credentials) in users.into_iter().enumerate() {
            let password = Source::Environment("GRAFANA_CLOUD_TOKEN".to_owned());
            assert_eq!(*credentials, Credentials::Basic { user: (place + 1).to_string(), password });
        }
    }

    #[test]
    fn a_short_form_that_is_not_whole_is_refused() {
        let enabled = "ship: {grafana_cloud: {enabled: true}}";
        assert!(plans(enabled, &[]).unwrap_err().contains("there is no URL"));
        let url = [("GRAFANA_CLOUD_LOGS_URL", "https://l.example")];
        assert!(plans(enabled, &url).unwrap_err().starts_with("`ship.grafana_cloud.logs_user`: is missing"));
    }

    #[test]
    fn receivers_are_named_and_checked() {
        let one = |fields: &str| plans(&format!("ship: {{receivers: [{{{fields}}}]}}"), &[]);
        let good =
            one("name: a, protocol: otlp_grpc, url: 'https://t.example:4317', user: 1, password_env: T")
                .unwrap();
        assert_eq!(good[0].connection.url.path(), otlp::GRPC_PATH);
        assert_eq!(good[0].signal(), Signal::Traces);
        for (fields, message) in [
            ("url: 'https://a'", "`ship.receivers[0].name`"),
            ("name: A, url: 'https://a'", "`A` is no name"),
            ("name: a", "`ship.receivers.a.url`: is missing"),
            ("name: a, url: 'http://a.example'", "set `insecure: true`"),
            ("name: a, url: 'https://a', user: me", "needs a `password_file`"),
            ("name: a, url: 'https://a', headers: {authorization: x}", "`Authorization` is refused"),
            ("name: a, url: 'https://a', headers: {'a b': x}", "can't be in a header"),
            ("name: a, url: 'https://a', proxy: nowhere", "`ship.receivers.a.proxy`"),
            ("name: a, url: 'https://a', connect_to: 'b:443'", "the port is the URL's"),
            ("name: a, url: 'https://192.0.2.1', connect_to: b", "needs a name in the URL"),
            ("name: a, url: 'https://a', connect_to: b, proxy: 'http://c'", "together with `proxy`"),
            ("name: a, url: 'https://a', password: x", "did you mean `ship.receivers[0].password_env`"),
            ("name: a, url: 'https://a', protocol: kafka", "remote_write"),
            ("name: a, url: 'https://a'}, {name: a, url: 'https://b'", "twice"),
        ] {
            let error = one(fields).unwrap_err();
            assert!(error.contains(message), "{fields}: {error}");
        }
    }
}
