//! One connection: its two directions, and the streams that are open.

use std::collections::{HashMap, VecDeque};

use sensor_common::http2::{
    CONTINUATION, DATA, DATA_ENDED, END_STREAM, GOAWAY, HEADERS, PUSH_PROMISE, RST_STREAM,
};

use super::{
    block::{Block, Blocks, Step},
    fields::Fields,
    frame::{Frame, Frames},
    hpack::Decoder,
    stream::{Stream, Which},
};
use crate::protocol::{
    Connection, Direction, End, Exchange, ExchangeKey, FrameRecord, Loss, LossCounts, Role, Signal, Started,
    http1::HandedOver,
};

/// The most streams of one connection that are followed. Servers allow 100 to 250.
const STREAMS: usize = 2048;
/// `REFUSED_STREAM` of RFC 9113 section 7: nothing was done for the request.
const REFUSED_STREAM: u32 = 7;
/// Cancelled streams of one connection that are remembered, the newest: what was under way when they were cancelled comes
/// still (RFC 9113 section 5.1), a response among it, and is no other request's.
const CANCELLED: usize = 128;
/// How much later than its response a request can be told: far longer than a thread waits for a processor.
const HOLD_NS: u64 = 1_000_000_000;

/// The stream of the request with which a connection went over to HTTP/2.
const FIRST_STREAM: u32 = 1;

/// Where results go.
pub(in crate::protocol) struct Context<'a> {
    pub(in crate::protocol) out: &'a mut Vec<Exchange>,
    pub(in crate::protocol) losses: &'a mut LossCounts,
    pub(in crate::protocol) signals: &'a mut Vec<Signal>,
    /// Whether what happens to open requests is told.
    pub(in crate::protocol) has_signals: bool,
}

impl Context<'_> {
    fn signal(&mut self, signal: impl FnOnce() -> Signal) {
        if self.has_signals {
            self.signals.push(signal());
        }
    }
}

/// An HTTP/2 connection.
#[derive(Debug)]
pub(in crate::protocol) struct Http2 {
    connection: Connection,
    /// Known with the first request or response.
    role: Option<Role>,
    /// By direction: in, out.
    ways: [Way; 2],
    streams: HashMap<u32, Stream>,
    cancelled: VecDeque<u32>,
    /// Requests of HTTP/1 before stream 1, which have numbers, too.
    before: u64,
    /// Whether stream 1 was handed over by HTTP/1, and it is not known yet whether all of its response is told.
    is_unproved: bool,
}

/// One direction of it.
#[derive(Debug)]
struct Way {
    /// The number of the next record.
    sequence: Option<u32>,
    /// All records since the first are known, and that was the first of all.
    is_whole: bool,
    frames: Frames,
    blocks: Blocks,
    decoder: Decoder,
}

impl Way {
    fn new() -> Self {
        Self {
            sequence: None,
            is_whole: false,
            frames: Frames::default(),
            blocks: Blocks::default(),
            decoder: Decoder::new(),
        }
    }

    fn forget(&mut self) {
        self.is_whole = false;
        self.frames.forget();
        self.blocks.forget();
        self.decoder.forget();
    }
}

impl Http2 {
    pub(in crate::protocol) fn new(connection: Connection) -> Self {
        Self {
            connection,
            role: None,
            ways: [Way::new(), Way::new()],
            streams: HashMap::new(),
            cancelled: VecDeque::new(),
            before: 0,
            is_unproved: false,
        }
    }

    /// Takes the request of stream 1, which HTTP/1 has read.
    pub(in crate::protocol) fn hand_over(&mut self, request: HandedOver, context: &mut Context<'_>) {
        if self.streams.values().any(|stream| !stream.is_early()) {
            // Requests of HTTP/2 before it: none of this kind, and they have numbers already.
            context.losses.add(Loss::Desynchronized);
            let key = ExchangeKey { connection: self.connection.id, request: request.number };
            context.signal(|| Signal::Ended { key, time_ns: request.last_ns, is_told: false });
            return;
        }
        self.role = Some(request.role);
        self.before = request.number.saturating_sub(FIRST_STREAM.into());
        let time_ns = request.first_ns;
        self.open(FIRST_STREAM, Stream::handed_over(request), time_ns, context);
        self.is_unproved = true;
        self.prove();
    }

