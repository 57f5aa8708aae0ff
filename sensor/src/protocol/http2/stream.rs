//! One stream: a request and its response.

use super::{fields::Fields, grpc::Messages};
use crate::protocol::{Connection, End, Endpoints, Exchange, Grpc, Message, Role, Task, http1::HandedOver};

/// A stream that is open.
#[derive(Debug)]
pub(super) struct Stream {
    request: Fields,
    task: Task,
    endpoints: Endpoints,
    /// Request and response.
    messages: [Half; 2],
    status: Option<u16>,
    grpc_status: Option<u16>,
    is_grpc: bool,
    /// Frames of it may have been missed.
    is_doubtful: bool,
    /// The response is told before its request: by then another thread may have received it, because a send may be told
    /// only when it returns.
    is_early: bool,
    /// How and when it ended, if it did before its request was told.
    ended: Option<(End, u64)>,
}

/// One direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Half {
    first_ns: u64,
    last_ns: u64,
    body_bytes: u64,
    is_size_unknown: bool,
    messages: Messages,
}

/// Which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Request,
    Response,
}

impl Stream {
    pub(super) fn new(mut request: Fields, task: Task, endpoints: Endpoints, began_ns: u64) -> Self {
        let is_grpc = request.is_grpc;
        let half = Half { first_ns: began_ns, last_ns: began_ns, ..Half::default() };
        if request.method.is_none() {
            // A name that nobody can know: never a guess.
            request.method = Some("*".to_owned());
        }
        Self {
            request,
            task,
            endpoints,
            messages: [half, Half::default()],
            status: None,
            grpc_status: None,
            is_grpc,
            is_doubtful: false,
            is_early: false,
            ended: None,
        }
    }

    /// Stream 1 of a connection that began as HTTP/1 (RFC 7540 section 3.2). Doubtful until it is known that all of its
    /// response is told.
    pub(super) fn handed_over(request: HandedOver) -> Self {
        let HandedOver { method, target, host, kept, first_ns, last_ns, body_bytes, .. } = request;
        let fields =
            Fields { method: Some(method), path: target, authority: host, kept, ..Fields::default() };
        let mut stream = Self::new(fields, request.task, request.endpoints, first_ns);
        stream.is_doubtful = true;
        let half = stream.half(Which::Request);
        half.last_ns = last_ns;
        half.body_bytes = body_bytes.unwrap_or_default();
        half.is_size_unknown = body_bytes.is_none();
        stream
    }

    /// A stream whose response is told first.
    pub(super) fn early(task: Task, endpoints: Endpoints) -> Self {
        Self {
            is_early: true,
            messages: [Half::default(); 2],
            ..Self::new(Fields::default(), task, endpoints, 0)
        }
    }

    /// The request of a stream whose response was told first.
    pub(super) fn take_request(&mut self, mut request: Self) {
        request.messages[Which::Response as usize] = self.messages[Which::Response as usize];
        request.status = self.status;
        request.grpc_status = self.grpc_status;
        request.is_grpc |= self.is_grpc;
        request.is_doubtful |= self.is_doubtful;
        request.ended = self.ended;
        *self = request;
    }

    /// Whether its request has not been told yet.
    pub(super) fn is_early(&self) -> bool {
        self.is_early
    }

    /// It ended before its request was told.
    pub(super) fn end_early(&mut self, end: End, ended_ns: u64) {
        self.ended.get_or_insert((end, ended_ns));
    }

    pub(super) fn ended(&self) -> Option<(End, u64)> {
        self.ended
    }

    pub(super) fn kept(&self) -> &[(&'static str, String)] {
        &self.request.kept
    }

    pub(super) fn task(&self) -> Task {
        self.task
    }

    pub(super) fn endpoints(&self) -> Endpoints {
        self.endpoints
    }

    pub(super) fn is_doubtful(&self) -> bool {
        self.is_doubtful
    }

    /// Whether the final response's head was seen.
    pub(super) fn is_answered(&self) -> bool {
        self.messages[Which::Response as usize].first_ns != 0
    }

    /// When something last moved on it.
    pub(super) fn last_ns(&self) -> u64 {
        let [request, response] = &self.messages;
        request.last_ns.max(response.last_ns)
    }

    pub(super) fn first_ns(&self) -> u64 {
        self.messages[Which::Request as usize].first_ns
    }

    /// Frames may have been missed in one direction.
    pub(super) fn doubt(&mut self, which: Which) {
        self.is_doubtful = true;
        self.half(which).messages.forget();
    }

    /// All frames of it are told.
    pub(super) fn trust(&mut self) {
        self.is_doubtful = false;
    }

    /// The response's head, or trailers.
    pub(super) fn response_fields(&mut self, fields: &Fields, began_ns: u64, time_ns: u64) {
        if !self.is_answered() {
            self.half(Which::Response).first_ns = began_ns;
            self.status = fields.status;
        }
        self.is_grpc |= fields.is_grpc || fields.grpc_status.is_some();
        self.grpc_status = fields.grpc_status.or(self.grpc_status);
        self.moved(Which::Response, time_ns);
    }

    pub(super) fn data(&mut self, which: Which, length: u32, first: &[u8], time_ns: u64) {
        let half = self.half(which);
        half.body_bytes += u64::from(length);
        half.messages.data(length, first, time_ns);
        self.moved(which, time_ns);
    }

    pub(super) fn moved(&mut self, which: Which, time_ns: u64) {
        let half = self.half(which);
        half.last_ns = half.last_ns.max(time_ns);
    }

    fn half(&mut self, which: Which) -> &mut Half {
        &mut self.messages[which as usize]
    }

    /// The exchange that the stream was, when it ended so at `ended_ns`.
    pub(super) fn into_exchange(
        self,
        connection: Connection,
        number: u64,
        role: Role,
        end: End,
        ended_ns: u64,
    ) -> Exchange {
        let is_answered = self.is_answered();
        let [request, response] = self.messages;
        let is_doubtful = self.is_doubtful;
        let message = |half: &Half| Message {
            first_ns: half.first_ns,
            last_ns: half.last_ns,
            head_bytes: None,
            body_bytes: (!is_doubtful && !half.is_size_unknown).then_some(half.body_bytes),
        };
        let mut told = message(&request);
        if role == Role::Client && is_answered {
            // A send may be stamped when it returns, and cannot have begun after its response came.
            told.first_ns = told.first_ns.min(response.first_ns);
        }
        let grpc = self.is_grpc.then(|| Grpc {
            status: self.grpc_status,
            first_message_ns: response.messages.first_ns(),
            request_messages: request.messages.count(),
            response_messages: response.messages.count(),
        });
        let (path, query) = match self.request.path {
            Some(target) => match target.split_once('?') {
                Some((path, query)) => (Some(path.to_owned()), Some(query.to_owned())),
                None => (Some(target), None),
            },
            None => (None, None),
        };
        Exchange {
            connection,
            request_number: number,
            role,
            endpoints: self.endpoints,
            task: self.task,
            version: "2",
            method: self.request.method.unwrap_or_default().into(),
            path,
            query,
            host: self.request.authority,
            request_headers: self.request.kept,
            status: self.status,
            request: told,
            response: is_answered.then(|| message(&response)),
            end,
            end_ns: ended_ns.max(told.first_ns),
            grpc,
        }
    }
}
