//! What containers write, as the kernel side tells it: a ring buffer and maps of its own.

use std::{os::fd::AsFd, time::Duration};

use aya::{
    Ebpf, Pod,
    maps::{HashMap, MapData, PerCpuArray, RingBuf},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sensor_common::{
    log::{CUT, CUT_AT_LINE, Chunk, GAP, LAST, LOST_AT_LINE, LogCounter, LogKind, Opened, PipeKey},
    record::{EXECUTABLE_CAPACITY, Prefix, Record as _},
};

use super::{CaptureError, Drained, Fill, load::LOG_ENTRIES};
use crate::log::Written;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
struct PipeKeyPod(PipeKey);
// SAFETY: `repr(C)`, integers only, no implicit padding.
unsafe impl Pod for PipeKeyPod {}

/// Bytes before each record in a ring buffer (`BPF_RINGBUF_HDR_SZ`).
const RECORD_HEADER: u64 = 8;
/// Records start at multiples of this many bytes.
const RECORD_ALIGNMENT: usize = 8;

/// The reading side of the capture of standard streams. The programs live as long as the
/// [`Capture`](super::Capture) that it came from.
pub struct LogCapture {
    ring: RingBuf<MapData>,
    pipes: Pipes,
    counters: PerCpuArray<MapData, u64>,
    way: &'static str,
    ring_bytes: u32,
    rejected: u64,
}

/// The kernel side's map of followed pipes.
pub struct Pipes(HashMap<MapData, PipeKeyPod, u64>);

impl Pipes {
    /// Follows a pipe under a number.
    ///
    /// # Errors
    /// When the map is full.
    pub fn follow(&mut self, key: PipeKey, number: u64) -> Result<(), CaptureError> {
        self.0
            .insert(PipeKeyPod(key), number, 0)
            .map_err(|error| CaptureError::kernel("fill", "PIPES", error))
    }

    /// Follows a pipe no longer.
    pub fn forget(&mut self, key: PipeKey) {
        // One that is not there need not be removed.
        let _ = self.0.remove(&PipeKeyPod(key));
    }
}

/// A record of the ring buffer.
#[derive(Debug)]
pub enum LogRecord<'a> {
    /// Part of a write.
    Written(Written<'a>),
    /// A process replaced its program.
    Opened(Started<'a>),
}

/// A process that replaced its program, and the pipes that it holds as standard streams.
#[derive(Clone, Copy, Debug)]
pub struct Started<'a> {
    /// The process.
    pub tgid: u32,
    /// The process that made it.
    pub parent: u32,
    /// Number of its control group.
    pub cgroup: u64,
    /// Number and identity of the pipe at descriptors 1 and 2; `None` where there is another file.
    pub streams: [Option<(u64, PipeKey)>; 2],
    /// File name of the executable.
    pub executable: &'a [u8],
    /// The start of the argument vector, NUL-separated.
    pub arguments: &'a [u8],
}

impl LogCapture {
    pub(super) fn new(ebpf: &mut Ebpf, way: &'static str, ring_bytes: u32) -> Result<Self, CaptureError> {
        let open = |error| CaptureError::kernel("open", "the maps of logs", error);
        Ok(Self {
            ring: RingBuf::try_from(super::session::take(ebpf, "LOGS")?).map_err(open)?,
            pipes: Pipes(HashMap::try_from(super::session::take(ebpf, "PIPES")?).map_err(open)?),
            counters: PerCpuArray::try_from(super::session::take(ebpf, "LOG_COUNTERS")?).map_err(open)?,
            way,
            ring_bytes,
            rejected: 0,
        })
    }

    /// The way into the kernel.
    #[must_use]
    pub fn way(&self) -> &'static str {
        self.way
    }

    /// How full the map of followed pipes is. Counts the entries one by one: ask seldom.
    #[must_use]
    pub fn fill(&self) -> Fill {
        Fill::of(&self.pipes.0, LOG_ENTRIES)
    }

    /// The map of followed pipes.
    pub fn pipes(&mut self) -> &mut Pipes {
        &mut self.pipes
    }

    /// Waits until much waits in the ring buffer, or `limit` is over.
    pub fn wait(&self, limit: Duration) {
        let limit = Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(limit.subsec_nanos()),
        };
        let mut descriptors = [PollFd::from_borrowed_fd(self.ring.as_fd(), PollFlags::IN)];
        // What waits is looked for whatever the answer is.
        let _ = poll(&mut descriptors, Some(&limit));
    }

    /// Hands all records that wait, up to `limit`, to `sink`, with the map of followed pipes.
    pub fn drain(&mut self, limit: usize, mut sink: impl FnMut(LogRecord<'_>, &mut Pipes)) -> Drained {
        let mut drained = Drained::default();
        while drained.records < limit {
            let Some(item) = self.ring.next() else { break };
            match decode(&item) {
                Some(record) => sink(record, &mut self.pipes),
                None => self.rejected += 1,
            }
            drained.records += 1;
            drained.bytes += RECORD_HEADER + item.len().next_multiple_of(RECORD_ALIGNMENT) as u64;
        }
        drained
    }

    /// Records that were not whole or of no known kind; expected 0.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Size of the ring buffer, in bytes.
    #[must_use]
    pub fn ring_bytes(&self) -> u32 {
        self.ring_bytes
    }

    /// The kernel side's counters, summed over the processors, in the order of [`LogCounter::ALL`].
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn counters(&self) -> Result<[u64; LogCounter::LEN as usize], CaptureError> {
        let mut sums = [0; LogCounter::LEN as usize];
        for (counter, sum) in LogCounter::ALL.into_iter().zip(&mut sums) {
            let values = self
                .counters
                .get(&(counter as u32), 0)
                .map_err(|error| CaptureError::kernel("read", "LOG_COUNTERS", error))?;
            *sum = values.iter().sum();
        }
        Ok(sums)
    }
}