    /// Stream 1 is sound when the first record of the responses is known.
    fn prove(&mut self) {
        let responses = if self.role == Some(Role::Server) { Direction::Send } else { Direction::Receive };
        let way = &self.ways[responses as usize];
        if self.is_unproved && way.sequence.is_some() {
            self.is_unproved = false;
            if way.is_whole
                && let Some(stream) = self.streams.get_mut(&FIRST_STREAM)
            {
                stream.trust();
            }
        }
    }

    /// Takes a record.
    pub(in crate::protocol) fn on_frames(&mut self, record: &FrameRecord<'_>, context: &mut Context<'_>) {
        let direction = record.direction;
        let way = &mut self.ways[direction as usize];
        let is_gap = way.sequence.is_some_and(|next| next != record.sequence);
        way.is_whole |= way.sequence.is_none() && record.sequence == 0;
        way.sequence = Some(record.sequence.wrapping_add(1));
        if is_gap {
            context.losses.add(Loss::MissedFrames);
        }
        if is_gap || record.is_resync {
            way.forget();
            self.doubt(direction);
        }
        self.prove();
        let mut frames = std::mem::take(&mut self.ways[direction as usize].frames);
        frames.feed(record.bytes, record.time_ns, |frame| self.on_frame(&frame, record, context));
        self.ways[direction as usize].frames = frames;
    }

    /// The connection is over.
    pub(in crate::protocol) fn on_close(&mut self, time_ns: u64, context: &mut Context<'_>) {
        for number in self.numbers() {
            let Some(stream) = self.streams.get(&number) else { continue };
            if stream.is_early() {
                self.drop_early(number, context);
            } else if stream.is_doubtful() {
                self.lose(number, Loss::Desynchronized, context);
            } else if stream.is_answered() {
                let last_ns = stream.last_ns();
                self.complete(number, End::ResponseCut, last_ns, context);
            } else {
                self.complete(number, End::NoResponse, time_ns, context);
            }
        }
    }

    /// Gives up streams on which nothing moved since `before_ns`.
    pub(in crate::protocol) fn expire(&mut self, before_ns: u64, cause: Loss, context: &mut Context<'_>) {
        for number in self.numbers() {
            let Some(stream) = self.streams.get(&number) else { continue };
            if stream.is_early() && stream.last_ns() <= before_ns.saturating_add(HOLD_NS) {
                self.drop_early(number, context);
            } else if stream.last_ns() <= before_ns {
                self.lose(number, cause, context);
            }
        }
    }

    /// The request of a response is not known, and will not be.
    fn drop_early(&mut self, number: u32, context: &mut Context<'_>) {
        self.streams.remove(&number);
        context.losses.add(Loss::UnmatchedResponse);
    }

    /// Lets go of responses whose request has not come in time.
    pub(in crate::protocol) fn drop_late(&mut self, now_ns: u64, context: &mut Context<'_>) {
        let before_ns = now_ns.saturating_sub(HOLD_NS);
        for number in self.numbers() {
            if self
                .streams
                .get(&number)
                .is_some_and(|stream| stream.is_early() && stream.last_ns() <= before_ns)
            {
                self.drop_early(number, context);
            }
        }
    }

    fn numbers(&self) -> Vec<u32> {
        self.streams.keys().copied().collect()
    }

    fn on_frame(&mut self, frame: &Frame<'_>, record: &FrameRecord<'_>, context: &mut Context<'_>) {
        match frame.kind {
            HEADERS | PUSH_PROMISE | CONTINUATION => {
                let way = &mut self.ways[record.direction as usize];
                match way.blocks.feed(frame) {
                    Step::Waiting => {}
                    Step::Whole(block) => self.on_block(&block, record, context),
                    Step::Wrong => {
                        way.forget();
                        context.losses.add(Loss::Unparsed);
                        self.doubt(record.direction);
                    }
                }
            }
            DATA => self.on_data(frame, record, context),
            DATA_ENDED => self.ended(frame.stream, record, context),
            RST_STREAM => {
                if let Some(code) = code(frame.payload) {
                    self.on_reset(frame.stream, code, record, context);
                }
            }
            GOAWAY => self.on_goaway(frame.payload, record, context),
            _ => {}
        }
    }

