//! Settings of what is known of containers.

use std::path::PathBuf;

use serde::Deserialize;

use super::ConfigError;

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
    /// Names of workloads (Deployments, StatefulSets, CronJobs, …) whose pods are observed; empty observes those of all. A pod
    /// that nothing made goes by its own name.
    pub workloads: Vec<String>,
    /// Names of workloads whose pods are left alone; goes before `workloads`.
    pub exclude_workloads: Vec<String>,
    /// Labels, as `key` or `key=value`; only pods that have all of them are observed.
    pub pod_labels: Vec<String>,
    /// Labels, as `key` or `key=value`; pods that have one of them are left alone.
    pub exclude_pod_labels: Vec<String>,
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
            workloads: Vec::new(),
            exclude_workloads: Vec::new(),
            pod_labels: Vec::new(),
            exclude_pod_labels: Vec::new(),
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

    /// Whether pods of this namespace, workload and labels are observed.
    #[must_use]
    pub fn wants<'a>(
        &self,
        namespace: &str,
        workload: &str,
        label: impl Fn(&str) -> Option<&'a str>,
    ) -> bool {
        let is_chosen = |name: &str, chosen: &[String], left: &[String]| {
            let has = |list: &[String]| list.iter().any(|known| known == name);
            !has(left) && (chosen.is_empty() || has(chosen))
        };
        let has = |rule: &String| match rule.split_once('=') {
            Some((key, value)) => label(key).is_some_and(|found| found == value),
            None => label(rule).is_some(),
        };
        is_chosen(namespace, &self.namespaces, &self.exclude_namespaces)
            && is_chosen(workload, &self.workloads, &self.exclude_workloads)
            && self.pod_labels.iter().all(has)
            && !self.exclude_pod_labels.iter().any(has)
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        for (key, names) in [
            ("kubernetes.namespaces", &self.namespaces),
            ("kubernetes.exclude_namespaces", &self.exclude_namespaces),
            ("kubernetes.workloads", &self.workloads),
            ("kubernetes.exclude_workloads", &self.exclude_workloads),
        ] {
            super::load::names(key, names)?;
        }
        for (key, rules) in [
            ("kubernetes.pod_labels", &self.pod_labels),
            ("kubernetes.exclude_pod_labels", &self.exclude_pod_labels),
        ] {
            let is_rule = |rule: &&String| !rule.is_empty() && !rule.starts_with('=');
            if let Some(wrong) = rules.iter().find(|rule| !is_rule(rule)) {
                let allowed = "the key of a label, or `key=value`".to_owned();
                return Err(ConfigError::Value { key, value: format!("{wrong:?}"), allowed });
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_chosen_by_namespace_workload_and_labels() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let wants =
            |settings: &Kubernetes| settings.wants("pay", "shop", |key| (key == "tier").then_some("front"));
        let all = Kubernetes::default();
        assert!(wants(&all));
        for (chosen, names) in [
            (true, Kubernetes { namespaces: list(&["pay"]), ..all.clone() }),
            (false, Kubernetes { namespaces: list(&["bank"]), ..all.clone() }),
            (
                false,
                Kubernetes { namespaces: list(&["pay"]), exclude_namespaces: list(&["pay"]), ..all.clone() },
            ),
            (true, Kubernetes { workloads: list(&["bank", "shop"]), ..all.clone() }),
            (false, Kubernetes { exclude_workloads: list(&["shop"]), ..all.clone() }),
            (true, Kubernetes { pod_labels: list(&["tier", "tier=front"]), ..all.clone() }),
            (false, Kubernetes { pod_labels: list(&["tier", "team"]), ..all.clone() }),
            (false, Kubernetes { exclude_pod_labels: list(&["team", "tier=front"]), ..all.clone() }),
            (true, Kubernetes { exclude_pod_labels: list(&["tier=back"]), ..all.clone() }),
        ] {
            assert_eq!(wants(&names), chosen, "{names:?}");
        }
    }

    #[test]
    fn a_rule_has_a_key() {
        let wrong = Kubernetes { pod_labels: vec!["=x".to_owned()], ..Kubernetes::default() };
        assert!(wrong.validate().unwrap_err().to_string().contains("kubernetes.pod_labels"));
    }
}
