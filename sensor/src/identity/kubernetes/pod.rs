//! From a pod of the API to the identities of its containers.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::object::{self, text};
use crate::config::Kubernetes;
use crate::identity::workload::{Container, Node, Wanted, Workload, WorkloadKind};
use crate::identity::{ContainerId, PodUid};
use crate::metric::labels::sanitise;

/// Annotations under which a pod names its resource attributes (OpenTelemetry, "Specify resource attributes using
/// Kubernetes annotations").
const RESOURCE: &str = "resource.opentelemetry.io/";
/// Annotations by which a pod is left alone, one a signal: `sensor.lionpay.io/http: "off"`.
const SWITCH: &str = "sensor.lionpay.io/";
/// The uid under which the kubelet runs a pod of a static manifest; the API's object of it has another one.
const STATIC_UID: &str = "kubernetes.io/config.hash";
/// The hash that the Deployment controller puts into the name of a ReplicaSet and the labels of its pods.
const DEPLOYMENT_HASH: &str = "pod-template-hash";
/// The same of Argo Rollouts.
const ROLLOUT_HASH: &str = "rollouts-pod-template-hash";

/// What made a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Known in the end.
    Known(WorkloadKind, Arc<str>),
    /// A Job: what made that is not told by the pod.
    Job(Arc<str>),
    /// Nothing, or something that is no workload.
    Nothing,
}

/// The controller of an object: its kind and name.
fn controller(metadata: &ObjectMeta) -> Option<(&str, &str)> {
    let owners = metadata.owner_references.as_deref()?;
    let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
    Some((&owner.kind, &owner.name))
}

/// What made a pod, as far as the pod tells.
pub(super) fn owner(pod: &object::Pod) -> Owner {
    let Some((kind, name)) = controller(&pod.metadata) else { return Owner::Nothing };
    let Some(kind) = WorkloadKind::parse(kind) else { return Owner::Nothing };
    match kind {
        WorkloadKind::Job => Owner::Job(name.into()),
        WorkloadKind::ReplicaSet => {
            let made = |hash: &str, kind| {
                let hash = text(pod.metadata.labels.as_ref(), hash)?;
                let name = name.strip_suffix(hash)?.strip_suffix('-')?;
                Some(Owner::Known(kind, name.into()))
            };
            made(ROLLOUT_HASH, WorkloadKind::Rollout)
                .or_else(|| made(DEPLOYMENT_HASH, WorkloadKind::Deployment))
                .unwrap_or_else(|| Owner::Known(kind, name.into()))
        }
        other => Owner::Known(other, name.into()),
    }
}

/// The CronJob that made a Job.
pub(super) fn cron_job(job: &object::Job) -> Option<Arc<str>> {
    let (kind, name) = controller(&job.metadata)?;
    (kind == "CronJob").then(|| name.into())
}

/// A pod of this node.
#[derive(Debug)]
pub(in crate::identity) struct Pod {
    /// The uid of its control groups.
    pub(in crate::identity) uid: PodUid,
    /// Ids and identities of the containers that were made so far.
    pub(in crate::identity) containers: Vec<(ContainerId, Arc<Container>)>,
    /// The identity that every container has whose id is not told yet: that of the only container, or one without a
    /// container's name.
    pub(in crate::identity) template: Template,
}

/// An identity but for its container's id.
#[derive(Debug)]
pub(in crate::identity) struct Template {
    /// Whether nothing is missing but the id.
    pub(in crate::identity) is_whole: bool,
    container: Container,
}

impl Template {
    /// The identity of a container of this pod.
    pub(in crate::identity) fn of(&self, id: ContainerId) -> Container {
        let known = &self.container;
        Container {
            id,
            pod_uid: known.pod_uid,
            pod: Arc::clone(&known.pod),
            service_name: Arc::clone(&known.service_name),
            instance_id: Arc::clone(&known.instance_id),
            version: Arc::clone(&known.version),
            environment: Arc::clone(&known.environment),
            workload: Arc::clone(&known.workload),
            node: Arc::clone(&known.node),
            wanted: known.wanted,
        }
    }
}

/// What an identity takes from settings and surroundings.
pub(super) struct Around<'a> {
    pub(super) settings: &'a Kubernetes,
    pub(super) node: &'a Arc<Node>,
    /// The sensor's own pod.
    pub(super) own: &'a super::OwnPod,
}

