//! The service graph: edges from exchanges, and from connections on which none was seen.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;

use super::table::{At, Names, Table};
use super::{Ends, Failure};
use crate::identity::Observed;
use crate::metric::flow::Pair;
use crate::metric::graph::{Edge, EdgeKind, Graph, Request, record};
use crate::metric::group::OTHER;
use crate::protocol::Role;
use crate::semantic::{self, Address, ErrorType, Host};

/// How long a connection that is over waits for exchanges on it to be told, in seconds: the tracker asks for nearly as
/// long as this how far one has come.
const PATIENCE: u64 = 6;
/// The most edges to wait of one second; what finds no room is of one whose ends are both `other`.
const EDGES: usize = 4_096;
const SECOND_NS: u64 = 1_000_000_000;

/// Connections that are over, and that are an edge of their own unless exchanges were seen on them: how many of each
/// edge ended in each second. There are as many entries as edges in use, not as connections.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    seconds: VecDeque<(u64, HashMap<Over, u64>)>,
}

/// A connection that is over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Over {
    edge: Edge,
    failed: bool,
}

/// What a connection that waits is known by.
#[derive(Debug)]
pub(super) struct Ticket {
    second: u64,
    over: Over,
}

impl Waiting {
    /// A connection is over, or was never established. One whose both ends are known here is told by its client.
    pub(super) fn over(
        &mut self,
        pair: &Pair,
        role: Option<Role>,
        failure: Option<Failure>,
        now_ns: u64,
    ) -> Option<Ticket> {
        let (client, server) = match role {
            Some(Role::Client) => (Arc::clone(&pair.service.name), peer(pair).into()),
            Some(Role::Server) if pair.peer_service.is_empty() => {
                (peer(pair).into(), Arc::clone(&pair.service.name))
            }
            _ => return None,
        };
        let edge = Edge {
            client,
            server,
            server_service: Arc::clone(&pair.server_service),
            kind: EdgeKind::Connections(pair.protocol),
        };
        let mut over = Over { edge, failed: failure.is_some() };
        let second = now_ns / SECOND_NS;
        // Ends are told in the order of their records, which may be that of several processors.
        let second = self.seconds.back().map_or(second, |(last, _)| second.max(*last));
        if self.seconds.back().is_none_or(|(last, _)| *last != second) {
            self.seconds.push_back((second, HashMap::new()));
        }
        let (_, counts) = self.seconds.back_mut()?;
        if counts.len() >= EDGES && !counts.contains_key(&over) {
            over.edge.client = OTHER.into();
            over.edge.server = OTHER.into();
            over.edge.server_service = Arc::default();
        }
        *counts.entry(over.clone()).or_default() += 1;
        Some(Ticket { second, over })
    }

    /// An exchange was seen on a connection: it waits no longer.
    pub(super) fn used(&mut self, ticket: &Ticket) {
        let found = self.seconds.iter_mut().find(|(second, _)| *second == ticket.second);
        if let Some(count) = found.and_then(|(_, counts)| counts.get_mut(&ticket.over)) {
            *count -= 1;
        }
    }

    /// Tells those that have waited long enough.
    pub(super) fn tell(&mut self, now_ns: u64, graph: &mut Graph) {
        while let Some((second, _)) = self.seconds.front()
            && second + PATIENCE < now_ns / SECOND_NS
            && let Some((_, counts)) = self.seconds.pop_front()
        {
            for (over, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
                let request = Request { count, failed: over.failed, ..Request::default() };
                record(graph, &over.edge.borrowed(), request, now_ns);
            }
        }
    }
}

