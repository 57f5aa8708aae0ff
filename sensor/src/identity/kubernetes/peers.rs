//! Addresses of Services and of the pods behind them.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use kube::runtime::watcher::Event;
use kube::{Api, Client};

use super::now_ns;
use super::object::{EndpointSlice, Service, text};
use super::watch::{Resource, Watches, follow, selection};
use crate::identity::Directory;
use crate::identity::addresses::{Holding, Peer};

/// Services of one page of a list.
const SERVICES_PAGE: u32 = 500;
/// Slices of one page: each has up to 100 endpoints.
const SLICES_PAGE: u32 = 100;
/// The label that names a slice's Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

const SERVICE: &str = "service/";
const SLICE: &str = "slice/";

/// Watches all Services, for ever.
pub(super) async fn services(client: &Client, directory: &Directory, watches: &Watches) {
    let api = Api::<Service>::all(client.clone());
    let mut listed = Listed::default();
    follow(api, selection(None, SERVICES_PAGE), Resource::Services, watches, async |event| {
        listed.take(directory, SERVICE, event, |service| &service.metadata, of_service);
    })
    .await;
}

/// Watches all EndpointSlices, for ever.
pub(super) async fn slices(client: &Client, directory: &Directory, watches: &Watches) {
    let api = Api::<EndpointSlice>::all(client.clone());
    let mut listed = Listed::default();
    follow(api, selection(None, SLICES_PAGE), Resource::EndpointSlices, watches, async |event| {
        listed.take(directory, SLICE, event, |slice| &slice.metadata, of_slice);
    })
    .await;
}

type Metadata = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The sources of a list that is being read.
#[derive(Default)]
struct Listed {
    sources: HashSet<String>,
    is_synced: bool,
}

impl Listed {
    fn take<K>(
        &mut self,
        directory: &Directory,
        kind: &str,
        event: Event<K>,
        metadata: impl Fn(&K) -> &Metadata,
        holdings: impl Fn(&K) -> Vec<Holding>,
    ) {
        let now = now_ns();
        let source = |object: &K| {
            let metadata = metadata(object);
            let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
            format!("{kind}{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default())
        };
        match event {
            Event::Init => self.sources.clear(),
            Event::InitApply(object) => {
                let source = source(&object);
                // What the first list tells of was there before.
                let from = if self.is_synced { now } else { 0 };
                let holdings = holdings(&object);
                directory.addresses(|addresses| addresses.set(&source, holdings, from, now));
                self.sources.insert(source);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.sources);
                directory.addresses(|addresses| {
                    addresses.retain(
                        |source| source.starts_with(kind),
                        |source| listed.contains(source),
                        now,
                    );
                });
                self.is_synced = true;
            }
            Event::Apply(object) => {
                let (source, holdings) = (source(&object), holdings(&object));
                directory.addresses(|addresses| addresses.set(&source, holdings, now, now));
            }
            Event::Delete(object) => {
                directory.addresses(|addresses| addresses.remove(&source(&object), now));
            }
        }
    }
}

fn of_service(service: &Service) -> Vec<Holding> {
    let metadata = &service.metadata;
    let peer = Arc::new(Peer {
        service: metadata.name.as_deref().unwrap_or_default().into(),
        namespace: metadata.namespace.as_deref().unwrap_or_default().into(),
        zone: "".into(),
        is_service: true,
    });
    let uid: Arc<str> = metadata.uid.as_deref().unwrap_or_default().into();
    let spec = &service.spec;
    // A headless Service has the word `None` in place of an address.
    spec.cluster_ips
        .iter()
        .chain(&spec.external_ips)
        .filter_map(|address| address.parse().ok())
        .map(|address| Holding { address, uid: Arc::clone(&uid), peer: Arc::clone(&peer) })
        .collect()
}

fn of_slice(slice: &EndpointSlice) -> Vec<Holding> {
    let metadata = &slice.metadata;
    let Some(service) = text(metadata.labels.as_ref(), SERVICE_NAME) else { return Vec::new() };
    let service: Arc<str> = service.into();
    let namespace: Arc<str> = metadata.namespace.as_deref().unwrap_or_default().into();
    let mut peers: Vec<Arc<Peer>> = Vec::new();
    let mut holdings = Vec::new();
    for endpoint in slice.endpoints.as_deref().unwrap_or_default() {
        let zone = endpoint.zone.as_deref().unwrap_or_default();
        let peer = match peers.iter().find(|peer| &*peer.zone == zone) {
            Some(known) => Arc::clone(known),
            None => {
                let (service, namespace) = (Arc::clone(&service), Arc::clone(&namespace));
                peers.push(Arc::new(Peer { service, namespace, zone: zone.into(), is_service: false }));
                Arc::clone(&peers[peers.len() - 1])
            }
        };
        let target = endpoint.target_ref.as_ref().filter(|target| target.kind == "Pod");
        let uid: Arc<str> = target.map_or("", |target| &target.uid).into();
        for address in &endpoint.addresses {
            // Of a slice of names none is an address.
            let Ok(address) = address.parse::<IpAddr>() else { continue };
            holdings.push(Holding { address, uid: Arc::clone(&uid), peer: Arc::clone(&peer) });
        }
    }
    holdings
}
