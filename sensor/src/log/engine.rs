//! All that is done with what was written, without a kernel or a clock: parts of writes in, records out.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::assemble::{Assembled, Assembler, Rules};
use super::fields;
use super::filter::{Filter, Filtered};
use super::line::{LineCounts, Lines};
use super::record::{Iostream, Record};
use super::{Severity, Written};
use crate::config;
use crate::identity::Identity;
use crate::trace::WallClock;

/// Whose standard stream a pipe is.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) identity: Identity,
    /// `None` where one pipe is both.
    pub(super) iostream: Option<Iostream>,
    /// More may become known of whose it is; until then its records wait.
    pub(super) is_waiting: bool,
}

/// A record, and when its thread wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The record.
    pub record: Record,
    /// When the first and the last of it were written, in nanoseconds of `CLOCK_MONOTONIC`, where it may take the trace of
    /// the request that its thread served then; `None` where it has one, or others may have written some of it.
    pub during: Option<(u64, u64)>,
}

/// What became of the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records told.
    pub told: u64,
    /// Records left out, in the order of [`Filtered::ALL`].
    pub filtered: [u64; Filtered::ALL.len()],
}

/// From writes to records.
#[derive(Debug)]
pub struct Engine {
    lines: Lines,
    assembler: Assembler,
    sources: HashMap<u64, Source>,
    filter: Filter,
    counts: Counts,
    held: Held,
}

/// Records that wait to be known whose they are, in the order in which they came.
#[derive(Debug, Default)]
struct Held {
    queue: VecDeque<Assembled>,
    bytes: usize,
    known: u64,
    unknown: u64,
    full: u64,
}

/// The most records that wait, and the most bytes of their text.
const HELD_RECORDS: usize = 8_192;
const HELD_BYTES: usize = 8 * 1024 * 1024;

/// Descriptor of standard error.
const STDERR: u32 = 2;

impl Engine {
    /// With the configured rules and filters.
    #[must_use]
    pub fn new(settings: &config::Logs) -> Self {
        let rules = Rules {
            first_line: settings.first_line_regex(),
            max_lines: settings.max_lines,
            max_bytes: super::line::LINE_MAX,
            wait_ns: u64::try_from(settings.multiline_wait.as_nanos()).unwrap_or(u64::MAX),
            strip_ansi: settings.strip_ansi,
        };
        Self {
            lines: Lines::default(),
            assembler: Assembler::new(rules),
            sources: HashMap::new(),
            filter: settings.filter(),
            counts: Counts::default(),
            held: Held::default(),
        }
    }

    /// Records so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What was lost on the way to lines.
    #[must_use]
    pub fn line_counts(&self) -> LineCounts {
        self.lines.counts()
    }

    /// The pipe `number` is a standard stream of this service; `None`: of either kind.
    pub fn follow(&mut self, number: u64, service_name: Arc<str>, iostream: Option<Iostream>) {
        let identity = Identity::of_process(service_name);
        self.sources.insert(number, Source { identity, iostream, is_waiting: false });
    }

    /// Whose stream the pipe is; its records wait as long as `is_waiting`.
    pub fn identify(&mut self, number: u64, identity: Identity, is_waiting: bool) {
        if let Some(source) = self.sources.get_mut(&number) {
            source.identity = identity;
            source.is_waiting = is_waiting;
        }
    }

    /// Records that waited to be known whose they are, by outcome: known in time, not known, no room to wait.
    #[must_use]
    pub fn waited(&self) -> [u64; 3] {
        [self.held.known, self.held.unknown, self.held.full]
    }

    /// The pipe is of no interest any more.
    pub fn forget(&mut self, number: u64) {
        self.sources.remove(&number);
    }

    /// Takes part of a write. What comes from a pipe that is not followed is left alone.
    pub fn push(&mut self, written: &Written<'_>, clock: WallClock, out: &mut Vec<Told>) {
        if !self.sources.contains_key(&written.pipe) {
            return;
        }
        let Self { lines, assembler, sources, filter, counts, held } = self;
        let mut tell = |assembled| {
            if let Some(assembled) = held.take(assembled, sources) {
                tell(assembled, sources, filter, counts, written.time_ns, clock, out);
            }
        };
        lines.push(written, |line| assembler.push(&line, &mut tell));
        if written.is_last {
            assembler.write_ends((written.pipe, written.tgid, written.tid), &mut tell);
        }
    }