impl Pod {
    /// Reads a pod; `None` when it has no uid that a control group could have. `owner` is what made it in the end.
    pub(super) fn read(
        pod: &object::Pod,
        owner: Option<(WorkloadKind, Arc<str>)>,
        around: &Around<'_>,
    ) -> Option<Self> {
        let api_uid = pod.metadata.uid.as_deref()?;
        let uid = text(pod.metadata.annotations.as_ref(), STATIC_UID).unwrap_or(api_uid);
        let uid = PodUid::parse(uid)?;
        let describe = Describe::new(pod, owner, uid, api_uid, around);
        let specs = [&pod.spec.containers, &pod.spec.init_containers, &pod.spec.ephemeral_containers];
        let mut specs = specs.into_iter().flatten();
        let template = match (specs.next(), specs.next()) {
            (Some(only), None) => Template { is_whole: true, container: describe.container(&only.name) },
            _ => Template { is_whole: false, container: describe.container("") },
        };
        let status = &pod.status;
        let statuses = [
            &status.container_statuses,
            &status.init_container_statuses,
            &status.ephemeral_container_statuses,
        ];
        let mut containers = Vec::new();
        for status in statuses.into_iter().flatten() {
            let before = status.last_state.terminated.as_ref().map(|before| &*before.container_id);
            for id in [Some(&*status.container_id), before].into_iter().flatten() {
                if let Some(id) = ContainerId::parse_uri(id) {
                    containers.push((id, Arc::new(Container { id, ..describe.container(&status.name) })));
                }
            }
        }
        Some(Self { uid, containers, template })
    }
}

/// A pod's texts, made once.
struct Describe<'a> {
    pod: &'a object::Pod,
    uid: PodUid,
    namespace: Arc<str>,
    name: Arc<str>,
    service_name: Option<Arc<str>>,
    service_namespace: Arc<str>,
    environment: Arc<str>,
    owner: Option<(WorkloadKind, Arc<str>)>,
    wanted: Wanted,
    around: &'a Around<'a>,
}

impl<'a> Describe<'a> {
    fn new(
        pod: &'a object::Pod,
        owner: Option<(WorkloadKind, Arc<str>)>,
        uid: PodUid,
        api_uid: &str,
        around: &'a Around<'a>,
    ) -> Self {
        let metadata = &pod.metadata;
        let namespace: Arc<str> = metadata.namespace.as_deref().unwrap_or_default().into();
        let name: Arc<str> = metadata.name.as_deref().unwrap_or_default().into();
        let annotation = |key: &str| text(metadata.annotations.as_ref(), &format!("{RESOURCE}{key}"));
        let label = |key: &str| {
            let by_labels = around.settings.service_labels;
            by_labels.then(|| text(metadata.labels.as_ref(), &format!("app.kubernetes.io/{key}"))).flatten()
        };
        let service_name = annotation("service.name").or_else(|| label("instance")).or_else(|| label("name"));
        let service_name = service_name.map(Arc::from).or_else(|| Some(Arc::clone(&owner.as_ref()?.1)));
        let service_namespace = annotation("service.namespace").or_else(|| label("part-of"));
        let own = around.own;
        let is_own = own.is(api_uid, &namespace, &name);
        let workload = owner.as_ref().map_or(&name, |(_, name)| name);
        let of_label = |key: &str| metadata.labels.as_ref()?.get(key).map(String::as_str);
        let wanted = if is_own || !around.settings.wants(&namespace, workload, of_label) {
            Wanted::NONE
        } else {
            wanted(metadata.annotations.as_ref())
        };
        Self {
            pod,
            uid,
            service_name,
            // It becomes part of the keys of series.
            service_namespace: service_namespace
                .map_or_else(|| Arc::clone(&namespace), |text| sanitise(text).into()),
            environment: annotation("deployment.environment.name").unwrap_or_default().into(),
            namespace,
            name,
            owner,
            wanted,
            around,
        }
    }

