//! A request that is answered in HTTP/2, because the server took up `Upgrade: h2c` (RFC 7540 section 3.2).

use super::{
    connection::{Context, Http1},
    lane::State,
};
use crate::protocol::{Connection, Endpoints, Loss, Role, Task};

/// The request of stream 1.
#[derive(Debug)]
pub(in crate::protocol) struct HandedOver {
    pub(in crate::protocol) connection: Connection,
    pub(in crate::protocol) role: Role,
    /// Which request of the connection it is, as in its signals.
    pub(in crate::protocol) number: u64,
    pub(in crate::protocol) task: Task,
    pub(in crate::protocol) endpoints: Endpoints,
    pub(in crate::protocol) method: String,
    /// Path and query.
    pub(in crate::protocol) target: Option<String>,
    pub(in crate::protocol) host: Option<String>,
    pub(in crate::protocol) kept: Vec<(&'static str, String)>,
    pub(in crate::protocol) first_ns: u64,
    pub(in crate::protocol) last_ns: u64,
    /// `None` where the body is not over, or its size is not known.
    pub(in crate::protocol) body_bytes: Option<u64>,
}

impl Http1 {
    /// Gives the request that waits to HTTP/2; `false` when it is not certain which one that is.
    pub(super) fn hand_over(&mut self, context: &mut Context<'_>) -> bool {
        let (Some(role), 1, false) = (self.role, self.queue.len(), self.is_lost) else { return false };
        let is_certain = |pending: &super::pending::Pending| {
            pending.is_http() && pending.answer.is_none() && !pending.head.method.is_empty()
        };
        if !self.queue.front().is_some_and(|pending| is_certain(pending)) {
            return false;
        }
        let Some(pending) = self.queue.pop_front() else { return false };
        self.tell_early(context);
        let lane = self.request_lane();
        let is_over = matches!(lane.state, State::Between);
        let span = if lane.span.request == pending.span.request { lane.span } else { pending.span };
        let head = pending.head;
        let query = head.query.map(|query| format!("?{query}")).unwrap_or_default();
        self.handed_over = Some(Box::new(HandedOver {
            connection: self.connection,
            role,
            number: span.request,
            task: pending.origin.task,
            endpoints: pending.origin.endpoints,
            method: head.method.into_owned(),
            target: head.path.map(|path| path + &query),
            host: head.host,
            kept: head.kept,
            first_ns: span.first_ns,
            last_ns: span.last_ns,
            body_bytes: span.body_bytes.filter(|_| is_over),
        }));
        self.abandon(Loss::Desynchronized, context);
        self.is_upgraded = true;
        true
    }
}
