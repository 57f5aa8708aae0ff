//! Metrics of TCP connections, by workload pair.

use std::borrow::Cow;
use std::sync::Arc;

use hashbrown::Equivalent;
use sensor_common::protocol::NetworkProtocol;

use super::group::{Group, Values};
use super::histogram::{Histogram, LATENCY, LATENCY_SLOTS, LIFETIME, LIFETIME_SLOTS};
use super::room::Room;
use super::{Labels, Sample, Source, family};
use crate::flow::{Failure, Network, Totals};
use crate::identity::Service;

/// Ports from here on are given to clients (`net.ipv4.ip_local_port_range`), and are no label.
pub const EPHEMERAL_PORTS: u16 = 32_768;

/// Who speaks with whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    /// The local process; empty where it is not known.
    pub service: Service,
    /// `cloud.availability_zone` of this node, where it is known.
    pub zone: Arc<str>,
    /// `service.name` of the other end, where that is a process of this host, or in the cluster the Service behind its
    /// address; else empty.
    pub peer_service: Arc<str>,
    /// `service.namespace` of the other end, where it is known.
    pub peer_namespace: Arc<str>,
    /// `cloud.availability_zone` of the other end, where it is known.
    pub peer_zone: Arc<str>,
    /// The name by which the other end was looked up; else empty.
    pub peer_name: Arc<str>,
    /// Where the other end is.
    pub network: Network,
    /// The listener's port, where it is known which end that is and the port is none of clients.
    pub server_port: Option<u16>,
    /// The Service whose address the client connected to, where the server has another name.
    pub server_service: Arc<str>,
    /// What they speak, where that was told.
    pub protocol: Option<NetworkProtocol>,
}

impl Pair {
    fn pairs(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        let port = self.server_port.filter(|port| *port < EPHEMERAL_PORTS);
        [
            ("service_name", Cow::Borrowed(&*self.service)),
            ("peer_service_name", Cow::Borrowed(&*self.peer_service)),
            ("peer_dns_name", Cow::Borrowed(&*self.peer_name)),
            ("peer_network", Cow::Borrowed(self.network.name())),
            ("server_port", port.map_or(Cow::Borrowed(""), |port| Cow::Owned(port.to_string()))),
            ("server_k8s_service_name", Cow::Borrowed(&*self.server_service)),
            ("peer_service_namespace", Cow::Borrowed(&*self.peer_namespace)),
            ("cloud_availability_zone", Cow::Borrowed(&*self.zone)),
            ("peer_cloud_availability_zone", Cow::Borrowed(&*self.peer_zone)),
            ("network_protocol_name", Cow::Borrowed(self.protocol.map_or("", NetworkProtocol::name))),
        ]
        .into_iter()
        .chain(labels_of(&self.service))
    }

    fn labels(&self, more: &'static str, value: &'static str) -> Labels {
        Labels::new(self.pairs().chain([(more, Cow::Borrowed(value))]))
    }
}

/// What a service is in the cluster.
pub(super) fn labels_of(service: &Service) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
    let labels = service.workload.iter().flat_map(|workload| workload.labels());
    labels.map(|(name, value)| (name, Cow::Borrowed(value)))
}

/// Which way a reset went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResetDirection {
    /// The local end sent it.
    Sent,
    /// The local end received it.
    Received,
}

impl ResetDirection {
    const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Received => "received",
        }
    }
}

/// What is kept of a pair, in the order of [`family::FLOW`].
#[derive(Debug, Default)]
pub struct FlowValues {
    opened: u64,
    accepted: u64,
    active: i64,
    connect: Histogram<LATENCY_SLOTS>,
    lifetime: Histogram<LIFETIME_SLOTS>,
    rtt: Histogram<LATENCY_SLOTS>,
    passed: Passed,
}

impl FlowValues {
    fn add(&mut self, more: &Totals) {
        self.passed.sent_bytes += more.sent_bytes;
        self.passed.received_bytes += more.received_bytes;
        self.passed.sent_segments += u64::from(more.sent_segments);
        self.passed.received_segments += u64::from(more.received_segments);
        self.passed.retransmits += u64::from(more.retransmits);
        if more.rtt_us > 0 {
            self.rtt.record(&LATENCY, u64::from(more.rtt_us) * 1_000);
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Passed {
    sent_bytes: u64,
    received_bytes: u64,
    sent_segments: u64,
    received_segments: u64,
    retransmits: u64,
}

impl Passed {
    /// One of the figures, once there are any: what is spoken becomes known early, and then the pair is another one.
    fn sample(&self, figure: impl Fn(&Self) -> u64) -> Option<Sample<'_>> {
        (*self != Self::default()).then(|| Sample::Counter(figure(self) as f64))
    }
}

impl Values for FlowValues {
    fn sample(&self, family: usize) -> Option<Sample<'_>> {
        let counted = |count: u64| (count > 0).then_some(Sample::Counter(count as f64));
        match family {
            0 => counted(self.opened),
            1 => counted(self.accepted),
            2 => Some(Sample::Gauge(self.active as f64)),
            3 => self.connect.read(&LATENCY).map(Sample::Histogram),
            4 => self.lifetime.read(&LIFETIME).map(Sample::Histogram),
            5 => self.rtt.read(&LATENCY).map(Sample::Histogram),
            6 => self.passed.sample(|passed| passed.sent_bytes),
            7 => self.passed.sample(|passed| passed.received_bytes),
            8 => self.passed.sample(|passed| passed.sent_segments),
            9 => self.passed.sample(|passed| passed.received_segments),
            10 => self.passed.sample(|passed| passed.retransmits),
            _ => None,
        }
    }

    fn make_native(&mut self) {
        self.connect.make_native();
        self.lifetime.make_native();
        self.rtt.make_native();
    }
}

/// A counter.
#[derive(Debug, Default)]
pub struct Count(u64);

impl Values for Count {
    fn sample(&self, _: usize) -> Option<Sample<'_>> {
        Some(Sample::Counter(self.0 as f64))
    }
}

