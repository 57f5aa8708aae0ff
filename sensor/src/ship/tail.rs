//! Spans that wait for the rest of their trace.
//!
//! Where a request of a trace fails or is slow, the other spans that this node has of the trace are kept with it. The
//! spans of a trace end at different times, the one that fails often last, so those that are not in the sample wait: from the
//! first one of their trace for a time. So does what is known of a trace whose spans are kept, for those that are
//! still to come.
//!
//! What waits is bounded by the number of spans. Where there is no room the oldest trace is let go before its time, and its
//! spans are counted.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::identity::Observed;

type TraceId = [u8; 16];

/// Traces of which it is not decided yet, or not for long.
#[derive(Debug)]
pub struct Tail {
    wait_ns: u64,
    max_spans: usize,
    traces: HashMap<TraceId, Trace>,
    /// By when they began to wait.
    order: VecDeque<(u64, TraceId)>,
    spans: usize,
}

/// A trace.
#[derive(Debug, Default)]
struct Trace {
    /// Why its spans are kept.
    kept: Option<&'static str>,
    waiting: Vec<Observed>,
}

/// What was let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LetGo {
    /// Spans whose time was over.
    pub in_time: u64,
    /// Spans that made room for others.
    pub early: u64,
}

impl Tail {
    /// One whose spans wait so long, in nanoseconds, and are not more than `max_spans`.
    #[must_use]
    pub fn new(wait_ns: u64, max_spans: usize) -> Self {
        Self { wait_ns, max_spans, traces: HashMap::new(), order: VecDeque::new(), spans: 0 }
    }

    /// Spans that wait.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.spans
    }

    /// Why the spans of a trace are kept, when they are.
    #[must_use]
    pub fn kept(&self, trace_id: &TraceId) -> Option<&'static str> {
        self.traces.get(trace_id)?.kept
    }

    /// Lets a span wait that is not in the sample. `now_ns` is of `CLOCK_MONOTONIC`.
    pub fn wait(&mut self, observed: &Observed, now_ns: u64) -> LetGo {
        let mut gone = LetGo::default();
        while self.spans >= self.max_spans.max(1) {
            let Some((_, oldest)) = self.order.pop_front() else { break };
            gone.early += self.forget(&oldest);
        }
        self.trace(observed.span.trace_id, now_ns).waiting.push(observed.clone());
        self.spans += 1;
        gone
    }

    /// Keeps a trace for a reason, and returns its spans that waited, and what made room for it.
    pub fn keep(&mut self, trace_id: TraceId, reason: &'static str, now_ns: u64) -> (Vec<Observed>, LetGo) {
        let mut gone = LetGo::default();
        // Traces of which nothing waits take room too.
        if !self.traces.contains_key(&trace_id)
            && self.traces.len() >= self.max_spans.max(1)
            && let Some((_, oldest)) = self.order.pop_front()
        {
            gone.early += self.forget(&oldest);
        }
        let trace = self.trace(trace_id, now_ns);
        trace.kept.get_or_insert(reason);
        let waited = std::mem::take(&mut trace.waiting);
        self.spans -= waited.len();
        (waited, gone)
    }

    /// Lets go what has waited for its time.
    pub fn due(&mut self, now_ns: u64) -> LetGo {
        let mut gone = LetGo::default();
        while let Some((since, trace)) = self.order.front().copied()
            && since.saturating_add(self.wait_ns) <= now_ns
        {
            self.order.pop_front();
            gone.in_time += self.forget(&trace);
        }
        gone
    }

    /// Lets go everything.
    pub fn finish(&mut self) -> LetGo {
        self.due(u64::MAX)
    }

    fn trace(&mut self, trace_id: TraceId, now_ns: u64) -> &mut Trace {
        let order = &mut self.order;
        self.traces.entry(trace_id).or_insert_with(|| {
            order.push_back((now_ns, trace_id));
            Trace::default()
        })
    }

    /// Forgets a trace that has left the order, and says how many spans waited.
    fn forget(&mut self, trace_id: &TraceId) -> u64 {
        let waited = self.traces.remove(trace_id).map_or(0, |trace| trace.waiting.len());
        self.spans -= waited;
        waited as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::fixture::{exchange, observed};

    fn of(trace: u8) -> Observed {
        let mut observed = observed(exchange());
        observed.span.trace_id = [trace; 16];
        observed
    }

    #[test]
    fn a_trace_is_kept_with_what_waited_and_what_comes() {
        let mut tail = Tail::new(100, 10);
        tail.wait(&of(1), 10);
        tail.wait(&of(2), 11);
        tail.wait(&of(1), 12);
        assert_eq!(tail.keep([1; 16], "error", 20).0.len(), 2);
        assert_eq!((tail.kept(&[1; 16]), tail.kept(&[2; 16])), (Some("error"), None));
        assert_eq!(tail.keep([1; 16], "slow", 30).0.len(), 0);
        assert_eq!(tail.kept(&[1; 16]), Some("error"), "the first reason stays");
        assert_eq!(tail.waiting(), 1);
        assert_eq!(tail.due(109), LetGo::default());
        assert_eq!(tail.due(110), LetGo::default(), "nothing waited of the first trace any more");
        assert_eq!(tail.kept(&[1; 16]), None);
        assert_eq!(tail.due(111), LetGo { in_time: 1, early: 0 });
        assert_eq!((tail.waiting(), tail.traces.len(), tail.order.len()), (0, 0, 0));
    }

    #[test]
    fn what_waits_is_bounded_and_the_oldest_goes() {
        let mut tail = Tail::new(1_000, 3);
        for (trace, at) in [(1, 1), (1, 2), (2, 3)] {
            assert_eq!(tail.wait(&of(trace), at), LetGo::default());
        }
        assert_eq!(tail.wait(&of(3), 4), LetGo { in_time: 0, early: 2 });
        assert_eq!(tail.keep([1; 16], "error", 5).0.len(), 0);
        assert_eq!(tail.keep([2; 16], "error", 5).0.len(), 1);
        for trace in 10..100 {
            tail.keep([trace; 16], "slow", 6);
            assert!(tail.traces.len() <= 3 && tail.order.len() <= 3);
        }
        assert!(tail.finish().in_time <= 1);
        assert_eq!((tail.waiting(), tail.traces.len()), (0, 0));
    }
}
