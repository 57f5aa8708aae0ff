//! The way of connections through the daemon.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sensor_common::flow::FlowCounter;

use super::Targets;
use crate::{
    capture::{Capability, Capture, Told},
    config::Config,
    flow::{
        Dump, Dumper, Ends, Names, Places, Table, TableConfig, Translations, View, Wanted,
        dns::{Around, DnsConfig, Lookups},
    },
    identity::{Observed, Processes, Service, Sight, addresses::Peer},
    mask::Masker,
    metric::{Shared, family, flow::FlowMetrics, graph::Graph},
    protocol::{Handshake, Role},
};

/// The table of connections, the lookups of names, and what feeds them.
pub(super) struct Flows {
    table: Table,
    translations: Translations,
    lookups: Lookups,
    masker: Arc<Masker>,
    dumper: Dumper,
    interval: Duration,
    looked: Instant,
}

impl Flows {
    /// Looks at all sockets for the first time, so that connections and listeners are known that are older than the
    /// sensor. `None` when it is not asked for, or not possible here, which is told.
    pub(super) fn start(
        config: &Config,
        capture: &mut Capture,
        processes: &mut Processes,
        targets: &Targets,
        registry: &Shared,
        masker: Arc<Masker>,
    ) -> Option<Self> {
        let source = capture.flows()?;
        for refused in source.refused() {
            tracing::warn!("connections and lookups are not followed, or not wholly: {}", refused.brief());
        }
        if !source.run() {
            return None;
        }
        let max_connections = config.flow.max_connections;
        let mut dumper = match Dumper::start(max_connections) {
            Ok(dumper) => dumper,
            Err(error) => {
                tracing::warn!("connections are not followed: {error}");
                return None;
            }
        };
        let first = dumper.look(Wanted { holders: true, conntrack: true });
        let flow = &config.flow;
        let places = Places::new(crate::flow::own(), flow.networks.clone(), flow.dns.max_names);
        let table = Table::new(TableConfig { max_connections }, places);
        let dns = DnsConfig { timeout: flow.dns.timeout, max_names: flow.dns.max_names };
        let lookups = Lookups::new(dns);
        let interval = flow.interval;
        let translations = Translations::default();
        let looked = Instant::now();
        let mut flows = Self { table, translations, lookups, masker, dumper, interval, looked };
        let now_ns = first.as_ref().map_or(0, |dump| dump.started_ns);
        flows.apply(first, now_ns, processes, targets, registry);
        Some(flows)
    }

    /// Takes the records that wait, up to `limit`; how many there were.
    pub(super) fn drain(
        &mut self,
        limit: usize,
        capture: &mut Capture,
        processes: &mut Processes,
        targets: &Targets,
        registry: &Shared,
    ) -> usize {
        let Some(source) = capture.flows() else { return 0 };
        let mut registry = registry.lock();
        let (flow, dns) = registry.flow_and_dns();
        let Self { table, translations, lookups, masker, .. } = self;
        let mut names = Named { processes, targets, translations };
        source.drain(limit, |told| match told {
            Told::Event(event) => table.event(&event, &mut names, flow),
            Told::Named(ends, protocol, time_ns) => table.named(&ends, protocol, flow, time_ns),
            Told::Dns(captured) => {
                let places = table.places();
                lookups.take(&captured, &mut Around { names: &mut names, places, masker, metrics: dns });
            }
        })
    }

    /// Takes a client's handshake: the name in its hello is what the other end may be called.
    pub(super) fn hello(&mut self, handshake: &Handshake, metrics: &mut FlowMetrics) {
        if let (Role::Client, Some(name)) = (handshake.role, &handshake.server_name) {
            let endpoints = &handshake.endpoints;
            let ends = Ends { netns: endpoints.netns, local: endpoints.local, remote: endpoints.remote };
            let now_ns = handshake.start_ns + handshake.duration_ns;
            self.table.hello(&ends, &name.as_str().into(), handshake.task.tgid, metrics, now_ns);
        }
    }

    /// Takes exchanges, for the service graph.
    pub(super) fn exchanges(
        &mut self,
        observed: &[Observed],
        processes: &mut Processes,
        targets: &Targets,
        graph: &mut Graph,
    ) {
        let mut names = Named { processes, targets, translations: &mut self.translations };
        for observed in observed {
            self.table.exchange(observed, &mut names, graph);
        }
    }

    /// What is due once a second.
    pub(super) fn second(
        &mut self,
        now_ns: u64,
        capture: &mut Capture,
        processes: &mut Processes,
        targets: &Targets,
        registry: &Shared,
    ) {
        if let Some(answer) = self.dumper.answer() {
            // What ended meanwhile must be known to have ended.
            self.drain(usize::MAX, capture, processes, targets, registry);
            self.apply(answer, now_ns, processes, targets, registry);
        }
        if self.looked.elapsed() + Duration::from_millis(100) >= self.interval {
            self.looked = Instant::now();
            let conntrack = !self.translations.are_known();
            self.dumper.ask(Wanted { holders: self.table.wants_holders(), conntrack });
        }
        self.table.tell_edges(now_ns, registry.lock().graph());
        let places = self.table.places();
        let mut locked = registry.lock();
        let (_, metrics) = locked.flow_and_dns();
        let mut names = Named { processes, targets, translations: &mut self.translations };
        let masker = &self.masker;
        self.lookups.second(now_ns, &mut Around { names: &mut names, places, masker, metrics });
        drop(locked);
        self.translations.second();
        self.report(capture, registry);
    }

