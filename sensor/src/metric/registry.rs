//! All metrics in one place.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::dns::DnsMetrics;
use super::family::{self, HTTP_CLIENT, HTTP_SERVER};
use super::flow::FlowMetrics;
use super::graph::{Graph, graph};
use super::http::{self, HttpGroup};
use super::own::Own;
use super::process::{Usage, UsageError};
use super::room::Room;
use super::rpc::{self, RpcGroup};
use super::spans::SpanMetrics;
use super::tls::{TlsGroup, tls};
use super::{Exemplar, Labels, Sample, Source};
use crate::identity::Observed;
use crate::protocol::Role;
use crate::rpc::Names;
use crate::semantic;

/// All metrics.
pub struct Registry {
    server: HttpGroup,
    client: HttpGroup,
    flow: FlowMetrics,
    dns: DnsMetrics,
    tls: TlsGroup,
    graph: Graph,
    rpc_names: Names,
    rpc_server: RpcGroup,
    rpc_client: RpcGroup,
    spans: SpanMetrics,
    has_spans: bool,
    own: Own,
    exchanges: [u64; 2],
}

impl Registry {
    /// A registry that holds at most `max_series` label sets for each family.
    #[must_use]
    pub fn new(max_series: usize) -> Self {
        let mut own = Own::default();
        own.set(&family::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
        Self {
            server: HttpGroup::new(&HTTP_SERVER, max_series),
            client: HttpGroup::new(&HTTP_CLIENT, max_series),
            flow: FlowMetrics::new(max_series),
            dns: DnsMetrics::new(max_series),
            tls: tls(max_series),
            graph: graph(max_series),
            rpc_names: Names::default(),
            rpc_server: RpcGroup::new(rpc::families(Role::Server, Names::default()), max_series),
            rpc_client: RpcGroup::new(rpc::families(Role::Client, Names::default()), max_series),
            spans: SpanMetrics::new(max_series),
            has_spans: true,
            own,
            exchanges: [0; 2],
        }
    }

    /// With these names of gRPC calls; it holds nothing yet.
    #[must_use]
    pub fn rpc_names(self, names: Names) -> Self {
        let group = |role, group: RpcGroup| group.named(rpc::families(role, names));
        Self {
            rpc_names: names,
            rpc_server: group(Role::Server, self.rpc_server),
            rpc_client: group(Role::Client, self.rpc_client),
            ..self
        }
    }

    /// With span metrics, or without.
    #[must_use]
    pub fn span_metrics(self, has_spans: bool) -> Self {
        Self { has_spans, ..self }
    }

    /// With a limit for the series of all families together; it holds nothing yet. What the sensor says of itself is
    /// not in it.
    #[must_use]
    pub fn max_active_series(self, limit: u64) -> Self {
        self.within(&Room::new(limit))
    }

    /// The same with histograms that count in exponential buckets as well, where they are to be sent so.
    #[must_use]
    pub fn within(self, room: &Room) -> Self {
        Self {
            server: self.server.within(room),
            client: self.client.within(room),
            flow: self.flow.within(room),
            dns: self.dns.within(room),
            tls: self.tls.within(room),
            graph: self.graph.within(room),
            rpc_server: self.rpc_server.within(room),
            rpc_client: self.rpc_client.within(room),
            spans: self.spans.within(room),
            ..self
        }
    }

    /// Recordings that found no room, each once: it is in all families of its group.
    #[must_use]
    pub fn folded(&self) -> u64 {
        let sources = self.sources();
        let is_first = |known: &family::Family| {
            sources.iter().any(|source| source.families().first().is_some_and(|first| *first == known))
        };
        self.fill().filter(|(known, ..)| is_first(known)).map(|(_, _, folded)| folded).sum()
    }

    /// Label sets held and recordings that found no room, by family.
    fn fill(&self) -> impl Iterator<Item = (&'static family::Family, usize, u64)> {
        [
            (self.server.families(), self.server.len(), self.server.folded()),
            (self.client.families(), self.client.len(), self.client.folded()),
            (self.rpc_server.families(), self.rpc_server.len(), self.rpc_server.folded()),
            (self.rpc_client.families(), self.rpc_client.len(), self.rpc_client.folded()),
            (self.tls.families(), self.tls.len(), self.tls.folded()),
            (self.graph.families(), self.graph.len(), self.graph.folded()),
            (self.spans.spans.families(), self.spans.spans.len(), self.spans.spans.folded()),
            (self.spans.targets.families(), self.spans.targets.len(), self.spans.targets.folded()),
        ]
        .into_iter()
        .flat_map(|(families, held, folded)| families.iter().map(move |known| (*known, held, folded)))
        .chain(self.flow.fill())
        .chain(self.dns.fill())
    }

    /// Whether there are span metrics, so that nobody has to make them of the spans that are sent.
    #[must_use]
    pub const fn has_span_metrics(&self) -> bool {
        self.has_spans
    }

    /// Which names gRPC calls have.
    #[must_use]
    pub const fn names_of_rpc(&self) -> Names {
        self.rpc_names
    }

    /// Records an exchange.
    pub fn record(&mut self, observed: &Observed) {
        self.exchanges[observed.exchange.role as usize] += 1;
        if self.has_spans {
            self.spans.record(observed);
        }
        match (observed.exchange.role, &observed.exchange.grpc) {
            (Role::Server, None) => http::record(&mut self.server, observed),
            (Role::Client, None) => http::record(&mut self.client, observed),
            (Role::Server, Some(grpc)) => rpc::record(&mut self.rpc_server, observed, grpc, self.rpc_names),
            (Role::Client, Some(grpc)) => rpc::record(&mut self.rpc_client, observed, grpc, self.rpc_names),
        }
    }

    /// Notes the span of an exchange that was recorded, where its series is not `other`.
    pub fn exemplar(&mut self, observed: &Observed, unix_ms: i64) {
        let exemplar = Exemplar {
            trace_id: observed.span.trace_id,
            span_id: observed.span.span_id,
            value: semantic::duration_ns(&observed.exchange),
            unix_ms,
        };
        if self.has_spans {
            self.spans.exemplar(observed, exemplar);
        }
        match (observed.exchange.role, &observed.exchange.grpc) {
            (Role::Server, None) => http::note(&mut self.server, observed, exemplar),
            (Role::Client, None) => http::note(&mut self.client, observed, exemplar),
            (Role::Server, Some(grpc)) => rpc::note(&mut self.rpc_server, observed, grpc, exemplar),
            (Role::Client, Some(grpc)) => rpc::note(&mut self.rpc_client, observed, grpc, exemplar),
        }
    }

    /// What is known of TCP connections.
    pub fn flow(&mut self) -> &mut FlowMetrics {
        &mut self.flow
    }

    /// What is known of TCP connections and of lookups of names.
    pub fn flow_and_dns(&mut self) -> (&mut FlowMetrics, &mut DnsMetrics) {
        (&mut self.flow, &mut self.dns)
    }

    /// What is known of TLS handshakes.
    pub fn tls(&mut self) -> &mut TlsGroup {
        &mut self.tls
    }

    /// The service graph.
    pub fn graph(&mut self) -> &mut Graph {
        &mut self.graph
    }

    /// What the sensor says of itself.
    pub fn own(&mut self) -> &mut Own {
        &mut self.own
    }

    /// Drops the series of exchanges that were last written before `before_ns` (nanoseconds of `CLOCK_MONOTONIC`),
    /// and says how many.
    pub fn expire(&mut self, before_ns: u64) -> usize {
        self.server.expire(before_ns)
            + self.client.expire(before_ns)
            + self.flow.expire(before_ns)
            + self.dns.expire(before_ns)
            + self.tls.expire(before_ns)
            + self.graph.expire(before_ns)
            + self.rpc_server.expire(before_ns)
            + self.rpc_client.expire(before_ns)
            + self.spans.expire(before_ns)
    }

    /// Brings what is derived, and the daemon's own use of the machine, up to date; call it before reading.
    ///
    /// # Errors
    /// When `/proc/self` can't be read; everything else is up to date then all the same.
    pub fn refresh(&mut self) -> Result<(), UsageError> {
        for (role, count) in [Role::Server, Role::Client].into_iter().zip(self.exchanges) {
            self.own.set(&family::EXCHANGES, &[semantic::role_name(role)], count as f64);
        }
        let fill: Vec<_> = self.fill().collect();
        for (known, held, folded) in fill {
            self.own.set(&family::SERIES, &[known.name], held as f64);
            self.own.set(&family::SERIES_FOLDED, &[known.name], folded as f64);
        }
        let usage = Usage::read()?;
        self.own.set(&family::PROCESS_CPU, &[], usage.cpu.as_secs_f64());
        self.own.set(&family::PROCESS_MEMORY, &[], usage.resident_bytes as f64);
        self.own.set(&family::PROCESS_START, &[], usage.start_seconds);
        Ok(())
    }

    /// All families and their series.
    #[must_use]
    pub fn sources(&self) -> [&dyn Source; 16] {
        let [pairs, failed, closed, resets, listeners] = self.flow.sources();
        let [answered, unanswered] = self.dns.sources();
        [
            &self.server,
            &self.client,
            &self.rpc_server,
            &self.rpc_client,
            pairs,
            failed,
            closed,
            resets,
            listeners,
            answered,
            unanswered,
            &self.tls,
            &self.graph,
            &self.spans.spans,
            &self.spans.targets,
            &self.own,
        ]
    }

    /// Calls `visit` with every series, family by family.
    pub fn visit<'a>(&'a self, mut visit: impl FnMut(&'static family::Family, &'a Labels, Sample<'a>)) {
        for source in self.sources() {
            for (number, known) in source.families().iter().enumerate() {
                for slot in 0..source.slots() {
                    if let Some((labels, sample)) = source.read(number, slot) {
                        visit(known, labels, sample);
                    }
                }
            }
        }
    }
}

/// The registry that one task writes and others read. The writer locks it once a batch, a reader once a chunk.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Registry>>);

impl Shared {
    /// Shares a registry.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self(Arc::new(Mutex::new(registry)))
    }

