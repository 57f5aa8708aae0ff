//! The way to the API server.

use std::time::Duration;

use hyper::Uri;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::KubernetesError;
use super::watch::{Cause, Resource, Watches};
use crate::config;
use crate::ship::sender::Backoff;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the server may be silent: a watch has a bookmark about once a minute.
const SILENCE: Duration = Duration::from_secs(150);

/// Where the API server is.
pub(super) fn address(
    settings: &config::Kubernetes,
    variable: impl Fn(&'static str) -> Option<String>,
) -> Result<Uri, KubernetesError> {
    let url = if settings.api_server.is_empty() {
        let host = variable("KUBERNETES_SERVICE_HOST").ok_or(KubernetesError::NoServer)?;
        let port = variable("KUBERNETES_SERVICE_PORT").unwrap_or_else(|| "443".to_owned());
        if host.contains(':') { format!("https://[{host}]:{port}") } else { format!("https://{host}:{port}") }
    } else {
        settings.api_server.clone()
    };
    let uri: Uri = url.parse().map_err(|error| KubernetesError::Server(format!("no URL: {error}")))?;
    let is_loopback = matches!(uri.host(), Some("127.0.0.1" | "localhost" | "[::1]"));
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        // The token would go in the clear.
        Some("http") if is_loopback => Ok(uri),
        _ => Err(KubernetesError::Server("must be an https URL, or http at the loopback".to_owned())),
    }
}

/// A client that sends the service account's token and trusts its CA, both read again as they rotate. As long as they can't
/// be read it tries again.
pub(super) async fn client(settings: &config::Kubernetes, server: &Uri, watches: &Watches) -> kube::Client {
    let mut backoff = Backoff::default();
    let mut random = SmallRng::from_os_rng();
    loop {
        let mut config = kube::Config::new(server.clone());
        let directory = &settings.service_account;
        config.auth_info.token_file = Some(directory.join("token").display().to_string());
        // No host's store of CAs is asked: there may be none.
        config.root_cert = Some(Vec::new());
        if server.scheme_str() == Some("https") {
            config.root_cert_file = Some(directory.join("ca.crt"));
        }
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(SILENCE);
        config.reset_reader_on_write = true;
        // What fails is counted, and asked for again by the watches.
        config.default_retry = false;
        match kube::Client::try_from(config) {
            Ok(client) => return client,
            Err(error) => {
                for resource in Resource::ALL {
                    watches.of(resource).failed(Cause::Credentials, &error.to_string());
                }
                tokio::time::sleep(backoff.failed(None, &mut random)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(api_server: &str, host: Option<&str>) -> Result<String, String> {
        let settings =
            config::Kubernetes { api_server: api_server.to_owned(), ..config::Kubernetes::default() };
        let variable = |name| match name {
            "KUBERNETES_SERVICE_HOST" => host.map(ToOwned::to_owned),
            _ => None,
        };
        address(&settings, variable).map(|uri| uri.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_server_is_named_by_settings_or_environment() {
        assert_eq!(of("", Some("10.0.0.1")).unwrap(), "https://10.0.0.1:443/");
        assert_eq!(of("", Some("fd00::1")).unwrap(), "https://[fd00::1]:443/");
        assert_eq!(of("http://127.0.0.1:8001", None).unwrap(), "http://127.0.0.1:8001/");
        assert!(of("", None).unwrap_err().contains("hint: set KUBERNETES_SERVICE_HOST"));
        assert!(of("http://api.example", None).unwrap_err().contains("must be an https URL"));
        assert!(of("api.example", None).unwrap_err().contains("must be an https URL"));
    }
}
