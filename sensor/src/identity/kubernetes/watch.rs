//! One watch: its events in order, its failures counted, and a wait after each.

use std::collections::HashMap;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Error};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use super::OwnPod;
use super::object::{self, NodeObject, text};
use super::owners::Owners;
use super::pod::{Around, Pod};
use crate::config;
use crate::identity::workload::Node;
use crate::identity::{Directory, PodUid};
use crate::ship::sender::Backoff;

/// Objects of one page of a list.
const PAGE: u32 = 100;
/// A watch that has said nothing for so long after a failure is taken to be well again: a quiet watch says nothing.
const WELL_AFTER: Duration = Duration::from_secs(10);
/// How long pods wait for the node's labels at the start.
const NODE_WAIT: Duration = Duration::from_secs(2);
const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Pods,
    Nodes,
    Services,
    EndpointSlices,
}

impl Resource {
    pub(super) const ALL: [Self; 4] = [Self::Pods, Self::Nodes, Self::Services, Self::EndpointSlices];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Nodes => "nodes",
            Self::Services => "services",
            Self::EndpointSlices => "endpointslices",
        }
    }
}

/// Why a watch failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// No service account.
    Credentials,
    /// No connection, or one that broke.
    Network,
    /// 401: the token is not accepted.
    Unauthorized,
    /// 403: the role does not allow it.
    Forbidden,
    /// 410: what was known is too old, so all is listed anew.
    Gone,
    /// 429: too many requests.
    Throttled,
    /// 5xx.
    Server,
    /// An answer that can't be read, or another status.
    Answer,
}

impl Cause {
    pub(super) const ALL: [Self; 8] = [
        Self::Credentials,
        Self::Network,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Gone,
        Self::Throttled,
        Self::Server,
        Self::Answer,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Network => "network",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Gone => "gone",
            Self::Throttled => "throttled",
            Self::Server => "server",
            Self::Answer => "answer",
        }
    }

    const fn of_status(code: u16) -> Self {
        match code {
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            410 => Self::Gone,
            429 => Self::Throttled,
            500..=599 => Self::Server,
            _ => Self::Answer,
        }
    }

    /// The cause, and how long the server asks to wait.
    pub(super) fn of(error: &Error) -> (Self, Option<Duration>) {
        match error {
            Error::Api(status) => {
                let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                let after = (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)));
                (Self::of_status(status.code), after)
            }
            Error::Auth(_) => (Self::Credentials, None),
            Error::SerdeError(_) | Error::FromUtf8(_) | Error::BuildRequest(_) => (Self::Answer, None),
            _ => (Self::Network, None),
        }
    }

    fn of_watch(error: &watcher::Error) -> (Self, Option<Duration>) {
        match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => Self::of(error),
            watcher::Error::WatchError(status) => (Self::of_status(status.code), None),
            watcher::Error::NoResourceVersion => (Self::Answer, None),
        }
    }
}

/// How a watch fares.
#[derive(Debug, Default)]
pub(super) struct Watch {
    is_synced: AtomicBool,
    failures: [AtomicU64; Cause::ALL.len()],
    error: Mutex<Option<String>>,
}

impl Watch {
    /// Whether a list was read to its end, ever.
    pub(super) fn is_synced(&self) -> bool {
        self.is_synced.load(Ordering::Relaxed)
    }

    /// What is wrong now.
    pub(super) fn error(&self) -> Option<String> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often it has failed.
    pub(super) fn failures(&self, cause: Cause) -> u64 {
        self.failures[cause as usize].load(Ordering::Relaxed)
    }

    /// It failed; whether it was well before.
    pub(super) fn failed(&self, cause: Cause, message: &str) -> bool {
        self.failures[cause as usize].fetch_add(1, Ordering::Relaxed);
        let text = format!("{}: {message}", cause.name());
        self.error.lock().unwrap_or_else(PoisonError::into_inner).replace(text).is_none()
    }

    /// It is well; whether it was not before.
    fn is_well(&self) -> bool {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }
}