    /// Tells what waited too long; due some ten times a second.
    pub fn turn(&mut self, now_ns: u64, clock: WallClock, out: &mut Vec<Told>) {
        let Self { lines, assembler, sources, filter, counts, held } = self;
        for assembled in held.ready(sources) {
            tell(assembled, sources, filter, counts, now_ns, clock, out);
        }
        let mut tell = |assembled| {
            if let Some(assembled) = held.take(assembled, sources) {
                tell(assembled, sources, filter, counts, now_ns, clock, out);
            }
        };
        lines.expire(now_ns, |line| assembler.push(&line, &mut tell));
        assembler.expire(now_ns, &mut tell);
        filter.turn(now_ns, clock.unix_ns(now_ns), |record| out.push(Told { record, during: None }));
    }

    /// Tells all that waits.
    pub fn finish(&mut self, now_ns: u64, clock: WallClock, out: &mut Vec<Told>) {
        let Self { lines, assembler, sources, filter, counts, held } = self;
        for source in sources.values_mut() {
            source.is_waiting = false;
        }
        for assembled in held.ready(sources) {
            tell(assembled, sources, filter, counts, now_ns, clock, out);
        }
        let mut tell = |assembled| tell(assembled, sources, filter, counts, now_ns, clock, out);
        lines.finish(|line| assembler.push(&line, &mut tell));
        assembler.finish(&mut tell);
    }
}

impl Held {
    /// Takes a record whose stream is not known yet; gives it back where it need not wait.
    fn take(&mut self, assembled: Assembled, sources: &HashMap<u64, Source>) -> Option<Assembled> {
        if !sources.get(&assembled.pipe).is_some_and(|source| source.is_waiting) {
            return Some(assembled);
        }
        let bytes = self.bytes + assembled.text.len();
        if self.queue.len() >= HELD_RECORDS || bytes > HELD_BYTES {
            self.full += 1;
            return Some(assembled);
        }
        self.bytes = bytes;
        self.queue.push_back(assembled);
        None
    }

    /// Those that wait no longer.
    fn ready(&mut self, sources: &HashMap<u64, Source>) -> VecDeque<Assembled> {
        let waits =
            |assembled: &Assembled| sources.get(&assembled.pipe).is_some_and(|source| source.is_waiting);
        if self.queue.iter().all(waits) {
            return VecDeque::new();
        }
        let (queue, ready): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.queue).into_iter().partition(waits);
        self.queue = queue;
        for assembled in &ready {
            self.bytes -= assembled.text.len();
            // One that is not followed any more is not wanted, and nothing is told of it.
            let Some(source) = sources.get(&assembled.pipe) else { continue };
            match &source.identity.container {
                Some(container) if !container.pod.is_empty() => self.known += 1,
                _ => self.unknown += 1,
            }
        }
        ready
    }
}

fn tell(
    assembled: Assembled,
    sources: &HashMap<u64, Source>,
    filter: &mut Filter,
    counts: &mut Counts,
    now_ns: u64,
    clock: WallClock,
    out: &mut Vec<Told>,
) {
    let Some(source) = sources.get(&assembled.pipe) else { return };
    let fields = fields::fields(&assembled.text);
    let severity = match &fields {
        Some(fields) => fields::severity(fields),
        None => Severity::of_text(&assembled.text),
    };
    let of_line = match &fields {
        Some(fields) => fields::ids(fields),
        None => fields::ids_in_text(&assembled.text),
    };
    let by_descriptor = if assembled.descriptor == STDERR { Iostream::Stderr } else { Iostream::Stdout };
    let record = Record {
        time_unix_ns: clock.unix_ns(assembled.time_ns),
        observed_time_unix_ns: clock.unix_ns(now_ns),
        severity,
        body: assembled.text,
        attributes: fields.unwrap_or_default(),
        trace_id: of_line.map(|(trace, _)| trace),
        span_id: of_line.and_then(|(_, span)| span),
        iostream: source.iostream.unwrap_or(by_descriptor),
        is_cut: assembled.is_cut,
        service_name: Arc::clone(&source.identity.service_name),
        container: source.identity.container.clone(),
        pid: assembled.tgid,
        tid: assembled.tid,
    };
    if let Some(why) = filter.check(&record, now_ns) {
        counts.filtered[why as usize] += 1;
        return;
    }
    counts.told += 1;
    let during = (of_line.is_none() && assembled.is_apart).then_some((assembled.time_ns, assembled.last_ns));
    out.push(Told { record, during });
}
