//! The service graph, under the names that Tempo's metrics generator gives it.

use std::borrow::Cow;
use std::sync::Arc;

use hashbrown::Equivalent;
use sensor_common::protocol::NetworkProtocol;

use super::group::{Group, Values};
use super::histogram::{DURATION, DURATION_SLOTS, Histogram};
use super::{Labels, Sample, family};

/// An edge.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Edge<S = Arc<str>> {
    /// Who asks.
    pub client: S,
    /// Who is asked.
    pub server: S,
    /// The Service whose address the client connected to, where the server has another name.
    pub server_service: S,
    /// What is between them.
    pub kind: EdgeKind,
}

impl Edge {
    /// The same, to be looked up.
    #[must_use]
    pub fn borrowed(&self) -> Edge<&str> {
        let Self { client, server, server_service, kind } = self;
        Edge { client, server, server_service, kind: *kind }
    }
}

impl Equivalent<Edge> for Edge<&str> {
    fn equivalent(&self, other: &Edge) -> bool {
        *self == other.borrowed()
    }
}

/// What an edge consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EdgeKind {
    /// Requests, both ends of which are services of this host.
    Requests,
    /// Requests, one end of which is known by its name or place only.
    Virtual,
    /// Connections on which something else is spoken, with what where that is known: each counts as one request.
    Connections(Option<NetworkProtocol>),
}

impl EdgeKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Requests => "",
            Self::Virtual => "virtual_node",
            Self::Connections(protocol) => match protocol {
                Some(
                    NetworkProtocol::Mongodb
                    | NetworkProtocol::Mysql
                    | NetworkProtocol::Postgresql
                    | NetworkProtocol::Redis,
                ) => "database",
                Some(NetworkProtocol::Amqp | NetworkProtocol::Kafka) => "messaging_system",
                Some(NetworkProtocol::Tls) | None => "tcp",
            },
        }
    }
}

/// What is kept of an edge, in the order of [`family::GRAPH`].
#[derive(Debug, Default)]
pub struct EdgeValues {
    requests: u64,
    failed: u64,
    client: Histogram<DURATION_SLOTS>,
    server: Histogram<DURATION_SLOTS>,
}

impl Values for EdgeValues {
    fn sample(&self, family: usize) -> Option<Sample<'_>> {
        match family {
            0 => Some(Sample::Counter(self.requests as f64)),
            1 => Some(Sample::Counter(self.failed as f64)),
            2 => self.client.read(&DURATION).map(Sample::Histogram),
            3 => self.server.read(&DURATION).map(Sample::Histogram),
            _ => None,
        }
    }

    fn make_native(&mut self) {
        self.client.make_native();
        self.server.make_native();
    }
}

/// What is told of one request, or of several without a duration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// How many of them are counted: none where the other end tells it.
    pub count: u64,
    /// They failed.
    pub failed: bool,
    /// How long it took the client, in nanoseconds.
    pub client_ns: Option<u64>,
    /// How long it took the server, in nanoseconds.
    pub server_ns: Option<u64>,
}

/// All edges.
pub type Graph = Group<Edge, EdgeValues>;

/// An empty graph of at most `limit` edges.
#[must_use]
pub fn graph(limit: usize) -> Graph {
    Group::new(&family::GRAPH, limit)
}

/// Adds a request to an edge.
pub fn record(graph: &mut Graph, edge: &Edge<&str>, request: Request, now_ns: u64) {
    let make = || {
        let Edge { client, server, server_service, kind } = *edge;
        let labels = Labels::new([
            ("client", Cow::Borrowed(client)),
            ("server", Cow::Borrowed(server)),
            ("server_k8s_service_name", Cow::Borrowed(server_service)),
            ("connection_type", Cow::Borrowed(kind.name())),
        ]);
        let [client, server, server_service] = [client, server, server_service].map(Arc::from);
        (Edge { client, server, server_service, kind }, labels)
    };
    let values = graph.values(edge, now_ns, make);
    values.requests += request.count;
    if request.failed {
        values.failed += request.count;
    }
    if let Some(took) = request.client_ns {
        values.client.record(&DURATION, took);
    }
    if let Some(took) = request.server_ns {
        values.server.record(&DURATION, took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Source as _;

    #[test]
    fn both_ends_of_a_request_are_one_request() {
        let mut graph = graph(10);
        let edge = Edge { client: "shop", server: "bank", server_service: "", kind: EdgeKind::Requests };
        let client = Request { count: 1, failed: true, client_ns: Some(7), server_ns: None };
        record(&mut graph, &edge, client, 1);
        record(&mut graph, &edge, Request { server_ns: Some(5), ..Request::default() }, 1);
        let read = |family| graph.read(family, 0).unwrap().1;
        assert_eq!((read(0), read(1)), (Sample::Counter(1.0), Sample::Counter(1.0)));
        for family in [2, 3] {
            match read(family) {
                Sample::Histogram(reading) => assert_eq!(reading.count(), 1),
                other => panic!("{other:?}"),
            }
        }
        let labels: Vec<_> = graph.read(0, 0).unwrap().0.iter().collect();
        assert_eq!(labels, [("client", "shop"), ("server", "bank")]);
    }
}