/// Decodes one record; `None` when it is not whole or of no known kind.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<LogRecord<'_>> {
    let (prefix, _) = Prefix::read(bytes)?;
    let payload_len = prefix.payload as usize;
    if prefix.kind == LogKind::Chunk as u16 {
        let (chunk, rest) = Chunk::read(bytes)?;
        return Some(LogRecord::Written(written(&chunk, rest.get(..payload_len)?)));
    }
    if prefix.kind != LogKind::Opened as u16 {
        return None;
    }
    let (opened, rest) = Opened::read(bytes)?;
    let name = size_of::<Opened>() - EXECUTABLE_CAPACITY;
    let executable = bytes.get(name..name + EXECUTABLE_CAPACITY)?.split(|byte| *byte == 0).next()?;
    let [out, error] = opened.numbers;
    let [out_key, error_key] = opened.keys;
    Some(LogRecord::Opened(Started {
        tgid: opened.tgid,
        parent: opened.parent,
        cgroup: opened.cgroup,
        streams: [(out != 0).then_some((out, out_key)), (error != 0).then_some((error, error_key))],
        executable,
        arguments: rest.get(..payload_len)?,
    }))
}

fn written<'a>(chunk: &Chunk, bytes: &'a [u8]) -> Written<'a> {
    let has = |flag| chunk.prefix.flags & flag != 0;
    Written {
        pipe: chunk.pipe,
        tgid: chunk.tgid,
        tid: chunk.tid,
        time_ns: chunk.time_ns,
        descriptor: chunk.descriptor,
        at: chunk.at,
        bytes,
        is_last: has(LAST),
        is_cut: has(CUT),
        is_cut_at_line: has(CUT_AT_LINE),
        is_gap: has(GAP),
        lost: chunk.lost,
        lost_at_line: chunk.lost & LOST_AT_LINE != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_becomes_a_piece_of_a_write() {
        let chunk = Chunk {
            prefix: Prefix { kind: LogKind::Chunk as u16, flags: LAST | CUT, payload: 3 },
            pipe: 9,
            tgid: 4,
            ..Chunk::default()
        };
        let mut bytes = chunk.bytes().to_vec();
        bytes.extend_from_slice(b"one\ntwo");
        let Some(LogRecord::Written(written)) = decode(&bytes) else { panic!("no chunk") };
        assert_eq!((written.pipe, written.bytes), (9, &b"one"[..]));
        assert!(written.is_last && written.is_cut && !written.is_gap);
    }

    #[test]
    fn what_is_cut_or_unknown_is_refused() {
        let chunk = Chunk {
            prefix: Prefix { kind: LogKind::Chunk as u16, flags: 0, payload: 1 },
            ..Chunk::default()
        };
        assert!(decode(chunk.bytes()).is_none());
        assert!(decode(&[]).is_none());
        assert!(decode(&[0xff; 300]).is_none());
    }
}
