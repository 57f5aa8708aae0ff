//! What is known of this node's containers and of addresses in the cluster.
//!
//! Bounds: [`PODS_MAX`] pods of this node and [`CONTAINERS_MAX`] containers of each, and
//! [`ADDRESSES_MAX`](super::addresses::ADDRESSES_MAX) addresses. What finds no room is left out and counted. A pod that was
//! deleted is known for [`KEPT`], for what is told of it late. Everything is found by the pod's uid or the container's id, so
//! nothing is taken for its predecessor of the same name.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use super::addresses::{Addresses, Peer};
use super::cgroup::{ContainerId, InContainer, PodUid};
use super::kubernetes::{Pod, Template};
use super::workload::{Container, Node};

/// The most pods of this node.
pub(super) const PODS_MAX: usize = 1_024;
/// The most containers of a pod that are known at once, those of former starts included.
pub(super) const CONTAINERS_MAX: usize = 32;
/// How long a deleted pod is known.
pub(super) const KEPT: Duration = Duration::from_secs(30);

/// All that is known. Writers are the watches, readers are the pipeline and the reader of logs.
#[derive(Debug, Default)]
pub struct Directory {
    state: RwLock<State>,
    generation: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    node: Arc<Node>,
    pods: HashMap<PodUid, Entry>,
    containers: HashMap<ContainerId, PodUid>,
    addresses: Addresses,
    left_out: u64,
}

#[derive(Debug)]
struct Entry {
    template: Template,
    containers: Vec<(ContainerId, Arc<Container>)>,
    ended: Option<Instant>,
    /// In the list that is being read.
    is_listed: bool,
}

/// What is known of a container.
#[derive(Clone, Debug)]
pub enum Found {
    /// All that there is to know.
    Whole(Arc<Container>),
    /// Its pod, but not which of its containers it is.
    Pod(Arc<Container>),
    /// Its ids.
    Ids(Arc<Container>),
}

/// How much is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    /// Pods of this node.
    pub pods: usize,
    /// Their containers.
    pub containers: usize,
    /// Addresses in the cluster.
    pub addresses: usize,
    /// Pods and addresses for which there was no room.
    pub left_out: u64,
}

impl Directory {
    /// What is known of a container.
    #[must_use]
    pub fn find(&self, whose: InContainer) -> Found {
        let (uid, has_room) = {
            let state = self.read();
            let by_id = state.containers.get(&whose.container).copied();
            let uid = by_id.or(whose.pod).filter(|uid| state.pods.contains_key(uid));
            let Some((uid, entry)) = uid.and_then(|uid| Some((uid, state.pods.get(&uid)?))) else {
                return Found::Ids(Arc::new(Container::unknown(
                    whose.container,
                    whose.pod,
                    Arc::clone(&state.node),
                )));
            };
            if let Some((_, known)) = entry.containers.iter().find(|(id, _)| *id == whose.container) {
                return Found::Whole(Arc::clone(known));
            }
            if !entry.template.is_whole {
                return Found::Pod(Arc::new(entry.template.of(whose.container)));
            }
            (uid, entry.containers.len() < CONTAINERS_MAX)
        };
        // It is the pod's only one, so its name is known before the kubelet tells its id.
        let mut state = self.write();
        let State { pods, containers, .. } = &mut *state;
        let Some(entry) = pods.get_mut(&uid) else { return self.find(whose) };
        let container = Arc::new(entry.template.of(whose.container));
        if has_room {
            entry.containers.push((whose.container, Arc::clone(&container)));
            containers.insert(whose.container, uid);
        }
        Found::Whole(container)
    }

    /// What is known of a container, and whether that is all there is to know.
    #[must_use]
    pub fn look_up(&self, whose: InContainer) -> (Arc<Container>, bool) {
        let found = self.find(whose);
        let is_whole = matches!(found, Found::Whole(_));
        let (Found::Whole(container) | Found::Pod(container) | Found::Ids(container)) = found;
        (container, is_whole)
    }

    /// Who had an address at a time, in nanoseconds of `CLOCK_MONOTONIC`.
    #[must_use]
    pub fn peer(&self, address: IpAddr, time_ns: u64) -> Option<Arc<Peer>> {
        self.read().addresses.at(address, time_ns)
    }

    /// Changes with every change of a pod.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// How much is known.
    #[must_use]
    pub fn size(&self) -> Size {
        let state = self.read();
        Size {
            pods: state.pods.len(),
            containers: state.containers.len(),
            addresses: state.addresses.len(),
            left_out: state.left_out + state.addresses.left_out(),
        }
    }

    /// This node.
    #[must_use]
    pub fn node(&self) -> Arc<Node> {
        Arc::clone(&self.read().node)
    }

    /// Sets what is known of this node. Pods that are known already keep what they have until they change.
    pub(super) fn set_node(&self, node: Node) {
        self.write().node = Arc::new(node);
    }

    /// Changes what is known of addresses.
    pub(super) fn addresses<R>(&self, change: impl FnOnce(&mut Addresses) -> R) -> R {
        change(&mut self.write().addresses)
    }

