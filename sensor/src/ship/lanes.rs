//! Batches that wait, as few and larger requests of which no two have a stream in common.
//!
//! Both messages have one shape: `PushRequest.streams` and `TracesData.resource_spans` are field 1, what names a stream,
//! `Stream.labels` and `ResourceSpans.resource`, is field 1 of each of them, and what it holds follows as field 2. So streams
//! are told apart and moved as bytes; nothing of what they hold is decoded.

use std::collections::VecDeque;
use std::hash::BuildHasher as _;

use hashbrown::DefaultHashBuilder;
use prost::encoding::decode_varint;

use super::gate::Signal;
use super::wire::Undecodable;

/// The wire type of what has a length.
const LENGTH_DELIMITED: u64 = 2;

/// Requests before compression, by the lane of their streams.
#[derive(Debug)]
pub struct Lanes {
    signal: Signal,
    request_max: usize,
    lanes: Vec<VecDeque<Message>>,
    bytes: usize,
    hasher: DefaultHashBuilder,
}

/// A message of several batches' streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Encoded.
    pub bytes: Vec<u8>,
    /// Its lines or spans.
    pub items: u32,
}

impl Lanes {
    /// So many, whose messages have at most `request_max` bytes, unless one stream of a batch has more.
    #[must_use]
    pub fn new(signal: Signal, count: usize, request_max: usize) -> Self {
        let lanes = vec![VecDeque::new(); count.max(1)];
        Self { signal, request_max, lanes, bytes: 0, hasher: DefaultHashBuilder::default() }
    }

    /// Bytes of all messages.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a batch: each stream behind what its lane has already.
    ///
    /// # Errors
    /// When it is no such message; then nothing of it is added.
    pub fn add(&mut self, batch: &[u8]) -> Result<(), Undecodable> {
        let streams = Fields(batch).collect::<Result<Vec<_>, _>>()?;
        let parsed = streams.iter().map(|stream| self.stream(stream)).collect::<Result<Vec<_>, _>>()?;
        for (stream, (lane, items)) in streams.into_iter().zip(parsed) {
            self.bytes += stream.whole.len();
            let Some(lane) = self.lanes.get_mut(lane) else { continue };
            let fits = |last: &Message| last.bytes.len() + stream.whole.len() <= self.request_max;
            if !lane.back().is_some_and(fits) {
                lane.push_back(Message::default());
            }
            if let Some(last) = lane.back_mut() {
                last.bytes.extend_from_slice(stream.whole);
                last.items += items;
            }
        }
        Ok(())
    }

    /// The lane of a stream, and how many lines or spans it holds.
    fn stream(&self, stream: &Field<'_>) -> Result<(usize, u32), Undecodable> {
        let (mut name, mut items) = (&[][..], 0);
        for field in Fields(stream.content) {
            let field = field?;
            match (field.number, self.signal) {
                (1, _) => name = field.content,
                (2, Signal::Traces) => {
                    let spans =
                        Fields(field.content).filter(|field| !matches!(field, Ok(f) if f.number != 2));
                    for span in spans {
                        span?;
                        items += 1;
                    }
                }
                (2, _) => items += 1,
                _ => {}
            }
        }
        let hash = usize::try_from(self.hasher.hash_one(name) >> 33).unwrap_or_default();
        Ok((hash % self.lanes.len(), items))
    }

    /// The messages of each lane that has some, in the order in which they are to be sent.
    pub fn take(self) -> impl Iterator<Item = VecDeque<Message>> {
        self.lanes.into_iter().filter(|lane| !lane.is_empty())
    }
}

/// A field of a message.
#[derive(Clone, Copy, Debug)]
struct Field<'a> {
    number: u64,
    /// With its key and its length.
    whole: &'a [u8],
    content: &'a [u8],
}

