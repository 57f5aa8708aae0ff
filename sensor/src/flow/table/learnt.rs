//! What is learnt of a connection after it was established.

use std::sync::Arc;

use sensor_common::protocol::NetworkProtocol;

use super::Table;
use crate::flow::Ends;
use crate::metric::flow::{FlowMetrics, Pair};

impl Table {
    /// The process `tgid` asked for `name` by the TLS hello on its connection. That is what the other end is called from now on, where no
    /// lookup has said how.
    pub fn hello(&mut self, ends: &Ends, name: &Arc<str>, tgid: u32, metrics: &mut FlowMetrics, now_ns: u64) {
        let Some(name) = self.places.learn_hello(ends.remote.ip(), name, tgid, now_ns) else { return };
        let called = |pair: &Arc<Pair>| Arc::new(Pair { peer_name: Arc::clone(&name), ..Pair::clone(pair) });
        match self.flows.get(ends).map(|flow| &flow.pair) {
            Some(Some(pair)) if pair.peer_name != name => {
                let pair = called(pair);
                self.set_pair(ends, Some(pair), metrics, now_ns);
            }
            Some(_) => {}
            None => {
                if let Some(over) = self.ended.get_mut(ends) {
                    over.pair = called(&over.pair);
                }
            }
        }
    }

    /// What is spoken between `ends` was seen. What was first stays: TLS that begins later has it inside.
    pub fn named(&mut self, ends: &Ends, protocol: NetworkProtocol, metrics: &mut FlowMetrics, now_ns: u64) {
        let Some(flow) = self.flows.get_mut(ends) else { return };
        if flow.protocol.is_none() {
            flow.protocol = Some(protocol);
            let pair = flow.pair.clone();
            self.set_pair(ends, pair, metrics, now_ns);
        }
    }
}

/// Those who speak with each other, and what.
pub(super) fn speaking(pair: Arc<Pair>, protocol: Option<NetworkProtocol>) -> Arc<Pair> {
    match protocol {
        Some(_) if pair.protocol != protocol => Arc::new(Pair { protocol, ..Pair::clone(&pair) }),
        _ => pair,
    }
}