    fn on_block(&mut self, block: &Block, record: &FrameRecord<'_>, context: &mut Context<'_>) {
        let decoder = &mut self.ways[record.direction as usize].decoder;
        let Ok(fields) = Fields::read(decoder, &block.bytes, block.is_cut) else {
            context.losses.add(Loss::MalformedHead);
            self.doubt(record.direction);
            return;
        };
        if block.is_cut {
            context.losses.add(Loss::TruncatedHead);
        }
        // Streams of even numbers are pushed.
        if block.is_push || block.stream.is_multiple_of(2) {
            return;
        }
        if self.role.is_none() && fields.is_request != fields.is_response {
            let is_server = fields.is_request == (record.direction == Direction::Receive);
            self.role = Some(if is_server { Role::Server } else { Role::Client });
        }
        match self.which(record.direction) {
            Some(Which::Request) => self.on_request(block, fields, record, context),
            Some(Which::Response) => self.on_response(block, &fields, record, context),
            None => context.losses.add(Loss::Unparsed),
        }
    }

    fn on_request(
        &mut self,
        block: &Block,
        fields: Fields,
        record: &FrameRecord<'_>,
        context: &mut Context<'_>,
    ) {
        let known = self.streams.get_mut(&block.stream);
        if let Some(stream) = known.filter(|stream| !stream.is_early()) {
            // Trailers.
            stream.moved(Which::Request, record.time_ns);
            return;
        }
        if !fields.is_request {
            // The trailers of a request that is not known.
            return;
        }
        if self.streams.len() >= STREAMS {
            context.losses.add(Loss::PipelineOverflow);
            return;
        }
        if fields.method.is_none() || fields.path.is_none() && !block.is_cut {
            context.losses.add(Loss::UnknownName);
        }
        let stream = Stream::new(fields, record.task, record.endpoints, block.began_ns);
        self.signal_start(block.stream, &stream, context);
        self.open(block.stream, stream, block.began_ns, context);
    }

    /// Adds the request of a stream, whose response may have been told before.
    fn open(&mut self, number: u32, stream: Stream, time_ns: u64, context: &mut Context<'_>) {
        let Some(early) = self.streams.get_mut(&number) else {
            self.streams.insert(number, stream);
            return;
        };
        let answered = early.task().tid;
        early.take_request(stream);
        let ended = early.ended();
        context.signal(|| Signal::Answered { key: self.key(number), tid: answered, time_ns });
        if let Some((end, ended_ns)) = ended {
            self.complete(number, end, ended_ns, context);
        }
    }

    fn on_response(
        &mut self,
        block: &Block,
        fields: &Fields,
        record: &FrameRecord<'_>,
        context: &mut Context<'_>,
    ) {
        let has_room = self.streams.len() < STREAMS;
        if !self.streams.contains_key(&block.stream) {
            if !fields.is_response || self.cancelled.contains(&block.stream) {
                return;
            }
            if self.role == Some(Role::Server) || !has_room {
                context.losses.add(Loss::UnmatchedResponse);
                return;
            }
            self.streams.insert(block.stream, Stream::early(record.task, record.endpoints));
        }
        let Some(stream) = self.streams.get_mut(&block.stream) else { return };
        if matches!(fields.status, Some(100..=199)) {
            return;
        }
        let is_answer = !stream.is_answered();
        stream.response_fields(fields, block.began_ns, record.time_ns);
        if is_answer && !stream.is_early() {
            let (tid, time_ns) = (record.task.tid, block.began_ns);
            context.signal(|| Signal::Answered { key: self.key(block.stream), tid, time_ns });
        }
        if block.ends_stream {
            self.complete(block.stream, End::Complete, record.time_ns, context);
        }
    }