/// What is kept of a listener, in the order of [`family::FLOW_LISTENERS`].
#[derive(Debug, Default)]
pub struct ListenValues {
    drops: u64,
    queue: u64,
    limit: u64,
}

impl Values for ListenValues {
    fn sample(&self, family: usize) -> Option<Sample<'_>> {
        match family {
            0 => Some(Sample::Counter(self.drops as f64)),
            1 => Some(Sample::Gauge(self.queue as f64)),
            2 => Some(Sample::Gauge(self.limit as f64)),
            _ => None,
        }
    }
}

/// The state of listeners.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listening {
    /// Connections dropped since this was last told.
    pub drops: u64,
    /// Connections that wait to be accepted.
    pub queue: u64,
    /// How many may wait.
    pub limit: u64,
}

/// The end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Why, where it was an error.
    pub failure: Option<Failure>,
    /// After how many nanoseconds, where its start was seen.
    pub lifetime_ns: Option<u64>,
    /// What has passed since it was last told.
    pub passed: Totals,
    /// Whether it was one of those that are open.
    pub was_active: bool,
}

/// A pair with something else, as a key that need not be made to be looked up.
#[derive(Hash)]
struct With<'a, T>(&'a Pair, T);

impl<T: Eq> Equivalent<(Pair, T)> for With<'_, T> {
    fn equivalent(&self, (pair, more): &(Pair, T)) -> bool {
        self.0 == pair && self.1 == *more
    }
}

/// All metrics of connections.
pub struct FlowMetrics {
    pairs: Group<Pair, FlowValues>,
    failed: Group<(Pair, Failure), Count>,
    closed: Group<(Pair, Option<Failure>), Count>,
    resets: Group<(Pair, ResetDirection), Count>,
    listeners: Group<(Service, u16), ListenValues>,
}