    /// A pod appeared or changed.
    pub(super) fn put(&self, pod: Pod) {
        let mut state = self.write();
        let State { pods, containers, left_out, .. } = &mut *state;
        if pods.len() >= PODS_MAX && !pods.contains_key(&pod.uid) {
            *left_out += 1;
            return;
        }
        let mut known = pod.containers;
        known.truncate(CONTAINERS_MAX);
        if let Some(before) = pods.remove(&pod.uid) {
            // Those of former starts, and of those that are not told yet.
            for (id, container) in before.containers {
                if known.iter().any(|(other, _)| *other == id) {
                    continue;
                }
                if known.len() < CONTAINERS_MAX {
                    let container =
                        if pod.template.is_whole { Arc::new(pod.template.of(id)) } else { container };
                    known.push((id, container));
                } else {
                    containers.remove(&id);
                }
            }
        }
        containers.extend(known.iter().map(|(id, _)| (*id, pod.uid)));
        let entry = Entry { template: pod.template, containers: known, ended: None, is_listed: true };
        pods.insert(pod.uid, entry);
        drop(state);
        self.changed();
    }

    /// A pod was deleted.
    pub(super) fn end(&self, uid: PodUid, now: Instant) {
        if let Some(entry) = self.write().pods.get_mut(&uid) {
            entry.ended.get_or_insert(now);
        }
        self.changed();
    }

    /// A list of all pods begins.
    pub(super) fn list_begins(&self) {
        self.write().pods.values_mut().for_each(|entry| entry.is_listed = false);
    }

    /// It is complete: what was not in it is gone.
    pub(super) fn list_ends(&self, now: Instant) {
        for entry in self.write().pods.values_mut().filter(|entry| !entry.is_listed) {
            entry.ended.get_or_insert(now);
        }
        self.changed();
    }

    /// Forgets what has ended long ago.
    pub(super) fn sweep(&self, now: Instant, now_ns: u64) {
        let mut state = self.write();
        let State { pods, containers, addresses, .. } = &mut *state;
        pods.retain(|_, entry| {
            let keep = entry.ended.is_none_or(|ended| now.duration_since(ended) < KEPT);
            if !keep {
                for (id, _) in &entry.containers {
                    containers.remove(id);
                }
            }
            keep
        });
        addresses.sweep(now_ns);
    }

    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::kubernetes::tests::pod;

    fn uid(number: u32) -> String {
        format!("{number:08x}-3a9b-4a52-8f7d-1c2d3e4f5a6b")
    }

    fn whose(container: u32, pod: u32) -> InContainer {
        InContainer {
            container: ContainerId::parse(&format!("{container:064x}")).unwrap(),
            pod: PodUid::parse(&uid(pod)),
        }
    }

    fn name(found: &Found) -> String {
        match found {
            Found::Whole(container) => container.pod.to_string(),
            Found::Pod(_) => "pod".to_owned(),
            Found::Ids(_) => "ids".to_owned(),
        }
    }

    #[test]
    fn namesakes_are_told_apart_and_the_old_one_is_forgotten() {
        let directory = Directory::default();
        let start = Instant::now();
        directory.put(pod(&uid(1), "shop-0"));
        assert_eq!(name(&directory.find(whose(10, 1))), "shop-0");
        directory.end(PodUid::parse(&uid(1)).unwrap(), start);
        directory.put(pod(&uid(2), "shop-0"));
        let Found::Whole(new) = directory.find(whose(20, 2)) else { panic!("not known") };
        assert_eq!(new.pod_uid, PodUid::parse(&uid(2)));
        let Found::Whole(old) = directory.find(whose(10, 1)) else { panic!("not known") };
        assert_eq!(old.pod_uid, PodUid::parse(&uid(1)));
        directory.sweep(start + KEPT, 0);
        assert_eq!(name(&directory.find(whose(10, 1))), "ids");
        assert_eq!((directory.size().pods, directory.size().containers), (1, 1));
    }

    #[test]
    fn what_a_list_has_not_has_ended() {
        let directory = Directory::default();
        directory.put(pod(&uid(1), "a"));
        directory.put(pod(&uid(2), "b"));
        directory.list_begins();
        directory.put(pod(&uid(2), "b"));
        let now = Instant::now();
        directory.list_ends(now);
        directory.sweep(now + KEPT, 0);
        assert_eq!(name(&directory.find(whose(1, 1))), "ids");
        assert_eq!(name(&directory.find(whose(2, 2))), "b");
    }

    #[test]
    fn churn_leaves_nothing() {
        let directory = Directory::default();
        let now = Instant::now();
        for number in 0..10_000 {
            directory.put(pod(&uid(number), "shop"));
            let _ = directory.find(whose(number, number));
            directory.end(PodUid::parse(&uid(number)).unwrap(), now);
            if number % 500 == 499 {
                directory.sweep(now + KEPT, 0);
            }
        }
        let size = directory.size();
        assert_eq!((size.pods, size.containers, size.left_out), (0, 0, 0));
        for number in 0..=PODS_MAX {
            directory.put(pod(&uid(u32::try_from(number).unwrap()), "shop"));
        }
        assert_eq!((directory.size().pods, directory.size().left_out), (PODS_MAX, 1));
        for container in 0..1_000 {
            let _ = directory.find(whose(container, 0));
        }
        assert_eq!(directory.size().containers, CONTAINERS_MAX);
    }
}
