//! From writes to lines.
//!
//! A write may hold several lines, and a line may come in several writes. What a write leaves without its line feed
//! waits for the next one: of the same thread after a small write (a program that writes piece by piece), of any
//! thread of the process after one of [`BUFFER`] bytes or more (a full buffer of the process that was flushed).

use lru::LruCache;
use memchr::memchr;

use super::written::{WriteId, Written};

/// The longest line; more of it is the next one.
pub(super) const LINE_MAX: usize = 256 * 1024;
/// How long the rest of a line is waited for.
pub(super) const REST_WAIT_NS: u64 = 1_000_000_000;
/// A write of so many bytes that ends within a line is taken for a flushed buffer.
const BUFFER: usize = 4096;
/// Processes on pipes that are remembered; the one that was silent longest is forgotten, and told what it left.
const PROCESSES: usize = 8192;
/// Threads of one process whose rests are remembered.
const THREADS: usize = 256;

/// A line, without its line feed.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Number of the pipe.
    pub pipe: u64,
    /// The process that wrote it.
    pub tgid: u32,
    /// The thread that wrote its start.
    pub tid: u32,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// When its first bytes were written.
    pub time_ns: u64,
    /// Descriptor that it was written to.
    pub descriptor: u32,
    /// Some of it is missing: it was too long, or its rest did not come.
    pub is_cut: bool,
    /// All of it was written by one thread.
    pub of_one_thread: bool,
    /// When its last bytes were written.
    pub last_ns: u64,
    pub(super) first: WriteId,
    pub(super) last: WriteId,
}

/// What was lost on the way to lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounts {
    /// Lines of which the kernel side lost a part, so that the rest was left out.
    pub broken: u64,
    /// Lines that were told in part: longer than [`LINE_MAX`], or without their end.
    pub cut: u64,
}

/// Puts lines together.
#[derive(Debug)]
pub struct Lines {
    processes: LruCache<(u64, u32), Process>,
    counts: LineCounts,
}

#[derive(Debug, Default)]
struct Process {
    lost: u32,
    /// What follows belongs to a line of which a part was lost, until its line feed.
    skips: bool,
    buffer: Option<Rest>,
    threads: Vec<Rest>,
}

/// The start of a line.
#[derive(Debug)]
struct Rest {
    bytes: Vec<u8>,
    tid: u32,
    time_ns: u64,
    touched_ns: u64,
    descriptor: u32,
    of_one_thread: bool,
    first: WriteId,
    last: WriteId,
}

impl Default for Lines {
    fn default() -> Self {
        Self { processes: LruCache::unbounded(), counts: LineCounts::default() }
    }
}

impl Lines {
    /// What was lost.
    #[must_use]
    pub fn counts(&self) -> LineCounts {
        self.counts
    }

