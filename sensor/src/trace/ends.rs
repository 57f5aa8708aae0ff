//! The two ends of one connection, where the sensor sees both.
//!
//! The local and remote address of one end are the remote and local address of the other. Loopback addresses are the
//! same in every network namespace, so there the namespace counts as well.

use std::net::SocketAddr;

use hashbrown::HashMap;

use crate::protocol::{Endpoints, ExchangeKey, Role};

/// A connection as both ends call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Route {
    client: SocketAddr,
    server: SocketAddr,
    netns: u32,
}

impl Route {
    /// The connection of a request.
    pub(super) fn of(endpoints: &Endpoints, role: Role) -> Self {
        let (client, server) = match role {
            Role::Client => (endpoints.local, endpoints.remote),
            Role::Server => (endpoints.remote, endpoints.local),
        };
        let is_loopback = client.ip().to_canonical().is_loopback();
        Self { client, server, netns: if is_loopback { endpoints.netns } else { 0 } }
    }
}

/// Requests that are open and not answered, and of which the other end was not found.
#[derive(Debug, Default)]
pub(super) struct Ends(HashMap<(Route, Role), Vec<ExchangeKey>>);

impl Ends {
    pub(super) fn add(&mut self, route: Route, role: Role, key: ExchangeKey) {
        self.0.entry((route, role)).or_default().push(key);
    }

    pub(super) fn remove(&mut self, route: &Route, role: Role, key: ExchangeKey) {
        let place = (*route, role);
        if let Some(keys) = self.0.get_mut(&place) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.0.remove(&place);
            }
        }
    }

    /// The call that a server's request is the other end of, if only one can be.
    pub(super) fn caller(&self, route: &Route) -> Option<ExchangeKey> {
        self.only(*route, Role::Client)
    }

    /// The server's request that a call is the other end of, if only one can be.
    pub(super) fn callee(&self, route: &Route) -> Option<ExchangeKey> {
        self.only(*route, Role::Server)
    }

    fn only(&self, route: Route, role: Role) -> Option<ExchangeKey> {
        match self.0.get(&(route, role))?[..] {
            [key] => Some(key),
            _ => None,
        }
    }
}