/// The fields of an encoded message, all of which have a length, as those of these messages do.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Undecodable>;

    fn next(&mut self) -> Option<Self::Item> {
        let all = std::mem::take(&mut self.0);
        if all.is_empty() {
            return None;
        }
        let mut rest = all;
        let mut number = || decode_varint(&mut rest).map_err(|_| Undecodable);
        let (key, length) = match (number(), number()) {
            (Ok(key), Ok(length)) if key & 7 == LENGTH_DELIMITED => (key, length),
            _ => return Some(Err(Undecodable)),
        };
        let split = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
        let Some((content, after)) = split else { return Some(Err(Undecodable)) };
        self.0 = after;
        Some(Ok(Field { number: key >> 3, whole: &all[..all.len() - after.len()], content }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::ship::loki::proto::{Entry, PushRequest, Stream, Timestamp};
    use crate::ship::{loki, otlp};

    /// Requests of numbered lines: which streams of each have how many.
    fn requests(shape: &[Vec<(u8, usize)>]) -> Vec<PushRequest> {
        let mut number = 0;
        let mut entry = || {
            number += 1;
            Entry { timestamp: Some(Timestamp::new(number)), ..Entry::default() }
        };
        let mut stream = |(name, lines): &(u8, usize)| Stream {
            labels: format!("{{service_name=\"{name}\"}}"),
            entries: (0..*lines).map(|_| entry()).collect(),
        };
        shape
            .iter()
            .map(|request| PushRequest { streams: request.iter().map(&mut stream).collect() })
            .collect()
    }

    /// The lines of each stream, in order.
    fn by_stream(requests: &[PushRequest]) -> BTreeMap<&str, Vec<&Entry>> {
        let mut streams: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
        for stream in requests.iter().flat_map(|request| &request.streams) {
            streams.entry(&stream.labels).or_default().extend(&stream.entries);
        }
        streams
    }

    proptest! {
        #[test]
        fn no_lane_shares_a_stream_and_none_loses_or_turns_round_a_line(
            shape in prop::collection::vec(prop::collection::vec((0_u8..9, 1_usize..9), 0..9), 0..9),
            count in 0_usize..5,
            request_max in 1_usize..900,
        ) {
            let whole = requests(&shape);
            let mut lanes = Lanes::new(Signal::Logs, count, request_max);
            for request in &whole {
                lanes.add(&request.encode_to_vec()).unwrap();
            }
            prop_assert_eq!(lanes.bytes(), whole.iter().map(prost::Message::encoded_len).sum::<usize>());
            let mut of_lanes: Vec<Vec<PushRequest>> = Vec::new();
            for lane in lanes.take() {
                of_lanes.push(Vec::new());
                for message in lane {
                    let request = PushRequest::decode(&*message.bytes).unwrap();
                    prop_assert_eq!(loki::lines(&request), usize::try_from(message.items).unwrap());
                    prop_assert!(message.bytes.len() <= request_max || request.streams.len() == 1);
                    of_lanes.last_mut().unwrap().push(request);
                }
            }
            prop_assert!(of_lanes.len() <= count.max(1));
            let mut all = BTreeMap::new();
            for lane in &of_lanes {
                for (stream, lines) in by_stream(lane) {
                    prop_assert!(all.insert(stream, lines).is_none(), "{} is in two lanes", stream);
                }
            }
            prop_assert_eq!(all, by_stream(&whole));
        }

        #[test]
        fn anything_else_is_refused_and_nothing_of_it_is_kept(bytes in prop::collection::vec(any::<u8>(), 0..99)) {
            for signal in [Signal::Logs, Signal::Traces] {
                let mut lanes = Lanes::new(signal, 4, 1_000);
                if lanes.add(&bytes).is_err() {
                    prop_assert_eq!((lanes.bytes(), lanes.take().count()), (0, 0));
                }
            }
        }
    }

    #[test]
    fn spans_are_counted_and_a_process_is_in_one_lane() {
        use opentelemetry_proto::tonic::resource::v1::Resource;
        use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData};
        let of = |process: u32, name: &str| ResourceSpans {
            resource: Some(Resource { dropped_attributes_count: process, ..Resource::default() }),
            scope_spans: vec![ScopeSpans {
                spans: vec![Span { name: name.to_owned(), ..Span::default() }; 2],
                schema_url: "https://a.example".to_owned(),
                ..ScopeSpans::default()
            }],
            schema_url: "https://a.example".to_owned(),
        };
        let mut lanes = Lanes::new(Signal::Traces, 4, 1_000_000);
        for name in ["first", "second"] {
            let resource_spans = (1..20).map(|process| of(process, name)).collect();
            lanes.add(&TracesData { resource_spans }.encode_to_vec()).unwrap();
        }
        let messages: Vec<Message> = lanes.take().flatten().collect();
        assert!((2..=4).contains(&messages.len()), "{}", messages.len());
        let mut spans = 0;
        for message in messages {
            let data = TracesData::decode(&*message.bytes).unwrap();
            assert_eq!(otlp::spans(&data), usize::try_from(message.items).unwrap());
            spans += message.items;
            let mut names: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
            for resource in &data.resource_spans {
                let process = resource.resource.as_ref().unwrap().dropped_attributes_count;
                names.entry(process).or_default().push(&resource.scope_spans[0].spans[0].name);
            }
            assert!(names.values().all(|names| *names == ["first", "second"]), "{names:?}");
        }
        assert_eq!(spans, 19 * 2 * 2);
    }
}
