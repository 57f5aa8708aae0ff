//! What the Kubernetes API tells: pods of this node, this node's labels, and addresses of Services and their pods.
//!
//! Four watches, each a list in pages and then one long request:
//!
//! | resource | selected by | page |
//! |---|---|---|
//! | `pods` | `spec.nodeName` | 100 |
//! | `nodes` | `metadata.name` | 100 |
//! | `services` | all | 500 |
//! | `endpointslices` | all | 100 |
//!
//! and one `get` for each Job that made a pod here, to know its CronJob. Objects are read without what the sensor does not
//! use, and kept as a few shared texts: some 250 bytes an address, some 1 KiB a pod of this node.
//!
//! All of it runs in a thread of its own. The sensor starts and goes on without the API server. What fails is asked for again after a wait that grows to a minute,
//! with jitter, or as long as the server says (`Retry-After`); what is known stays known meanwhile.

mod client;
mod object;
mod owners;
mod peers;
mod pod;
mod watch;

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::sync::watch as watch_channel;

pub(super) use pod::{Pod, Template};

use super::Directory;
use crate::config;
use crate::metric::{family, own::Own};
use watch::{Cause, Resource, Watches};

/// How often what has ended is looked after.
const SWEEP: Duration = Duration::from_secs(5);

/// The pod that the sensor itself is in, as the downward API tells it.
#[derive(Clone, Debug, Default)]
pub struct OwnPod {
    /// `POD_UID`.
    pub uid: String,
    /// `POD_NAMESPACE`.
    pub namespace: String,
    /// `POD_NAME`.
    pub name: String,
}

impl OwnPod {
    /// From the environment.
    #[must_use]
    pub fn of_environment() -> Self {
        let variable = |name| std::env::var(name).unwrap_or_default();
        Self { uid: variable("POD_UID"), namespace: variable("POD_NAMESPACE"), name: variable("POD_NAME") }
    }

    fn is(&self, uid: &str, namespace: &str, name: &str) -> bool {
        let by_name = !self.name.is_empty() && self.name == name && self.namespace == namespace;
        by_name || (!self.uid.is_empty() && self.uid == uid)
    }
}

/// Why the API server can't be asked.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// It is not known which pods are of this node.
    #[error(
        "the node's name is not known; hint: set the variable NODE_NAME (fieldRef spec.nodeName) or `kubernetes.node`"
    )]
    NoNode,
    /// It is not known where the API server is.
    #[error(
        "the address of the API server is not known; hint: set KUBERNETES_SERVICE_HOST or `kubernetes.api_server`"
    )]
    NoServer,
    /// There is no thread for it.
    #[error("start the thread for the API server: {0}")]
    Thread(io::Error),
    /// The address is none.
    #[error("`kubernetes.api_server`: {0}")]
    Server(String),
}

/// The watches, which run until this is dropped.
pub struct Kubernetes {
    directory: Arc<Directory>,
    watches: Arc<Watches>,
    node: String,
    /// The thread ends when this is gone.
    _stop: watch_channel::Sender<()>,
}

impl Kubernetes {
    /// Starts the watches, where the settings say so. Waits for nothing.
    ///
    /// # Errors
    /// When the node or the API server is not named.
    pub fn start(settings: &config::Kubernetes) -> Result<Option<Self>, KubernetesError> {
        if !settings.is_on() {
            return Ok(None);
        }
        let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let node = Some(settings.node.clone()).filter(|node| !node.is_empty());
        let node = node.or_else(|| variable("NODE_NAME")).ok_or(KubernetesError::NoNode)?;
        let server = client::address(settings, variable)?;
        let directory = Arc::new(Directory::default());
        let watches = Arc::new(Watches::default());
        let (stop, mut stopped) = watch_channel::channel(());
        let (settings, name) = (settings.clone(), node.clone());
        let (known, fared) = (Arc::clone(&directory), Arc::clone(&watches));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(KubernetesError::Thread)?;
        let thread = thread::Builder::new().name("kubernetes".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = run(settings, server, name, known, fared) => {}
                    // Nothing is ever sent: an error says that the sender is gone.
                    _ = stopped.changed() => {}
                }
            });
        });
        thread.map_err(KubernetesError::Thread)?;
        tracing::info!("pods of node {node} are known from the API server");
        Ok(Some(Self { directory, watches, node, _stop: stop }))
    }

    /// What is known.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory)
    }

    /// Shows how the watches fare.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            directory: Arc::clone(&self.directory),
            watches: Arc::clone(&self.watches),
            node: self.node.clone(),
        }
    }
}

