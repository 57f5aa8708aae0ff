//! The way of TLS handshakes through the daemon.

use std::sync::Arc;
use std::time::Instant;

use super::flows::Flows;
use super::sinks::Sinks;
use super::targets::Targets;
use crate::{
    config,
    identity::{Known, Processes, Sight},
    log,
    mask::Masker,
    metric::{Shared, family, limit::Limited, tls},
    protocol::{self, Close, Handshake, Head},
    trace::ObservedHandshake,
};

/// Protocols that are told apart; more than are registered.
const MAX_PROTOCOLS: usize = 64;
/// The most handshakes that wait until more is known of their container; one more is told with what is.
const WAITING_MAX: usize = 4_096;

/// Handshakes under way, and those that wait to be told.
pub(super) struct Handshakes {
    open: protocol::Handshakes,
    over: Vec<Handshake>,
    waiting: Vec<(Handshake, Known)>,
    names: Limited,
    protocols: Limited,
}

/// What handshakes are told with.
pub(super) struct Around<'a> {
    pub(super) processes: &'a mut Processes,
    pub(super) targets: &'a Targets,
    pub(super) masker: &'a Masker,
    /// Whose other ends have names by hellos.
    pub(super) flows: Option<&'a mut Flows>,
    /// Where their spans go, and whose traces these are of; `None` where nobody wants them.
    pub(super) spans: Option<(&'a log::Requests, &'a mut Sinks)>,
    pub(super) registry: &'a Shared,
}

impl Handshakes {
    pub(super) fn new(config: &config::Tls) -> Self {
        Self {
            open: protocol::Handshakes::default(),
            over: Vec::new(),
            waiting: Vec::new(),
            names: Limited::new(config.max_names),
            protocols: Limited::new(MAX_PROTOCOLS),
        }
    }

    pub(super) fn on_head(&mut self, head: &Head<'_>) {
        self.over.extend(self.open.on_head(head));
    }

    pub(super) fn on_close(&mut self, close: &Close) {
        self.over.extend(self.open.on_close(close));
    }

    /// Tells those that are over, but for those whose container is not known yet.
    pub(super) fn deliver(&mut self, around: &mut Around<'_>) {
        if self.over.is_empty() {
            return;
        }
        let mut named = Vec::with_capacity(self.over.len());
        for handshake in self.over.drain(..) {
            let known = around.processes.get(handshake.task.tgid, handshake.task.comm);
            named.push((handshake, known));
        }
        self.tell(named, true, around);
    }

    /// Tells those that waited; in the end all of them.
    pub(super) fn finish(&mut self, around: &mut Around<'_>) {
        let waiting = std::mem::take(&mut self.waiting);
        self.tell(waiting, false, around);
    }

    /// What is due once a second.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus values are 64-bit floats")]
    pub(super) fn second(&mut self, now_ns: u64, around: &mut Around<'_>) {
        let waiting = std::mem::take(&mut self.waiting);
        self.tell(waiting, true, around);
        self.open.expire(now_ns);
        let losses = self.open.losses();
        let mut registry = around.registry.lock();
        let own = registry.own();
        for (cause, count) in [
            ("tls_malformed", losses.malformed),
            ("tls_unread", losses.unread),
            ("tls_early_data", losses.early_data),
            ("tls_unfinished", losses.unfinished),
            ("tls_evicted", losses.evicted),
        ] {
            own.set(&family::LOST, &[cause], count as f64);
        }
        own.set(&family::TLS_NAMES_FOLDED, &[], self.names.folded() as f64);
    }

    fn tell(&mut self, handshakes: Vec<(Handshake, Known)>, may_wait: bool, around: &mut Around<'_>) {
        if handshakes.is_empty() {
            return;
        }
        let mut told = Vec::new();
        let mut registry = around.registry.lock();
        let now = Instant::now();
        for (mut handshake, known) in handshakes {
            let (identity, sight) = around.processes.identity(&known, now);
            if may_wait && matches!(sight, Sight::Until(_)) && self.waiting.len() < WAITING_MAX {
                self.waiting.push((handshake, known));
                continue;
            }
            let service = identity.service();
            if service.is_left_alone || !around.targets.is_observed(&known.name, &service) {
                continue;
            }
            let now_ns = handshake.start_ns + handshake.duration_ns;
            for text in [&mut handshake.server_name, &mut handshake.alpn] {
                *text = text.take().map(|text| around.masker.text(&text).into_owned());
            }
            let label = |limited: &mut Limited, value: Option<&str>| match value {
                Some(value) => limited.admit(value, now_ns),
                None => Arc::from(""),
            };
            let key = tls::Key {
                service,
                role: handshake.role,
                server_name: label(&mut self.names, handshake.server_name.as_deref()),
                version: handshake.version,
                next_protocol: label(&mut self.protocols, handshake.alpn.as_deref()),
                error: handshake.error,
            };
            tls::record(registry.tls(), &key, handshake.duration_ns, now_ns);
            if let Some(flows) = &mut around.flows {
                flows.hello(&handshake, registry.flow());
            }
            told.push((handshake, identity));
        }
        drop(registry);
        let Some((requests, sinks)) = &mut around.spans else { return };
        let observed: Vec<_> = {
            let mut joiner = requests.joiner();
            let observe = |(handshake, identity)| {
                let span = joiner.handshake(&handshake);
                ObservedHandshake { handshake, identity, span }
            };
            told.into_iter().map(observe).collect()
        };
        sinks.take_handshakes(&observed);
    }
}
