//! Who took part in an exchange, and which route it took.

pub mod addresses;
mod cgroup;
mod directory;
pub mod kubernetes;
mod name;
mod process;
mod stat;
pub mod workload;

use std::sync::Arc;

pub use cgroup::{ContainerId, InContainer, PodUid};
pub use directory::{Directory, Found};
pub use kubernetes::Kubernetes;
pub use name::service_name;
pub use process::{CAPACITY, Known, PATIENCE, Processes, Sight, is_ending, numbers, running};
pub use stat::Stat;
pub use workload::{Container, Identity, Service, Workload};

use crate::{protocol::Exchange, trace::SpanIds};

/// An exchange with the names that metrics and spans carry.
#[derive(Clone, Debug)]
pub struct Observed {
    /// What was seen.
    pub exchange: Exchange,
    /// `service.name` of the local end.
    pub service_name: Arc<str>,
    /// The container that the local process is in; `None` on a bare host.
    pub container: Option<Arc<Container>>,
    /// `http.route`: the path with its variable segments as placeholders; `*` once the service has more routes than
    /// the limit, empty where the path is not known.
    pub route: Arc<str>,
    /// What joins its span to others.
    pub span: SpanIds,
}

impl Observed {
    /// The local end, as connections are told by it.
    #[must_use]
    pub fn service(&self) -> Service {
        Service::new(&self.service_name, self.container.as_deref())
    }

    /// What metrics are told by, beside the service's name.
    #[must_use]
    pub fn workload(&self) -> Option<&Arc<Workload>> {
        self.container.as_ref().map(|container| &container.workload)
    }
}