    /// The identity of the container of this name, without its id.
    fn container(&self, container: &str) -> Container {
        let annotations = self.pod.metadata.annotations.as_ref();
        let annotation = |key: &str| text(annotations, &format!("{RESOURCE}{key}"));
        let instance_id = annotation("service.instance.id").map_or_else(
            || {
                let parts = [&*self.namespace, &*self.name, container];
                parts.join(".").trim_end_matches('.').into()
            },
            Arc::from,
        );
        let by_pod = self.around.settings.metrics_by_pod;
        let workload = Arc::new(Workload {
            service_namespace: Arc::clone(&self.service_namespace),
            namespace: Arc::clone(&self.namespace),
            owner: self.owner.clone(),
            container: container.into(),
            pod: if by_pod { Arc::clone(&self.name) } else { Arc::default() },
        });
        Container {
            id: ContainerId::NONE,
            pod_uid: Some(self.uid),
            pod: Arc::clone(&self.name),
            service_name: self.service_name.clone().unwrap_or_else(|| Arc::clone(&self.name)),
            instance_id,
            version: self.version(container).into(),
            environment: Arc::clone(&self.environment),
            workload,
            node: Arc::clone(self.around.node),
            wanted: self.wanted,
        }
    }

    /// `service.version`: what the pod says, else the image's tag or digest.
    fn version(&self, container: &str) -> &str {
        let metadata = &self.pod.metadata;
        let said = text(metadata.annotations.as_ref(), &format!("{RESOURCE}service.version"));
        let by_labels = self.around.settings.service_labels;
        let label = || text(metadata.labels.as_ref(), "app.kubernetes.io/version").filter(|_| by_labels);
        if let Some(said) = said.or_else(label) {
            return said;
        }
        let spec = &self.pod.spec;
        let specs = [&spec.containers, &spec.init_containers, &spec.ephemeral_containers];
        let mut specs = specs.into_iter().flatten();
        specs.find(|spec| spec.name == container).map_or("", |spec| image_version(&spec.image))
    }
}

/// The tag of an image, else its digest; nothing where it has neither.
fn image_version(image: &str) -> &str {
    let (name, digest) = image.split_once('@').map_or((image, ""), |(name, digest)| (name, digest));
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split_once(':').map_or(digest, |(_, tag)| tag)
}