/// All watches.
#[derive(Debug, Default)]
pub(super) struct Watches([Watch; Resource::ALL.len()]);

impl Watches {
    pub(super) fn of(&self, resource: Resource) -> &Watch {
        &self.0[resource as usize]
    }
}

/// A watch of all objects that `fields` selects, or of all, in pages of `page`.
pub(super) fn selection(fields: Option<String>, page: u32) -> watcher::Config {
    let config = watcher::Config::default().page_size(page);
    match fields {
        Some(fields) => config.fields(&fields),
        None => config,
    }
}

/// Hands the events of a watch to `take`, for ever.
pub(super) async fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    resource: Resource,
    watches: &Watches,
    mut take: impl AsyncFnMut(Event<K>),
) where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let watch = watches.of(resource);
    let name = resource.name();
    let mut events = pin!(watcher(api, config));
    let mut backoff = Backoff::default();
    let mut random = SmallRng::from_os_rng();
    loop {
        let event = match tokio::time::timeout(WELL_AFTER, events.next()).await {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(_) => {
                if watch.is_synced() && watch.is_well() {
                    tracing::info!("the watch of {name} goes on");
                }
                continue;
            }
        };
        match event {
            Ok(event) => {
                // A list begins before the server was asked.
                if !matches!(event, Event::Init) {
                    backoff.reset();
                    if watch.is_well() {
                        tracing::info!("the watch of {name} goes on");
                    }
                }
                let is_complete = matches!(event, Event::InitDone);
                take(event).await;
                if is_complete {
                    watch.is_synced.store(true, Ordering::Relaxed);
                }
            }
            Err(error) => {
                let (cause, after) = Cause::of_watch(&error);
                if watch.failed(cause, &error.to_string()) {
                    tracing::warn!("the watch of {name} failed, what is known stays: {error}");
                }
                // The server is there and began the watch: failures of before are no reason to wait with the list.
                if cause == Cause::Gone && matches!(error, watcher::Error::WatchError(_)) {
                    backoff.reset();
                }
                tokio::time::sleep(backoff.failed(after, &mut random)).await;
            }
        }
    }
}

/// Watches this node's labels; `is_first` is told when they are known.
pub(super) async fn nodes(
    client: &Client,
    name: &str,
    directory: &Directory,
    watches: &Watches,
    is_first: &Notify,
) {
    let config = selection(Some(format!("metadata.name={name}")), PAGE);
    directory.set_node(Node { name: name.into(), ..Node::default() });
    follow(Api::<NodeObject>::all(client.clone()), config, Resource::Nodes, watches, async |event| {
        if let Event::Apply(node) | Event::InitApply(node) = event {
            let label = |key| text(node.metadata.labels.as_ref(), key).unwrap_or_default().into();
            let found = Node { name: name.into(), region: label(REGION), zone: label(ZONE) };
            if *directory.node() != found {
                directory.set_node(found);
            }
            is_first.notify_one();
        }
    })
    .await;
}

/// The watch of the pods of this node.
pub(super) struct Pods {
    settings: config::Kubernetes,
    own: OwnPod,
    directory: Arc<Directory>,
    client: Client,
    node: String,
}

impl Pods {
    pub(super) fn new(
        settings: config::Kubernetes,
        own: OwnPod,
        directory: Arc<Directory>,
        client: Client,
        node: String,
    ) -> Self {
        Self { settings, own, directory, client, node }
    }

