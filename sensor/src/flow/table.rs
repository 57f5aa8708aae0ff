//! The connections of this host, from what the kernel tells and what a look at all sockets finds.

mod ended;
mod learnt;
mod pair;

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use sensor_common::protocol::NetworkProtocol;

use self::ended::{Ended, Over};
use super::diag::Connected;
use super::graph::Waiting;
use super::listeners::Listeners;
use super::{Dump, Ends, Event, Failure, Places, Totals, View, What};
use crate::identity::Service;
use crate::identity::addresses::Peer;
use crate::metric::flow::{End, FlowMetrics, Listening, Pair, ResetDirection};
use crate::metric::graph::Graph;
use crate::protocol::Role;

/// Settings of the table.
#[derive(Clone, Copy, Debug)]
pub struct TableConfig {
    /// The most connections, and the most listeners, to remember.
    pub max_connections: usize,
}

/// Names of processes.
pub trait Names {
    /// The service that a process is, given the start of its name where that is known.
    fn service(&mut self, tgid: u32, comm: Option<[u8; 16]>) -> Option<Service>;
    /// Whether this service is observed; `None` stands for a process that is not known.
    fn is_wanted(&self, service: Option<&Service>) -> bool;
    /// What the other end's socket has, where addresses are translated on the way.
    fn other_end(&mut self, view: View) -> Option<View>;
    /// Who had an address in the cluster at a time.
    fn peer(&self, address: IpAddr, time_ns: u64) -> Option<Arc<Peer>>;
    /// `cloud.availability_zone` of this node; empty where it is not known.
    fn zone(&self) -> Arc<str>;
}

/// What was not seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Losses {
    /// Connections for which the table had no room: what passes on them is told at their end.
    pub table_full: u64,
    /// Network namespaces that could not be read, each time.
    pub namespace_unread: u64,
}

/// All connections.
pub struct Table {
    config: TableConfig,
    flows: HashMap<Ends, Flow>,
    listeners: Listeners,
    places: Places,
    ended: Ended,
    waiting: Waiting,
    /// Numbers of sockets that ended since the last look was applied, which may still be in the next one.
    closed: HashSet<u64>,
    drops: HashMap<u64, u32>,
    queues: HashMap<(Service, u16), Listening>,
    looks: u64,
    losses: Losses,
    wants_holders: bool,
}

struct Flow {
    cookie: Option<u64>,
    role: Option<Role>,
    /// When it was established, where that was seen.
    since_ns: Option<u64>,
    /// When it was last told or found.
    seen_ns: u64,
    told: Totals,
    has_owner: bool,
    /// What is spoken on it, where that was told.
    protocol: Option<NetworkProtocol>,
    /// `None` when it is not observed.
    pair: Option<Arc<Pair>>,
    /// Whether exchanges were seen on it.
    has_exchanges: bool,
}

/// By whom and when an address is used.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub(super) tgid: Option<u32>,
    pub(super) time_ns: u64,
}

impl At {
    fn of(event: &Event) -> Self {
        Self { tgid: event.task.map(|task| task.tgid), time_ns: event.time_ns }
    }

    /// By whom is not known.
    fn the(time_ns: u64) -> Self {
        Self { tgid: None, time_ns }
    }
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(config: TableConfig, places: Places) -> Self {
        Self {
            config,
            flows: HashMap::new(),
            listeners: Listeners::default(),
            places,
            ended: Ended::default(),
            waiting: Waiting::default(),
            closed: HashSet::new(),
            drops: HashMap::new(),
            queues: HashMap::new(),
            looks: 0,
            losses: Losses::default(),
            wants_holders: true,
        }
    }

    /// Where addresses are, and what they are called.
    pub fn places(&mut self) -> &mut Places {
        &mut self.places
    }

