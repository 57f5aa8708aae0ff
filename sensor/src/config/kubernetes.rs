//! Settings of what is known of containers.

use std::path::PathBuf;

use serde::Deserialize;

/// Where pods, workloads and addresses are known from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Kubernetes {
    /// Whether the API server is asked.
    pub enabled: Enabled,
    /// The node's name; empty takes the variable `NODE_NAME`.
    pub node: String,
    /// URL of the API server; empty takes the variables `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT`.
    pub api_server: String,
    /// Directory with the service account's `token` and `ca.crt`. Both are read again as they rotate.
    #[cfg_attr(test, schemars(with = "String"))]
    pub service_account: PathBuf,
    /// Whether the labels `app.kubernetes.io/instance`, `name`, `part-of` and `version` name a service, where no
    /// annotation does.
    pub service_labels: bool,
    /// Whether metrics are told by pod too. A pod that is replaced makes its series anew.
    pub metrics_by_pod: bool,
    /// Namespaces whose pods are observed; empty observes those of all.
    pub namespaces: Vec<String>,
    /// Namespaces whose pods are left alone; goes before `namespaces`.
    pub exclude_namespaces: Vec<String>,
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            enabled: Enabled::Auto,
            node: String::new(),
            api_server: String::new(),
            service_account: PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount"),
            service_labels: false,
            metrics_by_pod: false,
            namespaces: Vec::new(),
            exclude_namespaces: Vec::new(),
        }
    }
}

impl Kubernetes {
    /// Whether the API server is asked here.
    #[must_use]
    pub fn is_on(&self) -> bool {
        match self.enabled {
            Enabled::Auto => {
                let has_server =
                    !self.api_server.is_empty() || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
                has_server && self.service_account.join("token").exists()
            }
            Enabled::Always => true,
            Enabled::Never => false,
        }
    }

    /// Whether pods of a namespace are observed.
    #[must_use]
    pub fn wants(&self, namespace: &str) -> bool {
        let has = |list: &[String]| list.iter().any(|known| known == namespace);
        !has(&self.exclude_namespaces) && (self.namespaces.is_empty() || has(&self.namespaces))
    }
}

/// Whether the API server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum Enabled {
    /// Where a service account and the address of an API server are there.
    Auto,
    /// Wherever the sensor runs.
    Always,
    /// Nowhere.
    Never,
}
