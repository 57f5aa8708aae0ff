//! Loki's push API: lines in streams, a stream a label set.
//!
//! [`Batch`] collects lines and makes a request of them: in time order in each stream, and within the receiver's
//! limits, so that it has nothing to refuse.

pub mod proto;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use hashbrown::HashMap;
use proto::{Entry, LabelPair, PushRequest, Stream, Timestamp};

/// The longest line in bytes; Loki discards longer ones, so they are cut.
pub const LINE_MAX: usize = 256 * 1024;
/// The most labels of a stream.
pub const LABELS_MAX: usize = 15;
/// The most pairs of structured metadata of a line.
pub const METADATA_MAX: usize = 128;
/// The most bytes of structured metadata of a line.
pub const METADATA_BYTES: usize = 64 * 1024;
/// What a line that was cut ends in.
pub const CUT: &str = "…";

/// Names and values of a stream's labels.
pub type Labels = Vec<(Cow<'static, str>, String)>;

/// A line on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Nanoseconds of the Unix epoch.
    pub time_ns: u64,
    /// Few and static: they make the stream.
    pub labels: Labels,
    /// Ids, pod names, trace ids.
    pub metadata: Vec<(Cow<'static, str>, String)>,
    /// The line without its line feed.
    pub body: String,
    /// `SeverityNumber` of OpenTelemetry, 1 to 24; `None` where it is not known.
    pub severity: Option<u8>,
}

impl Line {
    /// About what it is billed as: the bytes of its text and metadata.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let metadata: usize = self.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.body.len().min(LINE_MAX) + metadata
    }
}

/// Lines that wait to become a request. Its owner bounds it by taking what it holds.
#[derive(Debug, Default)]
pub struct Batch {
    /// By the labels as they came: they are written as a selector once a request, not once a line.
    streams: HashMap<Labels, Vec<Entry>>,
    bytes: usize,
    lines: u32,
    cut: u64,
}

impl Batch {
    /// Adds a line.
    pub fn push(&mut self, line: Line) {
        let (body, was_cut) = cut(line.body);
        self.cut += u64::from(was_cut);
        let metadata = bounded(line.metadata);
        let size: usize = metadata.iter().map(|pair| pair.name.len() + pair.value.len() + 6).sum();
        self.bytes += body.len() + size + 24;
        self.lines += 1;
        let entry = Entry {
            timestamp: Some(Timestamp::new(line.time_ns)),
            line: body,
            structured_metadata: metadata,
        };
        match self.streams.get_mut(&line.labels) {
            Some(entries) => entries.push(entry),
            None => drop(self.streams.insert(line.labels, vec![entry])),
        }
    }

    /// About the bytes of the request before compression.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many lines it holds.
    #[must_use]
    pub const fn lines(&self) -> u32 {
        self.lines
    }

    /// How many lines were cut.
    #[must_use]
    pub const fn cut(&self) -> u64 {
        self.cut
    }

    /// Takes all lines; `None` when there are none. A stream's lines are in the order of time.
    pub fn take(&mut self) -> Option<PushRequest> {
        let batch = std::mem::take(self);
        if batch.streams.is_empty() {
            return None;
        }
        // Labels that differ in their order alone are one stream.
        let mut streams: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for (labels, entries) in batch.streams {
            streams.entry(selector(labels)).or_default().extend(entries);
        }
        let stream = |(labels, mut entries): (String, Vec<Entry>)| {
            // Stable: lines of one time stay in the order in which they came.
            entries.sort_by_key(|entry| entry.timestamp.map(|time| (time.seconds, time.nanos)));
            Stream { labels, entries }
        };
        Some(PushRequest { streams: streams.into_iter().map(stream).collect() })
    }
}

/// How many lines a request holds.
#[must_use]
pub fn lines(request: &PushRequest) -> usize {
    request.streams.iter().map(|stream| stream.entries.len()).sum()
}

/// Two requests with half of the lines each; `None` when there is one line or none.
#[must_use]
pub fn split(request: PushRequest) -> Option<[PushRequest; 2]> {
    let mut room = lines(&request) / 2;
    if room == 0 {
        return None;
    }
    let (mut first, mut second) = (PushRequest::default(), PushRequest::default());
    for mut stream in request.streams {
        let rest = stream.entries.split_off(room.min(stream.entries.len()));
        room -= stream.entries.len();
        if !rest.is_empty() {
            second.streams.push(Stream { labels: stream.labels.clone(), entries: rest });
        }
        if !stream.entries.is_empty() {
            first.streams.push(stream);
        }
    }
    Some([first, second])
}

/// `{a="b", c="d"}`: sorted by name, no empty value, at most [`LABELS_MAX`].
fn selector(mut labels: Labels) -> String {
    labels.retain(|(_, value)| !value.is_empty());
    labels.sort_unstable();
    labels.dedup_by(|a, b| a.0 == b.0);
    labels.truncate(LABELS_MAX);
    let mut text = String::from("{");
    for (place, (name, value)) in labels.iter().enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(text, "{comma}{}=\"{}\"", label_name(name), escaped(value));
    }
    text.push('}');
    text
}