impl Table {
    /// Takes an exchange. Those on Unix-domain sockets are on no connection of the table.
    pub fn exchange(&mut self, observed: &Observed, names: &mut impl Names, graph: &mut Graph) {
        let exchange = &observed.exchange;
        let endpoints = &exchange.endpoints;
        if endpoints.path.is_some() {
            return;
        }
        let ends = Ends { netns: endpoints.netns, local: endpoints.local, remote: endpoints.remote };
        let at = At { tgid: Some(exchange.task.tgid), time_ns: exchange.end_ns };
        let Some(pair) = self.used(&ends, exchange.role, || observed.service(), at, names) else {
            return;
        };
        let took = Some(semantic::duration_ns(exchange));
        let failed = ErrorType::of(exchange).is_some();
        let is_known = !pair.peer_service.is_empty();
        let kind = if is_known { EdgeKind::Requests } else { EdgeKind::Virtual };
        let service = &*observed.service_name;
        let host;
        let (client, server, request) = match exchange.role {
            Role::Client => {
                host = exchange.host.as_deref().and_then(Host::parse).map(|host| host.address);
                let server = match &host {
                    Some(Address::Name(name)) if !is_known && pair.peer_name.is_empty() => name,
                    _ => peer(&pair),
                };
                let request = Request { count: 1, failed, client_ns: took, server_ns: None };
                (service, server, request)
            }
            Role::Server => {
                // Where the client is known, its own exchange counts.
                let request =
                    Request { count: u64::from(!is_known), failed, client_ns: None, server_ns: took };
                (peer(&pair), service, request)
            }
        };
        let edge = Edge { client, server, server_service: &*pair.server_service, kind };
        record(graph, &edge, request, exchange.end_ns);
    }
}

/// The other end by its best name.
fn peer(pair: &Pair) -> &str {
    [&*pair.peer_service, &*pair.peer_name, pair.network.name()]
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::flow::Network;
    use crate::metric::graph::graph;
    use crate::metric::{Sample, Source as _};

    pub(in crate::flow) fn from(client: &str) -> Pair {
        Pair {
            service: client.into(),
            zone: "".into(),
            peer_service: "web".into(),
            peer_namespace: "".into(),
            peer_zone: "".into(),
            peer_name: "".into(),
            network: Network::Node,
            server_port: Some(80),
            server_service: "".into(),
            protocol: None,
        }
    }

    fn requests(graph: &Graph) -> Vec<(String, Sample<'_>)> {
        (0..graph.slots())
            .filter_map(|slot| graph.read(0, slot))
            .map(|(labels, sample)| (labels.get("client").to_owned(), sample))
            .collect()
    }

    #[test]
    fn those_with_exchanges_are_no_edges() {
        let (mut waiting, mut graph) = (Waiting::default(), graph(10));
        let end = |waiting: &mut Waiting, second| {
            waiting.over(&from("shop"), Some(Role::Client), None, second * SECOND_NS)
        };
        let ticket = end(&mut waiting, 1).unwrap();
        end(&mut waiting, 1).unwrap();
        let late = end(&mut waiting, 2).unwrap();
        waiting.used(&ticket);
        let asked = waiting.over(&from("spoke"), Some(Role::Client), None, 2 * SECOND_NS).unwrap();
        waiting.used(&asked);
        waiting.tell(8 * SECOND_NS, &mut graph);
        assert_eq!(requests(&graph), [("shop".to_owned(), Sample::Counter(1.0))]);
        waiting.tell(9 * SECOND_NS, &mut graph);
        // It is told already.
        waiting.used(&late);
        assert_eq!(requests(&graph), [("shop".to_owned(), Sample::Counter(2.0))]);
    }

    #[test]
    fn what_finds_no_room_is_of_one_edge() {
        let (mut waiting, mut graph) = (Waiting::default(), graph(2 * EDGES));
        for client in 0..EDGES + 5 {
            waiting.over(&from(&client.to_string()), Some(Role::Client), None, SECOND_NS);
        }
        waiting.tell(9 * SECOND_NS, &mut graph);
        let found = requests(&graph);
        assert_eq!(found.len(), EDGES + 1);
        assert!(found.contains(&(OTHER.to_owned(), Sample::Counter(5.0))));
    }
}