    /// Follows them, for ever.
    pub(super) async fn run(self, watches: &Watches, is_first: &Notify) {
        // A pod keeps the zone that was known when it was read.
        let _ = tokio::time::timeout(NODE_WAIT, is_first.notified()).await;
        let config = selection(Some(format!("spec.nodeName={}", self.node)), PAGE);
        let api = Api::<object::Pod>::all(self.client.clone());
        let mut owners = Owners::new(self.client.clone());
        // The API's uid of a pod of a static manifest is not the one that it is known by.
        let mut uids: HashMap<String, PodUid> = HashMap::new();
        follow(api, config, Resource::Pods, watches, async |event| match event {
            Event::Init => self.directory.list_begins(),
            Event::InitApply(pod) | Event::Apply(pod) => {
                let owner = owners.of(&pod).await;
                let node = self.directory.node();
                let around = Around { settings: &self.settings, node: &node, own: &self.own };
                if let Some(read) = Pod::read(&pod, owner, &around) {
                    if let Some(api_uid) = &pod.metadata.uid
                        && PodUid::parse(api_uid) != Some(read.uid)
                    {
                        uids.insert(api_uid.clone(), read.uid);
                    }
                    self.directory.put(read);
                }
            }
            Event::Delete(pod) => {
                let Some(api_uid) = pod.metadata.uid else { return };
                if let Some(uid) = uids.remove(&api_uid).or_else(|| PodUid::parse(&api_uid)) {
                    self.directory.end(uid, Instant::now());
                }
            }
            Event::InitDone => self.directory.list_ends(Instant::now()),
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::ready;

    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::{Request, Response};
    use serde_json::{Value, json};
    use tower::service_fn;

    use super::*;

    #[test]
    fn each_status_has_a_cause() {
        for (code, cause) in [
            (401, Cause::Unauthorized),
            (403, Cause::Forbidden),
            (410, Cause::Gone),
            (429, Cause::Throttled),
            (503, Cause::Server),
            (404, Cause::Answer),
        ] {
            assert_eq!(Cause::of_status(code), cause);
        }
    }

    #[test]
    fn a_failure_is_told_once_and_so_is_its_end() {
        let watch = Watch::default();
        assert!(watch.failed(Cause::Forbidden, "x"));
        assert!(!watch.failed(Cause::Forbidden, "x"));
        assert_eq!((watch.failures(Cause::Forbidden), watch.failures(Cause::Gone)), (2, 0));
        assert_eq!(watch.error().as_deref(), Some("forbidden: x"));
        assert!(watch.is_well() && !watch.is_well());
    }

    fn status(code: u16) -> Value {
        json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code })
    }

    /// A server that was away until the wait had grown, and has forgotten meanwhile what the watch goes on from.
    #[tokio::test(start_paused = true)]
    async fn what_is_forgotten_is_listed_as_soon_as_the_server_is_back() {
        const REFUSALS: usize = 20;
        let (asked, back) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let (log, is_back) = (Arc::clone(&asked), Arc::clone(&back));
        let server = service_fn(move |request: Request<kube::client::Body>| {
            let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
            let mut log = log.lock().unwrap();
            log.push((tokio::time::Instant::now(), is_watch));
            let (code, answer) = match log.len() {
                1 => (200, json!({ "kind": "List", "metadata": { "resourceVersion": "1" }, "items": [] })),
                len if len < 2 + REFUSALS => (503, status(503)),
                len if len == 2 + REFUSALS => (200, json!({ "type": "ERROR", "object": status(410) })),
                _ => {
                    is_back.notify_one();
                    (503, status(503))
                }
            };
            let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
            *response.status_mut() = hyper::StatusCode::from_u16(code).unwrap();
            ready(Ok::<_, Infallible>(response))
        });
        let api = Api::<object::Pod>::all(Client::new(server, "default"));
        let watches = Watches::default();
        tokio::select! {
            () = follow(api, selection(None, PAGE), Resource::Pods, &watches, async |_| {}) => unreachable!(),
            () = back.notified() => {}
        }
        let asked = asked.lock().unwrap();
        let (forgotten, listed) = (asked[1 + REFUSALS], asked[2 + REFUSALS]);
        assert!(forgotten.1 && !listed.1, "{asked:?}");
        let waited = listed.0 - forgotten.0;
        assert!(waited <= Duration::from_secs(1), "{waited:?}");
        assert_eq!(watches.of(Resource::Pods).failures(Cause::Gone), 1);
    }
}