    /// The registry. A holder that panicked can at most have left one recording half done, so its lock is taken
    /// over.
    pub fn lock(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::metric::fixture::{exchange, observed};
    use crate::protocol::Exchange;

    #[test]
    fn every_role_is_counted() {
        let mut registry = Registry::new(10);
        registry.record(&observed(exchange()));
        registry.record(&observed(exchange()));
        registry.record(&observed(Exchange { role: Role::Client, ..exchange() }));
        registry.refresh().unwrap();
        let mut seen = Vec::new();
        registry.visit(|known, labels, sample| {
            if *known == family::EXCHANGES {
                seen.push((labels.get("role").to_owned(), sample));
            }
        });
        let expected =
            [("server".to_owned(), Sample::Counter(2.0)), ("client".to_owned(), Sample::Counter(1.0))];
        assert_eq!(seen, expected);
    }

    #[test]
    fn every_own_family_without_outside_facts_is_there_after_a_refresh() {
        let mut registry = Registry::new(10);
        registry.refresh().unwrap();
        let mut names = Vec::new();
        registry.visit(|known, _, _| names.push(known.name));
        for name in
            ["sensor_build_info", "sensor_series", "process_cpu_seconds_total", "sensor_exchanges_total"]
        {
            assert!(names.contains(&name), "{name}");
        }
    }

    /// Not a bound, which would depend on the machine: `cargo test --release -- --nocapture cost` tells.
    #[test]
    fn the_cost_of_recording_is_told() {
        let mut registry = Registry::new(10_000);
        let routes: Vec<Observed> = (0..200)
            .map(|route| Observed {
                route: format!("/items/{{id}}/part/{route}").into(),
                ..observed(Exchange {
                    role: if route % 2 == 0 { Role::Server } else { Role::Client },
                    ..exchange()
                })
            })
            .collect();
        let rounds = 2_000;
        let start = Instant::now();
        for _ in 0..rounds {
            for observed in &routes {
                registry.record(observed);
            }
        }
        let each = start.elapsed().as_nanos() / (rounds * routes.len() as u128);
        eprintln!("recording an exchange takes {each} ns");
        assert_eq!(registry.sources()[0].slots() + registry.sources()[1].slots(), routes.len());
    }
}