    /// Takes the next part of a write, and hands on each line that it ends.
    pub fn push(&mut self, written: &Written<'_>, mut out: impl FnMut(Line<'_>)) {
        let key = (written.pipe, written.tgid);
        if self.processes.get(&key).is_none() {
            self.processes.push(key, Process::default());
            if self.processes.len() > PROCESSES
                && let Some((key, process)) = self.processes.pop_lru()
            {
                self.counts.cut += process.leave(key, &mut out);
            }
        }
        let Some(process) = self.processes.get_mut(&key) else { return };
        if process.lost != written.lost {
            process.lost = written.lost;
            // The line feeds of what waits were lost and counted, or come next and are counted then.
            process.buffer = None;
            process.threads.clear();
            process.skips = !written.lost_at_line;
        }
        if written.is_gap {
            self.counts.cut += process.leave_rests(key, &mut out);
            return;
        }
        let mut bytes = written.bytes;
        if process.skips {
            match memchr(b'\n', bytes) {
                Some(end) => {
                    process.skips = false;
                    self.counts.broken += 1;
                    bytes = &bytes[end + 1..];
                }
                None => bytes = &[],
            }
        }
        let mut rest = process.rest_of(written.tid);
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, after) = (&bytes[..end], &bytes[end + 1..]);
            bytes = after;
            match rest.take() {
                Some(mut rest) => {
                    rest.add(line, written);
                    out(rest.line(key, false));
                }
                None => out(Line {
                    pipe: key.0,
                    tgid: key.1,
                    tid: written.tid,
                    bytes: line,
                    time_ns: written.time_ns,
                    descriptor: written.descriptor,
                    is_cut: false,
                    of_one_thread: true,
                    last_ns: written.time_ns,
                    first: written.id(),
                    last: written.id(),
                }),
            }
        }
        if !bytes.is_empty() {
            rest.get_or_insert_with(|| Rest::new(written)).add(bytes, written);
        }
        if let Some(rest) = &mut rest {
            while rest.bytes.len() >= LINE_MAX {
                let after = rest.bytes.split_off(whole_characters(&rest.bytes[..LINE_MAX]));
                out(rest.line(key, true));
                self.counts.cut += 1;
                rest.bytes = after;
                rest.time_ns = written.time_ns;
            }
        }
        if written.is_cut && written.is_last {
            process.skips = !written.is_cut_at_line;
            if let Some(mut rest) = rest.take() {
                let whole = whole_characters(&rest.bytes);
                rest.bytes.truncate(whole);
                out(rest.line(key, true));
                self.counts.cut += 1;
            }
        }
        if let Some(rest) = rest.filter(|rest| !rest.bytes.is_empty()) {
            process.keep(rest, written);
        }
    }

    /// Hands on what waited too long for its rest.
    pub fn expire(&mut self, now_ns: u64, mut out: impl FnMut(Line<'_>)) {
        let is_old = |rest: &Rest| rest.touched_ns.saturating_add(REST_WAIT_NS) <= now_ns;
        for (key, process) in &mut self.processes {
            if let Some(rest) = process.buffer.take_if(|rest| is_old(rest)) {
                out(rest.line(*key, true));
                self.counts.cut += 1;
            }
            for rest in process.threads.extract_if(.., |rest| is_old(rest)) {
                out(rest.line(*key, true));
                self.counts.cut += 1;
            }
        }
    }

    /// Hands on all that waits, and forgets everything.
    pub fn finish(&mut self, mut out: impl FnMut(Line<'_>)) {
        while let Some((key, process)) = self.processes.pop_lru() {
            self.counts.cut += process.leave(key, &mut out);
        }
    }
}

impl Process {
    /// What the next write of a thread goes on with.
    fn rest_of(&mut self, tid: u32) -> Option<Rest> {
        let of_thread = self.threads.iter().position(|rest| rest.tid == tid);
        of_thread.map(|at| self.threads.swap_remove(at)).or_else(|| self.buffer.take())
    }

    fn keep(&mut self, rest: Rest, written: &Written<'_>) {
        let length = written.at as usize + written.bytes.len();
        if written.is_last && length >= BUFFER {
            self.buffer = Some(rest);
        } else {
            if self.threads.len() >= THREADS {
                self.threads.remove(0);
            }
            self.threads.push(Rest { tid: written.tid, ..rest });
        }
    }

    /// Hands on the rests; how many.
    fn leave_rests(&mut self, key: (u64, u32), out: &mut impl FnMut(Line<'_>)) -> u64 {
        let mut count = 0;
        for rest in self.buffer.take().into_iter().chain(self.threads.drain(..)) {
            out(rest.line(key, true));
            count += 1;
        }
        count
    }

    fn leave(mut self, key: (u64, u32), out: &mut impl FnMut(Line<'_>)) -> u64 {
        self.leave_rests(key, out)
    }
}

impl Rest {
    fn new(written: &Written<'_>) -> Self {
        Self {
            bytes: Vec::new(),
            tid: written.tid,
            time_ns: written.time_ns,
            touched_ns: written.time_ns,
            descriptor: written.descriptor,
            of_one_thread: true,
            first: written.id(),
            last: written.id(),
        }
    }

    fn add(&mut self, bytes: &[u8], written: &Written<'_>) {
        self.bytes.extend_from_slice(bytes);
        self.touched_ns = written.time_ns;
        self.last = written.id();
        self.of_one_thread &= self.tid == written.tid;
    }

    fn line(&self, key: (u64, u32), is_cut: bool) -> Line<'_> {
        Line {
            pipe: key.0,
            tgid: key.1,
            tid: self.tid,
            bytes: &self.bytes,
            time_ns: self.time_ns,
            descriptor: self.descriptor,
            is_cut,
            of_one_thread: self.of_one_thread,
            last_ns: self.touched_ns,
            first: self.first,
            last: self.last,
        }
    }
}

/// How many of the bytes are left when a character that is cut at the end (RFC 3629) is not among them.
fn whole_characters(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(3);
    let Some(lead) = bytes[tail..].iter().rposition(|byte| byte & 0xc0 != 0x80) else { return bytes.len() };
    let lead = tail + lead;
    let length = match bytes[lead] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    if bytes.len() - lead < length && lead > 0 { lead } else { bytes.len() }
}
