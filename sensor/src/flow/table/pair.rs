//! Who is at both ends of a connection.

use std::sync::Arc;

use super::{At, Names, Table};
use crate::flow::{Ends, Network, View};
use crate::identity::Service;
use crate::metric::flow::Pair;
use crate::protocol::Role;

impl Table {
    /// Who speaks with whom; `None` when that is not observed.
    pub(super) fn pair(
        &mut self,
        ends: &Ends,
        role: Option<Role>,
        owner: Option<Service>,
        at: At,
        names: &mut impl Names,
    ) -> Option<Arc<Pair>> {
        if !names.is_wanted(owner.as_ref()) {
            return None;
        }
        let view = View { local: ends.local, remote: ends.remote };
        let mut other = view.turned();
        let mut end = self.other_end(ends, role, other);
        if end.service.is_none()
            && self.may_be_translated(ends, role, at, names)
            && let Some(translated) = names.other_end(view)
        {
            other = translated;
            end = self.other_end(ends, role, other);
        }
        let address = other.local.ip();
        // A process of this host is known better than by its address, and what is behind a Service better than by its own.
        let is_client = end.role == Some(Role::Client);
        let dialed = if is_client { other.remote.ip() } else { ends.remote.ip() };
        let service = names.peer(dialed, at.time_ns).filter(|peer| peer.is_service);
        let by_address = match &end.service {
            Some(_) => None,
            None => names.peer(address, at.time_ns).or_else(|| service.clone().filter(|_| !is_client)),
        };
        let zone = names.zone();
        let peer = by_address.as_deref();
        let peer_zone = match peer {
            _ if end.netns.is_some() => Arc::clone(&zone),
            Some(peer) => Arc::clone(&peer.zone),
            None => Arc::default(),
        };
        let (peer_service, peer_namespace) = match (end.service, peer) {
            (Some(service), _) => (Arc::clone(&service.name), service.namespace()),
            (None, Some(peer)) => (Arc::clone(&peer.service), Arc::clone(&peer.namespace)),
            (None, None) => Default::default(),
        };
        let owner = owner.unwrap_or_default();
        let server = if is_client { &owner.name } else { &peer_service };
        let server_service = service.filter(|service| service.service != *server);
        let looked_up = if is_client { address } else { ends.remote.ip() };
        Some(Arc::new(Pair {
            service: owner,
            zone,
            server_service: server_service.map(|service| Arc::clone(&service.service)).unwrap_or_default(),
            peer_service,
            peer_namespace,
            peer_zone,
            peer_name: self.places.name(looked_up, at.tgid, at.time_ns).unwrap_or_default(),
            network: self.places.network(address),
            server_port: end.server_port,
            protocol: None,
        }))
    }

    /// Who is at the other end, as far as that is a process of this host, by what its socket has.
    fn other_end(&self, ends: &Ends, role: Option<Role>, other: View) -> OtherEnd {
        let netns = self.places.namespace(ends.netns, other.local.ip());
        // A listener there accepts it; else the other end is a client that has connected before.
        let listener = || self.listeners.owner(netns?, other.local).cloned();
        let client = || {
            let other = Ends { netns: netns?, local: other.local, remote: other.remote };
            Some(self.flows.get(&other)?.pair.as_ref()?.service.clone())
        };
        let accepts = || self.listeners.owner(ends.netns, ends.local).is_some();
        let (role, service) = match role {
            Some(Role::Client) => (Some(Role::Server), listener()),
            Some(Role::Server) => (Some(Role::Client), client()),
            None => match listener() {
                None if accepts() => (Some(Role::Client), client()),
                listener => (listener.is_some().then_some(Role::Server), listener),
            },
        };
        let server_port = role.map(|role| match role {
            Role::Server => other.local.port(),
            Role::Client => ends.local.port(),
        });
        OtherEnd { netns, role, server_port, service }
    }

    /// Whether it is worth asking who is behind the other end's address. A client may have connected to a Service; it's not
    /// asked what is done with addresses of the internet. What a server is connected to may have another client behind
    /// it where the address is one of this host's.
    fn may_be_translated(&self, ends: &Ends, role: Option<Role>, at: At, names: &impl Names) -> bool {
        let address = ends.remote.ip();
        if address.is_loopback() || ends.local.ip().is_loopback() {
            return false;
        }
        self.places.is_here(address)
            || role != Some(Role::Server)
                && (self.places.network(address) != Network::Internet
                    || names.peer(address, at.time_ns).is_some())
    }
}

/// What is known of a connection's other end.
struct OtherEnd {
    /// The namespace of this host where it is.
    netns: Option<u32>,
    /// What it is, where that is known.
    role: Option<Role>,
    /// The listener's port, whichever end that is.
    server_port: Option<u16>,
    /// The process of this host.
    service: Option<Service>,
}
