//! The service graph: edges from exchanges, and from connections on which none was seen.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::table::{Names, Table};
use super::{Ends, Failure};
use crate::identity::Observed;
use crate::metric::flow::Pair;
use crate::metric::graph::{Edge, EdgeKind, Graph, Request, record};
use crate::protocol::Role;
use crate::semantic::{self, Address, ErrorType, Host};

/// How long a connection that is over waits for exchanges on it to be told, in nanoseconds: the tracker asks for as long as
/// this how far one has come.
const PATIENCE_NS: u64 = 6_000_000_000;
/// The most connections that wait; beyond that the oldest waits no longer.
const WAITING: usize = 16_384;

/// Connections that are over, and that are an edge of their own unless exchanges were seen on them.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    queue: VecDeque<Over>,
}

#[derive(Debug)]
struct Over {
    due_ns: u64,
    edge: Edge,
    failed: bool,
    has_exchanges: Arc<AtomicBool>,
}

impl Waiting {
    /// A connection is over, or was never established. One whose both ends are known here is told by its client.
    pub(super) fn over(
        &mut self,
        pair: &Pair,
        role: Option<Role>,
        failure: Option<Failure>,
        has_exchanges: Arc<AtomicBool>,
        now_ns: u64,
    ) {
        let (client, server) = match role {
            Some(Role::Client) => (Arc::clone(&pair.service), peer(pair)),
            Some(Role::Server) if pair.peer_service.is_empty() => (peer(pair), Arc::clone(&pair.service)),
            _ => return,
        };
        let edge = Edge { client, server, kind: EdgeKind::Connections };
        let failed = failure.is_some();
        self.queue.push_back(Over { due_ns: now_ns + PATIENCE_NS, edge, failed, has_exchanges });
    }

    /// Tells those that have waited long enough.
    pub(super) fn tell(&mut self, now_ns: u64, graph: &mut Graph) {
        while let Some(over) = self.queue.front()
            && (over.due_ns <= now_ns || self.queue.len() > WAITING)
            && let Some(over) = self.queue.pop_front()
        {
            if !over.has_exchanges.load(Ordering::Relaxed) {
                let request = Request { counts: true, failed: over.failed, ..Request::default() };
                record(graph, &over.edge, request, now_ns);
            }
        }
    }
}

impl Table {
    /// Takes an exchange.
    pub fn exchange(&mut self, observed: &Observed, names: &impl Names, graph: &mut Graph) {
        let exchange = &observed.exchange;
        let endpoints = &exchange.endpoints;
        let ends = Ends { netns: endpoints.netns, local: endpoints.local, remote: endpoints.remote };
        let Some(pair) = self.used(&ends, exchange.role, &observed.service_name, names) else {
            return;
        };
        let took = Some(semantic::duration_ns(exchange));
        let failed = ErrorType::of(exchange).is_some();
        let is_known = !pair.peer_service.is_empty();
        let kind = if is_known { EdgeKind::Requests } else { EdgeKind::Virtual };
        let service = Arc::clone(&observed.service_name);
        let (edge, request) = match exchange.role {
            Role::Client => {
                let host = exchange.host.as_deref().and_then(Host::parse).map(|host| host.address);
                let server = match host {
                    Some(Address::Name(name)) if !is_known && pair.peer_name.is_empty() => name.into(),
                    _ => peer(&pair),
                };
                let request = Request { counts: true, failed, client_ns: took, server_ns: None };
                (Edge { client: service, server, kind }, request)
            }
            Role::Server => {
                // Where the client is known, its own exchange counts.
                let request = Request { counts: !is_known, failed, client_ns: None, server_ns: took };
                (Edge { client: peer(&pair), server: service, kind }, request)
            }
        };
        record(graph, &edge, request, exchange.end_ns);
    }
}

/// The other end by its best name.
fn peer(pair: &Pair) -> Arc<str> {
    [&pair.peer_service, &pair.peer_name]
        .into_iter()
        .find(|name| !name.is_empty())
        .map_or_else(|| pair.network.name().into(), Arc::clone)
}
