//! The configuration that `deploy/` gives to the sensors of each cluster.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Config, environment};

/// `NAME=value` lines, as kustomize reads them.
fn variables(path: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once('=').unwrap()).map(|(name, value)| (name.into(), value.into())).collect()
}

#[test]
fn every_cluster_has_a_valid_configuration() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let text = std::fs::read_to_string(deploy.join("base/sensor.yaml")).unwrap();
    let base = variables(&deploy.join("base/cluster.env"));
    let mut clusters = BTreeSet::new();
    for overlay in std::fs::read_dir(deploy.join("overlays")).unwrap() {
        let overlay = overlay.unwrap();
        let cluster = overlay.file_name().into_string().unwrap();
        let own = variables(&overlay.path().join("cluster.env"));
        assert!(
            own.keys().all(|name| base.contains_key(name)),
            "{cluster}: a variable that the base has not"
        );
        let mut all: BTreeMap<String, String> = base.clone().into_iter().chain(own).collect();
        all.insert("NODE_NAME".into(), "ip-10-0-1-2.ap-northeast-2.compute.internal".into());
        let used = RefCell::new(BTreeSet::new());
        let expanded = environment::expand(&text, &cluster, |name| {
            used.borrow_mut().insert(name.to_owned());
            all.get(name).cloned()
        });
        let mut config = Config::parse(&expanded.unwrap(), &cluster).unwrap();
        // These come from the Secret by variables of their own, which this test does not set for its process.
        let cloud = &mut config.ship.grafana_cloud;
        for user in [&mut cloud.metrics_user, &mut cloud.logs_user, &mut cloud.traces_user] {
            assert!(user.is_empty());
            *user = "1".into();
        }
        config.validate().unwrap();
        assert_eq!(config.ship.cluster, cluster);
        assert!(config.ship.grafana_cloud.enabled);
        assert_eq!(
            used.into_inner(),
            all.into_keys().collect(),
            "{cluster}: variables that are used and that there are"
        );
        clusters.insert(cluster);
    }
    assert_eq!(clusters, ["admin-seoul", "service-seoul", "service-tokyo"].map(String::from).into());
}