/// How the watches fare, for `/status` and the sensor's own metrics.
#[derive(Clone)]
pub struct Report {
    directory: Arc<Directory>,
    watches: Arc<Watches>,
    node: String,
}

impl Report {
    /// For `/status`.
    #[must_use]
    pub fn status(&self) -> Value {
        let size = self.directory.size();
        let watches: serde_json::Map<String, Value> = Resource::ALL
            .into_iter()
            .map(|resource| {
                let watch = self.watches.of(resource);
                let error = watch.error();
                let state = json!({ "synced": watch.is_synced(), "up": error.is_none(), "error": error });
                (resource.name().to_owned(), state)
            })
            .collect();
        json!({
            "node": self.node,
            "pods": size.pods,
            "containers": size.containers,
            "addresses": size.addresses,
            "watches": watches,
        })
    }

    /// Brings the sensor's own metrics up to date.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus values are 64-bit floats")]
    pub fn measure(&self, own: &mut Own) {
        let size = self.directory.size();
        for (kind, count) in
            [("pods", size.pods), ("containers", size.containers), ("addresses", size.addresses)]
        {
            own.set(&family::KUBERNETES_KNOWN, &[kind], count as f64);
        }
        own.set(&family::KUBERNETES_LEFT_OUT, &[], size.left_out as f64);
        for resource in Resource::ALL {
            let watch = self.watches.of(resource);
            let is_up = watch.is_synced() && watch.error().is_none();
            own.set(&family::KUBERNETES_WATCH_UP, &[resource.name()], f64::from(u8::from(is_up)));
            for cause in Cause::ALL {
                let count = watch.failures(cause);
                own.set(&family::KUBERNETES_WATCH_FAILURES, &[resource.name(), cause.name()], count as f64);
            }
        }
    }
}

/// Makes the client, however long that takes, and runs the watches with it.
async fn run(
    settings: config::Kubernetes,
    server: hyper::Uri,
    node: String,
    directory: Arc<Directory>,
    watches: Arc<Watches>,
) {
    let client = client::client(&settings, &server, &watches).await;
    let own = OwnPod::of_environment();
    let is_first = Arc::new(tokio::sync::Notify::new());
    let pods = watch::Pods::new(settings, own, directory.clone(), client.clone(), node.clone());
    tokio::join!(
        watch::nodes(&client, &node, &directory, &watches, &is_first),
        pods.run(&watches, &is_first),
        peers::services(&client, &directory, &watches),
        peers::slices(&client, &directory, &watches),
        sweep(&directory),
    );
}

async fn sweep(directory: &Directory) {
    let mut interval = tokio::time::interval(SWEEP);
    loop {
        interval.tick().await;
        directory.sweep(Instant::now(), now_ns());
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`, the clock of the kernel side.
fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::identity::workload::Node;

    /// A pod with one container.
    pub(in crate::identity) fn pod(uid: &str, name: &str) -> Pod {
        let read = json!({
            "metadata": { "name": name, "namespace": "pay", "uid": uid },
            "spec": { "containers": [{ "name": "app", "image": "shop:1" }] }
        });
        let read: object::Pod = serde_json::from_value(read).unwrap();
        let settings = config::Kubernetes::default();
        let around =
            pod::Around { settings: &settings, node: &Arc::new(Node::default()), own: &OwnPod::default() };
        Pod::read(&read, None, &around).unwrap()
    }
}
