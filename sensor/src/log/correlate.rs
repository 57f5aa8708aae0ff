//! The trace of a record: that of the request which its thread served when it wrote it.
//!
//! Which request that was, [`Joiner`] knows, and it says nothing where it is not certain. It learns of requests from
//! another ring buffer than the one that records come from: so a record waits until all that was captured before it has
//! been told; and where its thread was about to end a response, until it is known when that was whole. The records behind
//! it wait with it, which keeps them in order.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Record, Told};
use crate::trace::{Joiner, Serving, SpanContext};

/// How long a record waits at most. The pipeline looks every 20 ms, and asks for the end of a response after 50 ms.
const PATIENCE_NS: u64 = 500_000_000;
/// Bytes of records that wait at most; then the oldest is told as it is.
const WAITING_BYTES: usize = 16 * 1024 * 1024;
/// What a record takes besides its text.
const RECORD_BYTES: usize = 512;

/// The requests of this host's servers, shared by the pipeline, which tells of them, and the reader of logs.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    joiner: Arc<Mutex<Joiner>>,
    /// All that was captured before this time (nanoseconds of `CLOCK_MONOTONIC`) has been told.
    told_ns: Arc<AtomicU64>,
}

impl Requests {
    /// Who knows them.
    pub fn joiner(&self) -> MutexGuard<'_, Joiner> {
        self.joiner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that was captured before `now_ns` has been told.
    pub fn told(&self, now_ns: u64) {
        self.told_ns.store(now_ns, Ordering::Release);
    }
}

/// Where the traces of records are from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traces {
    /// The line itself carries it.
    pub line: u64,
    /// The request that the thread served.
    pub request: u64,
    /// It was left out: more than one request could be meant.
    pub unclear: u64,
    /// The thread served no request, or others may have written some of the record.
    pub none: u64,
}

/// Records that wait for their trace, in order.
#[derive(Debug)]
pub(super) struct Waiting {
    requests: Requests,
    records: VecDeque<Told>,
    bytes: usize,
    traces: Traces,
}

impl Waiting {
    pub(super) fn new(requests: Requests) -> Self {
        Self { requests, records: VecDeque::new(), bytes: 0, traces: Traces::default() }
    }

    pub(super) fn traces(&self) -> Traces {
        self.traces
    }

    pub(super) fn push(&mut self, told: impl IntoIterator<Item = Told>) {
        for told in told {
            self.bytes += size(&told.record);
            self.records.push_back(told);
        }
    }

    /// Hands on the records of which it is known what trace they are in, and those that have waited long enough.
    pub(super) fn pass_on(&mut self, now_ns: u64, out: &mut Vec<Record>) {
        if self.records.is_empty() {
            return;
        }
        // Read before the joiner is asked, which may know more by then.
        let all_told_ns = self.requests.told_ns.load(Ordering::Acquire);
        let requests = self.requests.clone();
        let mut joiner = requests.joiner();
        while let Some(Told { record, during }) = self.records.front() {
            let serving = match during {
                None => Serving::None,
                Some((_, last)) if *last >= all_told_ns => Serving::Pending,
                Some((first, last)) => serving(&mut joiner, record, *first, *last),
            };
            let is_late = || {
                during.is_some_and(|(_, last)| last.saturating_add(PATIENCE_NS) <= now_ns)
                    || self.bytes > WAITING_BYTES
            };
            if serving == Serving::Pending && !is_late() {
                return;
            }
            let Some(Told { mut record, .. }) = self.records.pop_front() else { return };
            self.bytes -= size(&record);
            match serving {
                Serving::Span(SpanContext { trace_id, span_id }) => {
                    record.trace_id = Some(trace_id);
                    record.span_id = Some(span_id);
                    self.traces.request += 1;
                }
                Serving::Pending | Serving::Unclear => self.traces.unclear += 1,
                Serving::None if record.trace_id.is_some() => self.traces.line += 1,
                Serving::None => self.traces.none += 1,
            }
            out.push(record);
        }
    }

    /// Hands on all.
    pub(super) fn finish(&mut self, out: &mut Vec<Record>) {
        self.pass_on(u64::MAX, out);
    }
}

/// What its thread served from the first to the last byte of the record.
fn serving(joiner: &mut Joiner, record: &Record, first_ns: u64, last_ns: u64) -> Serving {
    let serving = joiner.serving(record.pid, record.tid, first_ns);
    if first_ns == last_ns || matches!(serving, Serving::Pending | Serving::Unclear) {
        return serving;
    }
    match joiner.serving(record.pid, record.tid, last_ns) {
        last if last == serving => serving,
        Serving::Pending => Serving::Pending,
        _ => Serving::Unclear,
    }
}

fn size(record: &Record) -> usize {
    RECORD_BYTES + record.body.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Iostream;

    fn told(body: &str, during: Option<(u64, u64)>) -> Told {
        let record = Record {
            time_unix_ns: 0,
            observed_time_unix_ns: 0,
            severity: None,
            body: body.to_owned(),
            attributes: serde_json::Map::new(),
            trace_id: None,
            span_id: None,
            iostream: Iostream::Stdout,
            is_cut: false,
            service_name: "shop".into(),
            container: None,
            pid: 7,
            tid: 7,
        };
        Told { record, during }
    }

    fn passed_on(waiting: &mut Waiting, now_ns: u64) -> Vec<String> {
        let mut records = Vec::new();
        waiting.pass_on(now_ns, &mut records);
        records.into_iter().map(|record| record.body).collect()
    }

    #[test]
    fn a_record_waits_until_all_before_it_was_told_and_the_others_behind_it() {
        let requests = Requests::default();
        let mut waiting = Waiting::new(requests.clone());
        waiting.push([told("a", None), told("b", Some((10, 10))), told("c", None)]);
        assert_eq!(passed_on(&mut waiting, 10), ["a"]);
        requests.told(10);
        assert!(passed_on(&mut waiting, 11).is_empty());
        requests.told(11);
        assert_eq!(passed_on(&mut waiting, 11), ["b", "c"]);
        assert_eq!(waiting.traces(), Traces { none: 3, ..Traces::default() });
    }

    #[test]
    fn no_record_waits_for_long() {
        let mut waiting = Waiting::new(Requests::default());
        waiting.push([told("a", Some((10, 10))), told("b", Some((PATIENCE_NS, PATIENCE_NS)))]);
        assert!(passed_on(&mut waiting, PATIENCE_NS + 9).is_empty());
        assert_eq!(passed_on(&mut waiting, PATIENCE_NS + 10), ["a"]);
        let mut rest = Vec::new();
        waiting.finish(&mut rest);
        assert_eq!((rest.len(), waiting.traces().unclear, waiting.bytes), (1, 2, 0));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut waiting = Waiting::new(Requests::default());
        let long = "x".repeat(WAITING_BYTES / 2);
        waiting.push([told(&long, Some((10, 10))), told(&long, Some((10, 10))), told("c", Some((10, 10)))]);
        assert_eq!(passed_on(&mut waiting, 10).len(), 1);
    }
}
