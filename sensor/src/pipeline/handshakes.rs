//! The way of TLS handshakes through the daemon.

use std::sync::Arc;

use super::targets::Targets;
use crate::{
    config,
    identity::Processes,
    mask::Masker,
    metric::{Shared, family, limit::Limited, tls},
    protocol::{self, Close, Handshake, Head},
};

/// Protocols that are told apart; more than are registered.
const MAX_PROTOCOLS: usize = 64;

/// Handshakes under way, and those that wait to be told.
pub(super) struct Handshakes {
    open: protocol::Handshakes,
    over: Vec<Handshake>,
    names: Limited,
    protocols: Limited,
}

impl Handshakes {
    pub(super) fn new(config: &config::Tls) -> Self {
        Self {
            open: protocol::Handshakes::default(),
            over: Vec::new(),
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

    /// Tells those that are over.
    pub(super) fn deliver(
        &mut self,
        processes: &mut Processes,
        targets: &Targets,
        masker: &Masker,
        registry: &Shared,
    ) {
        if self.over.is_empty() {
            return;
        }
        let mut registry = registry.lock();
        for handshake in self.over.drain(..) {
            let service = processes.name(handshake.task.tgid, handshake.task.comm);
            if !targets.is_observed(Some(&service)) {
                continue;
            }
            let now_ns = handshake.start_ns + handshake.duration_ns;
            let label = |limited: &mut Limited, value: Option<String>| match value {
                Some(value) => limited.admit(&masker.text(&value), now_ns),
                None => Arc::from(""),
            };
            let key = tls::Key {
                service,
                role: handshake.role,
                server_name: label(&mut self.names, handshake.server_name),
                version: handshake.version,
                next_protocol: label(&mut self.protocols, handshake.alpn),
                error: handshake.error,
            };
            tls::record(registry.tls(), &key, handshake.duration_ns, now_ns);
        }
    }

    /// What is due once a second.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus values are 64-bit floats")]
    pub(super) fn second(&mut self, now_ns: u64, registry: &Shared) {
        self.open.expire(now_ns);
        let losses = self.open.losses();
        let mut registry = registry.lock();
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
}