/// What a pod's annotations leave on.
fn wanted(annotations: Option<&BTreeMap<String, String>>) -> Wanted {
    let is_on = |signal: &str| {
        text(annotations, &format!("{SWITCH}{signal}")).is_none_or(|value| !value.eq_ignore_ascii_case("off"))
    };
    Wanted { http: is_on("http"), logs: is_on("logs"), flows: is_on("flows") }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::identity::kubernetes::OwnPod;

    const UID: &str = "0b4b1c5e-3a9b-4a52-8f7d-1c2d3e4f5a6b";
    const ID: &str = "5d1c0d6f2a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5";

    fn pod(kind: &str, name: &str, labels: Value) -> Value {
        json!({
            "metadata": {
                "name": "shop-x", "namespace": "pay", "uid": UID, "labels": labels,
                "ownerReferences": [{"apiVersion": "v1", "kind": kind, "name": name, "uid": "x", "controller": true}]
            },
            "spec": { "containers": [{ "name": "app", "image": "registry:5000/shop:1.2@sha256:ab" }] }
        })
    }

    fn parse(pod: Value) -> object::Pod {
        serde_json::from_value(pod).unwrap()
    }

    fn read(pod: Value, settings: &Kubernetes) -> Pod {
        let pod = parse(pod);
        let owner = match owner(&pod) {
            Owner::Known(kind, name) => Some((kind, name)),
            Owner::Job(name) => Some((WorkloadKind::Job, name)),
            Owner::Nothing => None,
        };
        let around = Around {
            settings,
            node: &Arc::new(Node::default()),
            own: &OwnPod { uid: UID.into(), ..OwnPod::default() },
        };
        Pod::read(&pod, owner, &around).unwrap()
    }

    #[test]
    fn a_replica_set_is_its_makers_only_where_the_pod_says_so() {
        let of = |kind, name, labels| owner(&parse(pod(kind, name, labels)));
        let hash = json!({"pod-template-hash": "abc"});
        assert_eq!(
            of("ReplicaSet", "shop-abc", hash.clone()),
            Owner::Known(WorkloadKind::Deployment, "shop".into())
        );
        assert_eq!(
            of("ReplicaSet", "shop-abc", json!({"rollouts-pod-template-hash": "abc"})),
            Owner::Known(WorkloadKind::Rollout, "shop".into())
        );
        for (name, labels) in
            [("shop-abd", hash), ("shop-abc", json!({})), ("abc", json!({"pod-template-hash": "abc"}))]
        {
            assert_eq!(of("ReplicaSet", name, labels), Owner::Known(WorkloadKind::ReplicaSet, name.into()));
        }
        assert_eq!(of("StatefulSet", "db", json!({})), Owner::Known(WorkloadKind::StatefulSet, "db".into()));
        assert_eq!(
            of("DaemonSet", "agent", json!({})),
            Owner::Known(WorkloadKind::DaemonSet, "agent".into())
        );
        assert_eq!(of("Job", "settle-1", json!({})), Owner::Job("settle-1".into()));
        assert_eq!(of("Node", "node-1", json!({})), Owner::Nothing);
    }

    #[test]
    fn the_only_container_is_known_before_its_id() {
        let settings = Kubernetes::default();
        let known = read(pod("StatefulSet", "db", json!({})), &settings);
        assert!(known.template.is_whole && known.containers.is_empty());
        let mut two = pod("StatefulSet", "db", json!({}));
        two["spec"]["initContainers"] = json!([{ "name": "init" }]);
        two["status"] =
            json!({ "initContainerStatuses": [{ "name": "init", "containerID": format!("cri-o://{ID}") }] });
        let known = read(two, &settings);
        assert!(!known.template.is_whole);
        let [(id, container)] = &known.containers[..] else { panic!("{known:?}") };
        assert_eq!((id.to_string().as_str(), &*container.workload.container), (ID, "init"));
        assert_eq!(known.template.of(*id).workload.container, "".into());
    }

    #[test]
    fn names_follow_the_order_of_the_conventions() {
        let name = |pod: Value, settings: &Kubernetes| {
            read(pod, settings).template.of(ContainerId::NONE).service_name.to_string()
        };
        let by_labels = Kubernetes { service_labels: true, ..Kubernetes::default() };
        let labels = json!({"app.kubernetes.io/name": "named", "app.kubernetes.io/instance": "instance"});
        let mut pod = pod("StatefulSet", "db", labels);
        assert_eq!(name(pod.clone(), &Kubernetes::default()), "db");
        assert_eq!(name(pod.clone(), &by_labels), "instance");
        pod["metadata"]["annotations"] = json!({"resource.opentelemetry.io/service.name": "said"});
        assert_eq!(name(pod.clone(), &by_labels), "said");
        pod["metadata"]["annotations"] = Value::Null;
        pod["metadata"]["ownerReferences"] = Value::Null;
        assert_eq!(name(pod, &Kubernetes::default()), "shop-x");
    }

    #[test]
    fn annotations_and_namespaces_switch_off() {
        let mut settings = Kubernetes::default();
        let mut pod = pod("StatefulSet", "db", json!({}));
        // The sensor's own pod.
        let wanted = |pod: &Value, settings: &Kubernetes| {
            read(pod.clone(), settings).template.of(ContainerId::NONE).wanted
        };
        assert_eq!(wanted(&pod, &settings), Wanted::NONE);
        pod["metadata"]["uid"] = json!("1b4b1c5e-3a9b-4a52-8f7d-1c2d3e4f5a6b");
        assert_eq!(wanted(&pod, &settings), Wanted::ALL);
        pod["metadata"]["annotations"] =
            json!({"sensor.lionpay.io/logs": "off", "sensor.lionpay.io/http": "on"});
        assert_eq!(wanted(&pod, &settings), Wanted { logs: false, ..Wanted::ALL });
        settings.exclude_namespaces = vec!["pay".to_owned()];
        assert_eq!(wanted(&pod, &settings), Wanted::NONE);
    }

    #[test]
    fn a_version_is_a_tag_or_a_digest() {
        for (image, version) in [
            ("shop", ""),
            ("shop:1.2", "1.2"),
            ("registry:5000/pay/shop", ""),
            ("registry:5000/pay/shop:1.2@sha256:ab", "1.2"),
            ("shop@sha256:ab", "sha256:ab"),
        ] {
            assert_eq!(image_version(image), version, "{image}");
        }
    }
}