/// A name as Prometheus allows it.
fn label_name(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.chars().all(fits) && name.starts_with(|c: char| !c.is_ascii_digit()) {
        return name.to_owned();
    }
    let clean: String = name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    if clean.starts_with(|c: char| c.is_ascii_digit()) || clean.is_empty() {
        format!("_{clean}")
    } else {
        clean
    }
}

/// As in a Go string.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            '\n' => text.push_str("\\n"),
            control if control.is_control() => {
                let _ = write!(text, "\\u{:04x}", u32::from(control));
            }
            other => text.push(other),
        }
    }
    text
}

fn cut(mut line: String) -> (String, bool) {
    if line.len() <= LINE_MAX {
        return (line, false);
    }
    line.truncate(line.floor_char_boundary(LINE_MAX - CUT.len()));
    line.push_str(CUT);
    (line, true)
}

fn bounded(metadata: Vec<(Cow<'static, str>, String)>) -> Vec<LabelPair> {
    let mut room = METADATA_BYTES;
    let mut pairs = Vec::with_capacity(metadata.len().min(METADATA_MAX));
    for (name, value) in metadata {
        let size = name.len() + value.len();
        if value.is_empty() || size > room || pairs.len() == METADATA_MAX {
            continue;
        }
        room -= size;
        pairs.push(LabelPair { name: label_name(&name), value });
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(time_ns: u64, stream: &str, body: &str) -> Line {
        Line {
            time_ns,
            labels: vec![("service_name".into(), stream.to_owned()), ("cluster".into(), "a\"b".to_owned())],
            metadata: vec![("k8s.pod.name".into(), "p1".to_owned()), ("none".into(), String::new())],
            body: body.to_owned(),
            severity: None,
        }
    }

    #[test]
    fn lines_are_in_order_in_their_stream() {
        let mut batch = Batch::default();
        for (time, stream, body) in [(3, "x", "c"), (1, "x", "a"), (2, "y", "d"), (1, "x", "b")] {
            batch.push(line(time, stream, body));
        }
        assert_eq!(batch.lines(), 4);
        let request = batch.take().unwrap();
        assert!(batch.take().is_none() && batch.bytes() == 0);
        let [x, y] = &request.streams[..] else { panic!("two streams") };
        assert_eq!(x.labels, r#"{cluster="a\"b", service_name="x"}"#);
        assert_eq!(x.entries.iter().map(|entry| entry.line.as_str()).collect::<String>(), "abc");
        assert_eq!(y.entries[0].structured_metadata.len(), 1);
        assert_eq!(y.entries[0].structured_metadata[0].name, "k8s_pod_name");
    }

    #[test]
    fn the_order_of_labels_makes_no_other_stream() {
        let mut batch = Batch::default();
        let first = line(2, "x", "b");
        let mut second = line(1, "x", "a");
        second.labels.reverse();
        second.labels.push(("container".into(), String::new()));
        batch.push(first);
        batch.push(second);
        let request = batch.take().unwrap();
        let [stream] = &request.streams[..] else { panic!("one stream") };
        assert_eq!(stream.entries.iter().map(|entry| entry.line.as_str()).collect::<String>(), "ab");
    }

    #[test]
    fn what_the_receiver_would_refuse_is_cut() {
        let mut long = line(1, "x", &"é".repeat(LINE_MAX));
        long.labels = (0..20).map(|n| (format!("l{n:02}").into(), "v".to_owned())).collect();
        long.metadata = (0..200).map(|n| (format!("{n}").into(), "v".repeat(1_000))).collect();
        let mut batch = Batch::default();
        batch.push(long);
        assert_eq!(batch.cut(), 1);
        let request = batch.take().unwrap();
        let entry = &request.streams[0].entries[0];
        assert!(entry.line.len() <= LINE_MAX && entry.line.ends_with(CUT));
        assert_eq!(request.streams[0].labels.matches('=').count(), LABELS_MAX);
        let bytes: usize =
            entry.structured_metadata.iter().map(|pair| pair.name.len() + pair.value.len()).sum();
        assert!(bytes <= METADATA_BYTES + METADATA_MAX && entry.structured_metadata.len() > 60);
    }

    #[test]
    fn a_request_is_split_without_a_loss() {
        let mut batch = Batch::default();
        for number in 0..7_u8 {
            batch.push(line(
                u64::from(number),
                ["x", "y", "z"][usize::from(number) % 3],
                &number.to_string(),
            ));
        }
        let lines = |request: &PushRequest| -> Vec<(String, String)> {
            let stream = |stream: &Stream| {
                let labels = stream.labels.clone();
                stream
                    .entries
                    .iter()
                    .map(move |entry| (labels.clone(), entry.line.clone()))
                    .collect::<Vec<_>>()
            };
            request.streams.iter().flat_map(stream).collect()
        };
        let whole = batch.take().unwrap();
        let [first, second] = split(whole.clone()).unwrap();
        assert_eq!((lines(&first).len(), lines(&second).len()), (3, 4));
        assert_eq!([lines(&first), lines(&second)].concat(), lines(&whole));
        batch.push(line(1, "x", "a"));
        assert!(split(batch.take().unwrap()).is_none());
    }
}
