//! What is known of a container, as metrics, spans, connections and log records carry it.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use super::cgroup::{ContainerId, PodUid};

/// What made a pod, in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WorkloadKind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` ReplicaSet that nothing else made.
    ReplicaSet,
    /// `apps/v1` StatefulSet.
    StatefulSet,
    /// `apps/v1` DaemonSet.
    DaemonSet,
    /// `batch/v1` CronJob.
    CronJob,
    /// `batch/v1` Job that nothing else made.
    Job,
    /// `argoproj.io/v1alpha1` Rollout.
    Rollout,
}

impl WorkloadKind {
    /// By its `kind`, whatever the version of its API.
    #[must_use]
    pub fn parse(kind: &str) -> Option<Self> {
        Some(match kind {
            "Deployment" => Self::Deployment,
            "ReplicaSet" => Self::ReplicaSet,
            "StatefulSet" => Self::StatefulSet,
            "DaemonSet" => Self::DaemonSet,
            "CronJob" => Self::CronJob,
            "Job" => Self::Job,
            "Rollout" => Self::Rollout,
            _ => return None,
        })
    }

    /// Its name's resource attribute. The conventions have none for a Rollout; it is named in their way.
    #[must_use]
    pub const fn attribute(self) -> &'static str {
        match self {
            Self::Deployment => "k8s.deployment.name",
            Self::ReplicaSet => "k8s.replicaset.name",
            Self::StatefulSet => "k8s.statefulset.name",
            Self::DaemonSet => "k8s.daemonset.name",
            Self::CronJob => "k8s.cronjob.name",
            Self::Job => "k8s.job.name",
            Self::Rollout => "k8s.rollout.name",
        }
    }

    /// The attribute as a label of Prometheus.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Deployment => "k8s_deployment_name",
            Self::ReplicaSet => "k8s_replicaset_name",
            Self::StatefulSet => "k8s_statefulset_name",
            Self::DaemonSet => "k8s_daemonset_name",
            Self::CronJob => "k8s_cronjob_name",
            Self::Job => "k8s_job_name",
            Self::Rollout => "k8s_rollout_name",
        }
    }
}

/// What the pods of one workload have in common: what metrics are told by. Empty text is what is not known.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// `service.namespace`.
    pub service_namespace: Arc<str>,
    /// `k8s.namespace.name`.
    pub namespace: Arc<str>,
    /// What made the pod, and its name.
    pub owner: Option<(WorkloadKind, Arc<str>)>,
    /// `k8s.container.name`.
    pub container: Arc<str>,
    /// `k8s.pod.name`, only where metrics are to be told by pod.
    pub pod: Arc<str>,
}

impl Hash for Workload {
    /// Of what differs most; equality looks at all of it.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.namespace.hash(state);
        self.owner.as_ref().map(|(_, name)| name).hash(state);
        self.container.hash(state);
    }
}

impl Workload {
    /// Its labels; what is empty is no label.
    pub fn labels(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let owner = self.owner.as_ref().map(|(kind, name)| (kind.label(), &**name));
        [
            ("service_namespace", &*self.service_namespace),
            ("k8s_namespace_name", &*self.namespace),
            ("k8s_container_name", &*self.container),
            ("k8s_pod_name", &*self.pod),
        ]
        .into_iter()
        .chain(owner)
    }
}

/// A node, as far as what runs on it is told by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// `k8s.node.name`.
    pub name: Arc<str>,
    /// `cloud.region`, from the label `topology.kubernetes.io/region`.
    pub region: Arc<str>,
    /// `cloud.availability_zone`, from the label `topology.kubernetes.io/zone`.
    pub zone: Arc<str>,
}

/// A container of a pod. Empty text is what is not known.
#[derive(Debug, PartialEq, Eq)]
pub struct Container {
    /// `container.id`.
    pub id: ContainerId,
    /// `k8s.pod.uid`.
    pub pod_uid: Option<PodUid>,
    /// `k8s.pod.name`.
    pub pod: Arc<str>,
    /// `service.name`; empty where nothing but the process's own name is known.
    pub service_name: Arc<str>,
    /// `service.instance.id`.
    pub instance_id: Arc<str>,
    /// `service.version`.
    pub version: Arc<str>,
    /// `deployment.environment.name`.
    pub environment: Arc<str>,
    /// What it has in common with its like.
    pub workload: Arc<Workload>,
    /// Where it runs.
    pub node: Arc<Node>,
    /// What of it is observed.
    pub wanted: Wanted,
}