    fn apply(
        &mut self,
        dump: std::io::Result<Dump>,
        now_ns: u64,
        processes: &mut Processes,
        targets: &Targets,
        registry: &Shared,
    ) {
        let mut dump = match dump {
            Ok(dump) => dump,
            Err(error) => {
                tracing::warn!("the figures of open connections are not read: {error}");
                return;
            }
        };
        self.translations.apply(dump.conntrack.take());
        let before = thread_time();
        let mut registry = registry.lock();
        let mut names = Named { processes, targets, translations: &mut self.translations };
        self.table.apply(&dump, &mut names, registry.flow(), now_ns);
        let cpu = dump.cpu + thread_time().saturating_sub(before);
        let sockets: usize = dump.namespaces.iter().map(|found| found.sockets.connected.len()).sum();
        registry.own().set(&family::FLOW_INTERVAL_CPU, &[], cpu.as_secs_f64());
        registry.own().set(&family::FLOW_SOCKETS, &[], sockets as f64);
    }

    fn report(&self, capture: &mut Capture, registry: &Shared) {
        let Some(source) = capture.flows() else { return };
        let counters = match source.counters() {
            Ok(counters) => counters,
            Err(error) => {
                tracing::warn!("the counters of connections are not up to date: {error}");
                return;
            }
        };
        let losses = self.table.losses();
        let lookups = self.lookups.losses();
        let untold = self.translations.untold();
        let mut registry = registry.lock();
        let own = registry.own();
        for (counter, count) in FlowCounter::ALL.into_iter().zip(counters) {
            if let Some(cause) = counter.loss() {
                own.set(&family::LOST, &[cause], count as f64);
            }
        }
        for (cause, count) in [
            ("flow_table_full", losses.table_full),
            ("flow_namespace_unread", losses.namespace_unread),
            ("flow_translation_unread", untold.unread),
            ("flow_translation_left_out", untold.left_out),
            ("flow_rejected_record", source.rejected()),
            ("dns_malformed", lookups.malformed),
            ("dns_stream", lookups.stream),
            ("dns_full", lookups.full),
            ("dns_unpaired", lookups.unpaired),
            ("dns_late", lookups.late),
        ] {
            own.set(&family::LOST, &[cause], count as f64);
        }
        let conntrack = f64::from(u8::from(self.translations.are_known()));
        own.set(&family::CAPABILITY, &[Capability::Conntrack.name()], conntrack);
        own.set(&family::DNS_NAMES_FOLDED, &[], self.lookups.folded() as f64);
        let records = counters[FlowCounter::Records as usize];
        own.set(&family::EVENTS, &["flow"], records as f64);
        let resets = counters[FlowCounter::ResetsWithoutConnection as usize];
        own.set(&family::RESETS_WITHOUT_CONNECTION, &[], resets as f64);
    }
}

fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or_default(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    )
}

/// Names of processes, and which are observed.
struct Named<'a> {
    processes: &'a mut Processes,
    targets: &'a Targets,
    translations: &'a mut Translations,
}

impl Names for Named<'_> {
    fn service(&mut self, tgid: u32, comm: Option<[u8; 16]>) -> Option<Service> {
        let known = match comm {
            Some(comm) => self.processes.get(tgid, comm),
            None => self.processes.find(tgid)?,
        };
        let (identity, sight) = self.processes.identity(&known, Instant::now());
        let mut service = identity.service();
        service.is_left_alone |= !self.targets.is_observed(&known.name, &service);
        // One whose pod may become known is looked for again with the next look at all sockets.
        let has_pod = identity.container.is_some_and(|container| !container.pod.is_empty());
        let may_change = matches!(sight, Sight::Until(_)) && !has_pod && !service.is_left_alone;
        (!may_change).then_some(service)
    }

    fn is_wanted(&self, service: Option<&Service>) -> bool {
        match service {
            Some(service) => !service.is_left_alone,
            None => self.targets.is_unknown_observed(),
        }
    }

    fn other_end(&mut self, view: View) -> Option<View> {
        self.translations.other_end(view)
    }

    fn peer(&self, address: IpAddr, time_ns: u64) -> Option<Arc<Peer>> {
        self.processes.directory()?.peer(address.to_canonical(), time_ns)
    }

    fn zone(&self) -> Arc<str> {
        self.processes.directory().map(|directory| Arc::clone(&directory.node().zone)).unwrap_or_default()
    }
}