    /// What was not seen so far.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.losses
    }

    /// How many connections are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether no connection is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Whether the next look should tell who holds which socket.
    #[must_use]
    pub fn wants_holders(&self) -> bool {
        self.wants_holders
    }

    /// Takes an event.
    pub fn event(&mut self, event: &Event, names: &mut impl Names, metrics: &mut FlowMetrics) {
        match event.what {
            What::Listen => {
                let owner = event.task.and_then(|task| names.service(task.tgid, Some(task.comm)));
                self.listeners.listens(event.ends.netns, event.ends.local, owner, event.time_ns);
            }
            What::Opened => self.opened(event, names, metrics),
            What::Accepted => self.accepted(event, names, metrics),
            What::Failed => {
                let owner = event.task.and_then(|task| names.service(task.tgid, Some(task.comm)));
                if let Some(pair) = self.pair(&event.ends, Some(Role::Client), owner, At::of(event), names) {
                    let failure = Failure::of(event.error).unwrap_or(Failure::Aborted);
                    metrics.failed(&pair, failure, event.time_ns);
                    let role = Some(Role::Client);
                    self.waiting.over(&pair, role, Some(failure), event.time_ns);
                }
            }
            What::Closed => self.closed(event, names, metrics),
            What::ResetSent => self.reset(event, ResetDirection::Sent, metrics),
            What::ResetReceived => self.reset(event, ResetDirection::Received, metrics),
        }
    }

    fn opened(&mut self, event: &Event, names: &mut impl Names, metrics: &mut FlowMetrics) {
        let owner = event.task.and_then(|task| names.service(task.tgid, Some(task.comm)));
        let has_owner = owner.is_some();
        let pair = self.pair(&event.ends, Some(Role::Client), owner, At::of(event), names);
        let is_kept = self.insert(event, Role::Client, has_owner, pair.clone(), metrics);
        if let Some(pair) = &pair {
            let took = event.started_ns.map(|start| event.time_ns.saturating_sub(start));
            metrics.opened(pair, took, is_kept, event.time_ns);
        }
    }

    fn accepted(&mut self, event: &Event, names: &mut impl Names, metrics: &mut FlowMetrics) {
        let owner = self.listeners.owner(event.ends.netns, event.ends.local).cloned();
        let has_owner = owner.is_some();
        let pair = self.pair(&event.ends, Some(Role::Server), owner, At::of(event), names);
        let is_kept = self.insert(event, Role::Server, has_owner, pair.clone(), metrics);
        if let Some(pair) = &pair {
            metrics.accepted(pair, is_kept, event.time_ns);
        }
    }

    /// Whether there was room for it; then it is one more that is open.
    fn insert(
        &mut self,
        event: &Event,
        role: Role,
        has_owner: bool,
        pair: Option<Arc<Pair>>,
        metrics: &mut FlowMetrics,
    ) -> bool {
        // The end of the one before was lost, and counted by who lost it.
        if self.flows.contains_key(&event.ends) {
            self.forget(&event.ends, event.time_ns, metrics);
        }
        if self.flows.len() >= self.config.max_connections {
            self.losses.table_full += 1;
            return false;
        }
        self.wants_holders |= !has_owner;
        let flow = Flow {
            cookie: event.cookie,
            role: Some(role),
            since_ns: Some(event.time_ns),
            seen_ns: event.time_ns,
            told: Totals::default(),
            has_owner,
            protocol: None,
            pair,
            has_exchanges: false,
        };
        self.flows.insert(event.ends, flow);
        true
    }

    fn closed(&mut self, event: &Event, names: &mut impl Names, metrics: &mut FlowMetrics) {
        self.closed.extend(event.cookie);
        let failure = Failure::of(event.error);
        let Some(flow) = self.flows.remove(&event.ends) else {
            // It was too many, or its establishment was lost; its figures are whole all the same.
            let owner = self.listeners.owner(event.ends.netns, event.ends.local).cloned();
            if let Some(pair) = self.pair(&event.ends, None, owner, At::of(event), names) {
                let end = End { failure, lifetime_ns: None, passed: event.totals, was_active: false };
                metrics.closed(&pair, &end, event.time_ns);
            }
            return;
        };
        if let Some(pair) = flow.pair {
            let lifetime_ns = flow.since_ns.map(|since| event.time_ns.saturating_sub(since));
            let passed = event.totals.since(flow.told);
            let end = End { failure, lifetime_ns, passed, was_active: true };
            metrics.closed(&pair, &end, event.time_ns);
            let waits = !flow.has_exchanges;
            let ticket = waits.then(|| self.waiting.over(&pair, flow.role, failure, event.time_ns)).flatten();
            self.ended.put(event.ends, Over { pair, ticket });
        }
    }

    fn reset(&mut self, event: &Event, direction: ResetDirection, metrics: &mut FlowMetrics) {
        let flow = self.flows.get(&event.ends).and_then(|flow| flow.pair.as_ref());
        if let Some(pair) = flow.or_else(|| self.ended.get(&event.ends).map(|over| &over.pair)) {
            metrics.reset(pair, direction, event.time_ns);
        }
    }

    fn forget(&mut self, ends: &Ends, now_ns: u64, metrics: &mut FlowMetrics) -> Option<Flow> {
        let flow = self.flows.remove(ends)?;
        if let Some(pair) = &flow.pair {
            metrics.active(pair, -1, now_ns);
        }
        Some(flow)
    }

    /// Takes what a look at all sockets found. Events until its end must have been taken before.
    pub fn apply(&mut self, dump: &Dump, names: &mut impl Names, metrics: &mut FlowMetrics, now_ns: u64) {
        self.losses.namespace_unread += dump.failed as u64;
        let addresses = dump.namespaces.iter();
        self.places.set_addresses(
            addresses.flat_map(|found| found.addresses.iter().map(|address| (found.inode, *address))),
        );
        self.wants_holders = false;
        self.listeners(dump, names, metrics, now_ns);
        let mut accepted = Vec::new();
        for namespace in &dump.namespaces {
            for socket in &namespace.sockets.connected {
                let ends = Ends { netns: namespace.inode, local: socket.local, remote: socket.remote };
                if !self.flows.contains_key(&ends) && self.listeners.owner(ends.netns, ends.local).is_some() {
                    accepted.push((ends, socket));
                } else {
                    self.found(&ends, socket, dump, names, metrics, now_ns);
                }
            }
        }
        // A server's other end is named by the client's own entry.
        for (ends, socket) in accepted {
            self.found(&ends, socket, dump, names, metrics, now_ns);
        }
        self.drop_unseen(dump, metrics, now_ns);
        self.closed.clear();
        self.looks += 1;
    }

    fn listeners(&mut self, dump: &Dump, names: &mut impl Names, metrics: &mut FlowMetrics, now_ns: u64) {
        let mut drops = HashMap::new();
        // Listeners that are gone have empty queues.
        self.queues.values_mut().for_each(|queue| *queue = Listening::default());
        for namespace in &dump.namespaces {
            for socket in &namespace.sockets.listening {
                if !self.listeners.found(namespace.inode, socket.local, dump.started_ns) {
                    let owner = holder(dump, socket.inode, names);
                    if owner.is_some() {
                        self.listeners.listens(namespace.inode, socket.local, owner, dump.started_ns);
                    } else if dump.holders.is_some() {
                        self.listeners.has_none(namespace.inode, socket.local);
                    } else {
                        self.wants_holders = true;
                    }
                }
                // What was dropped before the first look was dropped before the sensor.
                let known = self.drops.get(&socket.cookie).copied();
                let known = known.unwrap_or(if self.looks == 0 { socket.drops } else { 0 });
                drops.insert(socket.cookie, socket.drops);
                let owner = self.listeners.owner(namespace.inode, socket.local).cloned();
                if !names.is_wanted(owner.as_ref()) {
                    continue;
                }
                let key = (owner.unwrap_or_default(), socket.local.port());
                let queue = self.queues.entry(key).or_default();
                queue.drops += u64::from(socket.drops.wrapping_sub(known));
                queue.queue += u64::from(socket.queue);
                queue.limit += u64::from(socket.queue_limit);
            }
        }
        self.drops = drops;
        let read = dump.namespaces.iter().map(|namespace| namespace.inode).collect();
        self.listeners.retain_since(dump.started_ns, &read, self.config.max_connections);
        for (key, listening) in &self.queues {
            metrics.listening(key, *listening, now_ns);
        }
        self.queues.retain(|_, listening| listening.limit > 0);
    }

    fn found(
        &mut self,
        ends: &Ends,
        socket: &Connected,
        dump: &Dump,
        names: &mut impl Names,
        metrics: &mut FlowMetrics,
        now_ns: u64,
    ) {
        if !self.flows.contains_key(ends) {
            if self.closed.contains(&socket.cookie) {
                return;
            }
            if self.flows.len() >= self.config.max_connections {
                self.losses.table_full += 1;
                return;
            }
            // Older than the sensor, or its establishment was lost. What passed before the sensor is not told.
            let told = if self.looks == 0 { socket.totals } else { Totals::default() };
            // What nobody has accepted yet has no inode.
            let owner = match socket.inode {
                0 => self.listeners.owner(ends.netns, ends.local).cloned(),
                inode => holder(dump, inode, names),
            };
            let flow = Flow {
                cookie: Some(socket.cookie),
                role: None,
                since_ns: None,
                seen_ns: dump.started_ns,
                told,
                has_owner: owner.is_some(),
                protocol: None,
                pair: None,
                has_exchanges: false,
            };
            self.flows.insert(*ends, flow);
            let pair = self.pair(ends, None, owner, At::the(now_ns), names);
            self.set_pair(ends, pair, metrics, now_ns);
        }
        let Some(flow) = self.flows.get_mut(ends) else { return };
        let another = flow.cookie.is_some_and(|cookie| cookie != socket.cookie);
        if flow.seen_ns > dump.started_ns || another {
            return;
        }
        flow.cookie = Some(socket.cookie);
        flow.seen_ns = dump.started_ns;
        let has_owner = flow.has_owner;
        let role = flow.role;
        if !has_owner && socket.inode != 0 {
            match holder(dump, socket.inode, names) {
                Some(owner) => {
                    let pair = self.pair(ends, role, Some(owner), At::the(now_ns), names);
                    self.set_pair(ends, pair, metrics, now_ns);
                }
                None => self.wants_holders |= dump.holders.is_none(),
            }
        }
        let Some(flow) = self.flows.get_mut(ends) else { return };
        flow.has_owner |= dump.holders.is_some();
        if let Some(pair) = &flow.pair {
            metrics.passed(pair, &socket.totals.since(flow.told), now_ns);
        }
        flow.told = socket.totals;
    }

    fn set_pair(&mut self, ends: &Ends, pair: Option<Arc<Pair>>, metrics: &mut FlowMetrics, now_ns: u64) {
        let Some(flow) = self.flows.get_mut(ends) else { return };
        let pair = pair.map(|pair| learnt::speaking(pair, flow.protocol));
        if let Some(before) = &flow.pair {
            metrics.active(before, -1, now_ns);
        }
        if let Some(pair) = &pair {
            metrics.active(pair, 1, now_ns);
        }
        flow.pair = pair;
    }

    /// Forgets connections that a look did not find: their end was lost, and counted by who lost it.
    fn drop_unseen(&mut self, dump: &Dump, metrics: &mut FlowMetrics, now_ns: u64) {
        let read: HashSet<u32> = dump.namespaces.iter().map(|namespace| namespace.inode).collect();
        let gone: Vec<Ends> = self
            .flows
            .iter()
            .filter(|(ends, flow)| flow.seen_ns < dump.started_ns && read.contains(&ends.netns))
            .map(|(ends, _)| *ends)
            .collect();
        for ends in gone {
            self.forget(&ends, now_ns, metrics);
        }
    }

    /// Tells the edges of connections that are over and on which no exchange was seen.
    pub fn tell_edges(&mut self, now_ns: u64, graph: &mut Graph) {
        self.waiting.tell(now_ns, graph);
    }

    /// Who speaks with whom on a connection on which an exchange was seen; `None` when that is not observed.
    pub(super) fn used(
        &mut self,
        ends: &Ends,
        role: Role,
        service: impl FnOnce() -> Service,
        at: At,
        names: &mut impl Names,
    ) -> Option<Arc<Pair>> {
        if let Some(flow) = self.flows.get_mut(ends) {
            flow.has_exchanges = true;
            return flow.pair.clone();
        }
        if let Some(over) = self.ended.get_mut(ends) {
            if let Some(ticket) = over.ticket.take() {
                self.waiting.used(&ticket);
            }
            return Some(Arc::clone(&over.pair));
        }
        self.pair(ends, Some(role), Some(service()), at, names)
    }
}

/// The service that holds a socket open; `None` when nobody does, or services of different names.
fn holder(dump: &Dump, inode: u32, names: &mut impl Names) -> Option<Service> {
    /// Who passes sockets on to those it starts (socket activation).
    const INIT: u32 = 1;
    let holders = dump.holders.as_ref()?.get(&inode)?;
    let only_init = holders.as_slice() == [INIT];
    let mut services = holders
        .iter()
        .filter(|holder| only_init || **holder != INIT)
        .map(|holder| names.service(*holder, None));
    let first = services.next()??;
    services.all(|service| service.as_ref() == Some(&first)).then_some(first)
}

#[cfg(test)]
mod tests;
