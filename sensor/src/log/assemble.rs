//! From lines to records: what belongs together stays together.
//!
//! A line waits for another only where it could be the start of several lines, or where others of the same write may
//! follow; so an ordinary line is told as soon as its write is worked off.

use lru::LruCache;
use regex::Regex;

use super::continuation::{State, is_exception, is_frame};
use super::line::Line;
use super::text::text;
use super::writers::Writers;
use super::written::WriteId;

/// Threads whose records wait at once; beyond, the one that waited longest is told.
const WAITING: usize = 8192;

/// How lines are put together.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// A line that this matches starts a record, and every other goes on with one; without it the layouts of the
    /// usual languages are known.
    pub(super) first_line: Option<Regex>,
    /// The most lines of a record.
    pub(super) max_lines: usize,
    /// The most bytes of a record.
    pub(super) max_bytes: usize,
    /// How long a record waits for its next line.
    pub(super) wait_ns: u64,
    /// Whether escape sequences are stripped.
    pub(super) strip_ansi: bool,
}

/// A thread on a pipe.
type Key = (u64, u32, u32);

/// Lines that belong together.
#[derive(Debug)]
pub(super) struct Assembled {
    pub(super) pipe: u64,
    pub(super) tgid: u32,
    pub(super) tid: u32,
    pub(super) descriptor: u32,
    pub(super) text: String,
    pub(super) time_ns: u64,
    pub(super) is_cut: bool,
    /// All of it was written by one thread, in writes that held nothing else, and is that thread's own.
    pub(super) is_apart: bool,
    /// When its last bytes were written.
    pub(super) last_ns: u64,
    lines: usize,
    state: State,
    first: WriteId,
    last: WriteId,
    /// The record before it in the same write, which goes on with this one if frames follow.
    before: Option<Box<Assembled>>,
}

#[derive(Debug)]
pub(super) struct Assembler {
    rules: Rules,
    waiting: LruCache<Key, Assembled>,
    writers: Writers,
}

impl Assembler {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, waiting: LruCache::unbounded(), writers: Writers::default() }
    }

    /// Takes the next line, and hands on the records that it ends.
    pub(super) fn push(&mut self, line: &Line<'_>, out: &mut impl FnMut(Assembled)) {
        let text = text(line.bytes, self.rules.strip_ansi);
        let key = (line.pipe, line.tgid, line.tid);
        self.writers.wrote(line.tgid, line.tid);
        let mut next = Assembled {
            pipe: line.pipe,
            tgid: line.tgid,
            tid: line.tid,
            descriptor: line.descriptor,
            text: String::new(),
            time_ns: line.time_ns,
            is_cut: line.is_cut,
            is_apart: line.of_one_thread,
            last_ns: line.last_ns,
            lines: 1,
            state: State::Plain,
            first: line.first,
            last: line.last,
            before: None,
        };
        let waiting = self.waiting.get_mut(&key);
        if let Some(waiting) = waiting {
            match waiting.goes_on(&text, &next, &self.rules) {
                Some(state) => {
                    waiting.add(&text, &next, state);
                    return;
                }
                None => {
                    if let Some(mut waiting) = self.waiting.pop(&key) {
                        let same_write = waiting.last == next.first;
                        if same_write && waiting.state == State::Plain && is_exception(&text) {
                            next.before = Some(Box::new(waiting));
                        } else {
                            if same_write {
                                // A buffer was flushed, and what is in it may be of other threads.
                                self.writers.flushed_many(line.tgid);
                                waiting.is_apart = false;
                                next.is_apart = false;
                            }
                            waiting.leave(&mut self.writers, out);
                        }
                    }
                }
            }
        }
        next.state = if self.rules.first_line.is_some() { State::Header } else { State::of_first(&text) };
        next.text = text.into_owned();
        self.waiting.push(key, next);
        if self.waiting.len() > WAITING
            && let Some((_, oldest)) = self.waiting.pop_lru()
        {
            oldest.leave(&mut self.writers, out);
        }
    }

    /// A thread's write is worked off: hands on what cannot go on in another.
    pub(super) fn write_ends(&mut self, key: Key, out: &mut impl FnMut(Assembled)) {
        if self.waiting.peek(&key).is_some_and(|waiting| !waiting.state.waits())
            && let Some(waiting) = self.waiting.pop(&key)
        {
            waiting.leave(&mut self.writers, out);
        }
    }

    /// Hands on what waited too long.
    pub(super) fn expire(&mut self, now_ns: u64, out: &mut impl FnMut(Assembled)) {
        // The least recently used is the one that was touched first.
        while let Some((_, oldest)) = self.waiting.peek_lru()
            && oldest.last_ns.saturating_add(self.rules.wait_ns) <= now_ns
            && let Some((_, oldest)) = self.waiting.pop_lru()
        {
            oldest.leave(&mut self.writers, out);
        }
    }

    /// Hands on all that waits.
    pub(super) fn finish(&mut self, out: &mut impl FnMut(Assembled)) {
        while let Some((_, oldest)) = self.waiting.pop_lru() {
            oldest.leave(&mut self.writers, out);
        }
    }
}

impl Assembled {
    /// The state with a further line; `None` when it starts a record of its own.
    fn goes_on(&self, line: &str, next: &Self, rules: &Rules) -> Option<State> {
        let in_time = next.time_ns.saturating_sub(self.last_ns) <= rules.wait_ns;
        let fits = self.lines < rules.max_lines && self.text.len() + line.len() < rules.max_bytes;
        if !in_time || !fits || self.is_cut {
            return None;
        }
        match &rules.first_line {
            Some(first_line) => (!first_line.is_match(line)).then_some(State::Header),
            None => self.state.with(line, self.last == next.first),
        }
    }

    fn add(&mut self, line: &str, next: &Self, state: State) {
        // A name of an exception behind a message goes with it only where frames follow.
        if let Some(mut before) = self.before.take_if(|_| is_frame(line)) {
            let header = std::mem::take(&mut self.text);
            before.append(&header);
            before.lines += self.lines;
            before.last = self.last;
            *self = *before;
        }
        self.append(line);
        self.lines += 1;
        self.last = next.last;
        self.is_cut |= next.is_cut;
        self.state = state;
        self.is_apart &= next.is_apart;
        self.last_ns = next.last_ns;
    }

    fn append(&mut self, line: &str) {
        self.text.push('\n');
        self.text.push_str(line);
    }

    fn leave(mut self, writers: &mut Writers, out: &mut impl FnMut(Self)) {
        if let Some(mut before) = self.before.take() {
            writers.flushed_many(self.tgid);
            before.is_apart = false;
            self.is_apart = false;
            before.leave(writers, out);
        }
        self.is_apart &= !writers.share(self.tgid);
        if self.lines > 1 {
            let whole = self.text.trim_end_matches('\n').len();
            self.text.truncate(whole);
        }
        out(self);
    }
}