/// What of a container is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its requests, as server and client.
    pub http: bool,
    /// What it writes to its standard streams.
    pub logs: bool,
    /// Its connections.
    pub flows: bool,
}

impl Wanted {
    /// Everything.
    pub const ALL: Self = Self { http: true, logs: true, flows: true };
    /// Nothing.
    pub const NONE: Self = Self { http: false, logs: false, flows: false };
}

impl Container {
    /// One of which nobody knows more than its ids.
    #[must_use]
    pub fn unknown(id: ContainerId, pod_uid: Option<PodUid>, node: Arc<Node>) -> Self {
        let nothing: Arc<str> = "".into();
        Self {
            id,
            pod_uid,
            pod: Arc::clone(&nothing),
            service_name: Arc::clone(&nothing),
            instance_id: Arc::clone(&nothing),
            version: Arc::clone(&nothing),
            environment: nothing,
            workload: Arc::default(),
            node,
            wanted: Wanted::ALL,
        }
    }

    /// Its resource attributes after the semantic conventions 1.44, but for `service.name`.
    pub fn attributes(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        let workload = &self.workload;
        let texts = [
            ("service.namespace", &workload.service_namespace),
            ("service.instance.id", &self.instance_id),
            ("service.version", &self.version),
            ("deployment.environment.name", &self.environment),
            ("k8s.namespace.name", &workload.namespace),
            ("k8s.pod.name", &self.pod),
            ("k8s.container.name", &workload.container),
            ("k8s.node.name", &self.node.name),
            ("cloud.region", &self.node.region),
            ("cloud.availability_zone", &self.node.zone),
        ];
        let owner = workload.owner.as_ref().map(|(kind, name)| (kind.attribute(), name));
        let uid = self.pod_uid.map(|uid| ("k8s.pod.uid", Cow::Owned(uid.to_string())));
        texts
            .into_iter()
            .chain(owner)
            .map(|(key, text)| (key, Cow::Borrowed(&**text)))
            .chain(uid)
            .chain([("container.id", Cow::Owned(self.id.to_string()))])
            .filter(|(_, text)| !text.is_empty())
    }
}

/// A service, as connections are told by it: its name, and what it is in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Service {
    /// `service.name`; empty where it is not known.
    pub name: Arc<str>,
    /// `None` on a bare host.
    pub workload: Option<Arc<Workload>>,
    /// Its connections are left alone.
    pub is_left_alone: bool,
}

impl Deref for Service {
    type Target = str;

    fn deref(&self) -> &str {
        &self.name
    }
}

impl From<&str> for Service {
    fn from(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

impl Service {
    /// One of this name, in a container or not.
    #[must_use]
    pub fn new(name: &Arc<str>, container: Option<&Container>) -> Self {
        Self {
            name: Arc::clone(name),
            workload: container.map(|container| Arc::clone(&container.workload)),
            is_left_alone: container.is_some_and(|container| !container.wanted.flows),
        }
    }

    /// Its namespace; empty on a bare host.
    #[must_use]
    pub fn namespace(&self) -> Arc<str> {
        self.workload.as_ref().map(|workload| Arc::clone(&workload.service_namespace)).unwrap_or_default()
    }
}

/// Who a process is: what everything that is told of it is told by.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `service.name`: of the container where it is in one that is known, else of the process.
    pub service_name: Arc<str>,
    /// The container that it is in.
    pub container: Option<Arc<Container>>,
}

impl Identity {
    /// A process of which its name is known.
    #[must_use]
    pub fn of_process(name: Arc<str>) -> Self {
        Self { service_name: name, container: None }
    }

    /// A process of this name in a container.
    #[must_use]
    pub fn new(name: &Arc<str>, container: &Arc<Container>) -> Self {
        let known = &container.service_name;
        let service_name = Arc::clone(if known.is_empty() { name } else { known });
        Self { service_name, container: Some(Arc::clone(container)) }
    }

    /// As connections are told by it.
    #[must_use]
    pub fn service(&self) -> Service {
        Service::new(&self.service_name, self.container.as_deref())
    }
}
