//! Lines and spans with a number in each stream, and what must be true of the numbers that arrive.

use std::collections::BTreeMap;
use std::io::Read as _;

use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData};

use super::*;
use crate::ship::loki::proto::PushRequest;

/// The number of a stream, and that of a line or span in it.
type Item = (u32, u64);

/// A signal whose requests may be under way at once.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) signal: Signal,
    pub(super) wire: fn() -> Wire,
    /// A batch of items, each of so many bytes.
    encode: fn(&[Item], usize) -> Vec<u8>,
    /// The same of a body.
    decode: fn(&[u8]) -> Vec<Item>,
}

pub(super) const KINDS: [Kind; 2] = [
    Kind { signal: Signal::Logs, wire: || Wire::Loki, encode: lines, decode: of_lines },
    Kind { signal: Signal::Traces, wire: || Wire::OtlpHttp, encode: spans, decode: of_spans },
];

/// What was accepted, and must arrive.
pub(super) struct Numbers {
    kind: Kind,
    /// The next number of each stream.
    next: Vec<u64>,
}

impl Numbers {
    /// So many streams.
    pub(super) fn new(kind: Kind, streams: usize) -> Self {
        Self { kind, next: vec![0; streams] }
    }

    /// Lets the store accept a batch with so many items of each stream, each of so many bytes.
    pub(super) async fn accept(&mut self, store: &Store, items: u64, bytes: usize) {
        let mut numbered = Vec::new();
        for (stream, next) in (0..).zip(&mut self.next) {
            numbered.extend((*next..*next + items).map(|number| (stream, number)));
            *next += items;
        }
        let (payload, store) = ((self.kind.encode)(&numbered, bytes), store.clone());
        let items = u32::try_from(numbered.len()).unwrap();
        tokio::task::spawn_blocking(move || store.accept(payload, items)).await.unwrap();
    }

    /// All that was accepted.
    pub(super) fn items(&self) -> u64 {
        self.next.iter().sum()
    }

    /// The numbers of each stream in the order in which they arrived.
    fn arrived(&self, bodies: &[Vec<u8>]) -> BTreeMap<u32, Vec<u64>> {
        let mut streams: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for (stream, number) in bodies.iter().flat_map(|body| (self.kind.decode)(body)) {
            streams.entry(stream).or_default().push(number);
        }
        streams
    }

    fn expected(&self) -> BTreeMap<u32, Vec<u64>> {
        (0..).zip(&self.next).map(|(stream, next)| (stream, (0..*next).collect())).collect()
    }

    /// Each is there once, and behind those of its stream that came before it.
    pub(super) fn assert_once_and_in_order(&self, bodies: &[Vec<u8>]) {
        assert!(self.arrived(bodies) == self.expected(), "{:?}", self.kind.signal);
    }

    /// All are there, and in order, but what is sent again begins where it began before. Says how many came again.
    pub(super) fn assert_in_order(&self, bodies: &[Vec<u8>]) -> u64 {
        let (mut again, mut first) = (0, BTreeMap::new());
        for (stream, numbers) in self.arrived(bodies) {
            let mut known: Vec<u64> = Vec::new();
            for number in numbers {
                if known.last().is_none_or(|last| *last < number) {
                    known.push(number);
                } else {
                    again += 1;
                }
            }
            first.insert(stream, known);
        }
        assert!(first == self.expected(), "{:?}", self.kind.signal);
        again
    }
}

fn lines(numbered: &[Item], bytes: usize) -> Vec<u8> {
    let mut batch = loki::Batch::default();
    for (stream, number) in numbered {
        batch.push(loki::Line {
            time_ns: number + 1,
            labels: vec![("stream".into(), stream.to_string())],
            metadata: Vec::new(),
            body: "x".repeat(bytes),
            severity: None,
        });
    }
    batch.take().unwrap().encode_to_vec()
}

fn of_lines(body: &[u8]) -> Vec<Item> {
    let body = snap::raw::Decoder::new().decompress_vec(body).unwrap();
    let request = PushRequest::decode(&*body).unwrap();
    let of_stream = |stream: loki::proto::Stream| {
        let name = stream.labels.split('"').nth(1).unwrap().parse().unwrap();
        let time = |entry: loki::proto::Entry| u64::try_from(entry.timestamp.unwrap().nanos - 1).unwrap();
        stream.entries.into_iter().map(move |entry| (name, time(entry)))
    };
    request.streams.into_iter().flat_map(of_stream).collect()
}

fn spans(numbered: &[Item], bytes: usize) -> Vec<u8> {
    let mut processes: BTreeMap<u32, Vec<Span>> = BTreeMap::new();
    for (process, number) in numbered {
        let span = Span { name: "x".repeat(bytes), end_time_unix_nano: *number, ..Span::default() };
        processes.entry(*process).or_default().push(span);
    }
    let of_process = |(process, spans)| ResourceSpans {
        resource: Some(Resource { dropped_attributes_count: process, ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    };
    TracesData { resource_spans: processes.into_iter().map(of_process).collect() }.encode_to_vec()
}

fn of_spans(body: &[u8]) -> Vec<Item> {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(body).read_to_end(&mut bytes).unwrap();
    let of_process = |process: ResourceSpans| {
        let name = process.resource.unwrap().dropped_attributes_count;
        let spans = process.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.map(move |span| (name, span.end_time_unix_nano))
    };
    TracesData::decode(&*bytes).unwrap().resource_spans.into_iter().flat_map(of_process).collect()
}