impl FlowMetrics {
    /// Holds at most `limit` label sets for each family.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            pairs: Group::new(&family::FLOW, limit),
            failed: Group::new(&family::FLOW_FAILED, limit),
            closed: Group::new(&family::FLOW_CLOSED, limit),
            resets: Group::new(&family::FLOW_RESETS, limit),
            listeners: Group::new(&family::FLOW_LISTENERS, limit),
        }
    }

    fn pair(&mut self, pair: &Pair, now_ns: u64) -> &mut FlowValues {
        self.pairs.values(pair, now_ns, || (pair.clone(), Labels::new(pair.pairs())))
    }

    /// A process connected, in so many nanoseconds where that is known. Whether that makes one more that is open.
    pub fn opened(&mut self, pair: &Pair, connect_ns: Option<u64>, is_active: bool, now_ns: u64) {
        let values = self.pair(pair, now_ns);
        values.opened += 1;
        values.active += i64::from(is_active);
        if let Some(took) = connect_ns {
            values.connect.record(&LATENCY, took);
        }
    }

    /// A listener's connection was established. Whether that makes one more that is open.
    pub fn accepted(&mut self, pair: &Pair, is_active: bool, now_ns: u64) {
        let values = self.pair(pair, now_ns);
        values.accepted += 1;
        values.active += i64::from(is_active);
    }

    /// So many more connections are open, or fewer.
    pub fn active(&mut self, pair: &Pair, change: i64, now_ns: u64) {
        self.pair(pair, now_ns).active += change;
    }

    /// A process tried to connect in vain.
    pub fn failed(&mut self, pair: &Pair, failure: Failure, now_ns: u64) {
        let make = || ((pair.clone(), failure), pair.labels("error_type", failure.name()));
        self.failed.values(&With(pair, failure), now_ns, make).0 += 1;
    }

    /// A connection is over.
    pub fn closed(&mut self, pair: &Pair, end: &End, now_ns: u64) {
        let values = self.pair(pair, now_ns);
        values.active -= i64::from(end.was_active);
        if let Some(lifetime) = end.lifetime_ns {
            values.lifetime.record(&LIFETIME, lifetime);
        }
        values.add(&end.passed);
        let failure = end.failure;
        let make = || ((pair.clone(), failure), pair.labels("error_type", failure.map_or("", Failure::name)));
        self.closed.values(&With(pair, failure), now_ns, make).0 += 1;
    }

    /// A reset.
    pub fn reset(&mut self, pair: &Pair, direction: ResetDirection, now_ns: u64) {
        let make = || ((pair.clone(), direction), pair.labels("direction", direction.name()));
        self.resets.values(&With(pair, direction), now_ns, make).0 += 1;
    }

    /// What has passed since it was last told.
    pub fn passed(&mut self, pair: &Pair, more: &Totals, now_ns: u64) {
        self.pair(pair, now_ns).add(more);
    }

    /// How full the queues of a service's listeners on a port are, and how many connections they dropped since that was
    /// last told.
    pub fn listening(&mut self, key: &(Service, u16), now: Listening, now_ns: u64) {
        let make = || {
            let port = if key.1 < EPHEMERAL_PORTS { key.1.to_string() } else { String::new() };
            let labels = Labels::new(
                [("service_name", (*key.0).into()), ("server_port", port.into())]
                    .into_iter()
                    .chain(labels_of(&key.0)),
            );
            (key.clone(), labels)
        };
        let values = self.listeners.values(key, now_ns, make);
        values.drops += now.drops;
        values.queue = now.queue;
        values.limit = now.limit;
    }

    /// Drops the series that were last written before `before_ns`, and says how many.
    pub fn expire(&mut self, before_ns: u64) -> usize {
        self.pairs.expire(before_ns)
            + self.failed.expire(before_ns)
            + self.closed.expire(before_ns)
            + self.resets.expire(before_ns)
            + self.listeners.expire(before_ns)
    }

    /// With room that it shares with others.
    #[must_use]
    pub fn within(self, room: &Room) -> Self {
        Self {
            pairs: self.pairs.within(room),
            failed: self.failed.within(room),
            closed: self.closed.within(room),
            resets: self.resets.within(room),
            listeners: self.listeners.within(room),
        }
    }

    /// Label sets held and recordings that found no room, by family.
    pub fn fill(&self) -> impl Iterator<Item = (&'static family::Family, usize, u64)> {
        let of = |families: &'static [&'static family::Family], held: usize, folded: u64| {
            families.iter().map(move |family| (*family, held, folded))
        };
        of(&family::FLOW, self.pairs.len(), self.pairs.folded())
            .chain(of(&family::FLOW_FAILED, self.failed.len(), self.failed.folded()))
            .chain(of(&family::FLOW_CLOSED, self.closed.len(), self.closed.folded()))
            .chain(of(&family::FLOW_RESETS, self.resets.len(), self.resets.folded()))
            .chain(of(&family::FLOW_LISTENERS, self.listeners.len(), self.listeners.folded()))
    }

    /// All families and their series.
    #[must_use]
    pub fn sources(&self) -> [&dyn Source; 5] {
        [&self.pairs, &self.failed, &self.closed, &self.resets, &self.listeners]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> Pair {
        Pair {
            service: "shop".into(),
            zone: "".into(),
            peer_service: "db".into(),
            peer_namespace: "".into(),
            peer_zone: "".into(),
            peer_name: "".into(),
            network: Network::Node,
            server_port: Some(5432),
            server_service: "".into(),
            protocol: None,
        }
    }

    #[test]
    fn a_pair_has_these_labels_and_no_ephemeral_port() {
        let labels = |pair: &Pair| -> Vec<(&'static str, String)> {
            Labels::new(pair.pairs()).iter().map(|(name, value)| (name, value.to_owned())).collect()
        };
        let expected = [
            ("peer_network", "node".to_owned()),
            ("peer_service_name", "db".to_owned()),
            ("server_port", "5432".to_owned()),
            ("service_name", "shop".to_owned()),
        ];
        assert_eq!(labels(&pair()), expected);
        let ephemeral = Pair { server_port: Some(EPHEMERAL_PORTS), ..pair() };
        assert!(labels(&ephemeral).iter().all(|(name, _)| *name != "server_port"));
    }

    #[test]
    fn what_has_passed_adds_up() {
        let mut metrics = FlowMetrics::new(10);
        let more = Totals { sent_bytes: 10, retransmits: 1, ..Totals::default() };
        metrics.passed(&pair(), &more, 1);
        metrics.passed(&pair(), &more, 2);
        let [pairs, ..] = metrics.sources();
        assert_eq!(pairs.read(6, 0).unwrap().1, Sample::Counter(20.0));
        assert_eq!(pairs.read(10, 0).unwrap().1, Sample::Counter(2.0));
        assert!(pairs.read(5, 0).is_none(), "no round trip was measured");
    }
}
