//! A request that waits for the end of its response.

use super::{
    head::RequestHead,
    lane::{Origin, Span},
};
use crate::protocol::{Connection, End, Exchange, Message, Role};

/// A request that waits.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) head: RequestHead,
    pub(super) origin: Origin,
    /// The request message, as it was when the next one began.
    pub(super) span: Span,
    /// The final response, once its head was seen.
    pub(super) answer: Option<Answer>,
    /// The head was longer than what was captured of it.
    pub(super) is_truncated: bool,
    /// A response without request came shortly before, and may be this request's: some sends are told only
    /// when they return.
    pub(super) is_suspect: bool,
}

/// The status line of a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) version: &'static str,
}

impl Pending {
    /// Whether anything but the look of its first bytes says that this is HTTP.
    pub(super) const fn is_http(&self) -> bool {
        self.head.version.is_some() || self.answer.is_some()
    }

    /// The exchange that this request and `response` make; `None` when the method is not known.
    pub(super) fn into_exchange(
        self,
        connection: Connection,
        role: Role,
        request: &Span,
        response: &Span,
        end: End,
        closed_ns: u64,
    ) -> Option<Exchange> {
        if self.head.method.is_empty() {
            return None;
        }
        let mut request = message(request);
        let response = self.answer.is_some().then(|| message(response));
        if let Some(response) = &response
            && role == Role::Client
        {
            // A send may be stamped when it returns, and cannot have begun after its response came.
            request.first_ns = request.first_ns.min(response.first_ns);
        }
        Some(Exchange {
            connection,
            request_number: self.span.request,
            role,
            endpoints: self.origin.endpoints,
            task: self.origin.task,
            version: self.head.version.or(self.answer.map(|answer| answer.version))?,
            method: self.head.method,
            path: self.head.path,
            query: self.head.query,
            host: self.head.host,
            request_headers: self.head.kept,
            status: self.answer.map(|answer| answer.status),
            request,
            end,
            end_ns: response.map_or(closed_ns, |response| response.last_ns),
            response,
            grpc: None,
        })
    }
}

fn message(span: &Span) -> Message {
    Message {
        first_ns: span.first_ns,
        last_ns: span.last_ns,
        head_bytes: span.head_bytes,
        body_bytes: span.body_bytes,
    }
}