    fn on_data(&mut self, frame: &Frame<'_>, record: &FrameRecord<'_>, context: &mut Context<'_>) {
        let (Some(which), Some((length, first))) = (self.which(record.direction), frame.unpadded()) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(&frame.stream) else { return };
        stream.data(which, length, first, record.time_ns);
        // The end of any other is told when it comes.
        if frame.has(END_STREAM) && frame.length == 0 {
            self.ended(frame.stream, record, context);
        }
    }

    /// The last byte of one direction of a stream has moved.
    fn ended(&mut self, number: u32, record: &FrameRecord<'_>, context: &mut Context<'_>) {
        let (Some(which), Some(stream)) = (self.which(record.direction), self.streams.get_mut(&number))
        else {
            return;
        };
        stream.moved(which, record.time_ns);
        if which == Which::Response {
            self.complete(number, End::Complete, record.time_ns, context);
        }
    }

    fn on_reset(&mut self, number: u32, code: u32, record: &FrameRecord<'_>, context: &mut Context<'_>) {
        if !self.streams.contains_key(&number) {
            return;
        }
        self.complete(number, End::Reset(code), record.time_ns, context);
        if self.which(record.direction) == Some(Which::Request) {
            if self.cancelled.len() == CANCELLED {
                let _ = self.cancelled.pop_front();
            }
            self.cancelled.push_back(number);
        }
    }

    /// The sender will not do anything for requests of higher numbers.
    fn on_goaway(&mut self, payload: &[u8], record: &FrameRecord<'_>, context: &mut Context<'_>) {
        let Some(last) = code(payload).map(|last| last & 0x7fff_ffff) else { return };
        if self.which(record.direction) != Some(Which::Response) {
            return;
        }
        for number in self.numbers() {
            if number > last {
                self.complete(number, End::Reset(REFUSED_STREAM), record.time_ns, context);
            }
        }
    }

    fn complete(&mut self, number: u32, end: End, ended_ns: u64, context: &mut Context<'_>) {
        if let Some(early) = self.streams.get_mut(&number).filter(|stream| stream.is_early()) {
            early.end_early(end, ended_ns);
            return;
        }
        let (Some(stream), Some(role)) = (self.streams.remove(&number), self.role) else { return };
        let key = self.key(number);
        let exchange = stream.into_exchange(self.connection, key.request, role, end, ended_ns);
        context.signal(|| Signal::Ended { key, time_ns: exchange.end_ns, is_told: true });
        context.out.push(exchange);
    }

    fn lose(&mut self, number: u32, cause: Loss, context: &mut Context<'_>) {
        let Some(stream) = self.streams.remove(&number) else { return };
        context.losses.add(cause);
        let key = self.key(number);
        context.signal(|| Signal::Ended { key, time_ns: stream.last_ns(), is_told: false });
    }

    /// Frames of a direction may have been missed.
    fn doubt(&mut self, direction: Direction) {
        if let Some(which) = self.which(direction) {
            self.streams.values_mut().for_each(|stream| stream.doubt(which));
        }
    }

    fn which(&self, direction: Direction) -> Option<Which> {
        let is_request = (self.role? == Role::Server) == (direction == Direction::Receive);
        Some(if is_request { Which::Request } else { Which::Response })
    }

    fn key(&self, number: u32) -> ExchangeKey {
        ExchangeKey { connection: self.connection.id, request: self.before + u64::from(number) }
    }

    fn signal_start(&self, number: u32, stream: &Stream, context: &mut Context<'_>) {
        let Some(role) = self.role else { return };
        let headers = stream.kept().iter().filter(|(name, _)| Started::tells_of_trace(name));
        context.signal(|| {
            Signal::Started(Box::new(Started {
                key: self.key(number),
                role,
                task: stream.task(),
                endpoints: stream.endpoints(),
                time_ns: stream.first_ns(),
                headers: headers.cloned().collect(),
            }))
        });
    }
}

/// The first 32 bits of a payload.
fn code(payload: &[u8]) -> Option<u32> {
    payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}
