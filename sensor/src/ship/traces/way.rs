//! The way of one exchange into a batch.

use std::sync::atomic::Ordering;

use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::{Counts, Open, flag, text};
use crate::identity::Observed;
use crate::ship::budget::Stage;
use crate::ship::outlet::Encoded;
use crate::ship::sampling::{self, Decision, KEPT};
use crate::trace::{self, Batch, ObservedHandshake, WallClock};

/// The attribute that says that span metrics were made of it already.
pub(super) const SKIP_METRICS: &str = "span.metrics.skip";
/// Spans of one request.
pub(super) const BATCH_SPANS: usize = 512;

/// The way of one exchange into a batch.
pub(super) struct Way<'a> {
    pub(super) open: &'a mut Open,
    pub(super) counts: &'a Counts,
    pub(super) clock: WallClock,
    pub(super) batch: &'a mut Batch,
    pub(super) now_s: u64,
}

impl Way<'_> {
    /// Whether its span is sent.
    pub(super) fn take(&mut self, observed: &Observed) -> bool {
        let decision = self.open.sampler.decide(observed, self.open.meter.stage());
        match self.with_its_trace(observed, decision) {
            Some(Decision::Dropped) => self.counts.unsampled.fetch_add(1, Ordering::Relaxed),
            Some(Decision::OverBudget) => self.counts.over_budget.fetch_add(1, Ordering::Relaxed),
            Some(kept) => return self.send(observed, kept),
            None => 0,
        };
        false
    }

    pub(super) fn take_handshake(&mut self, observed: &ObservedHandshake) {
        let mut decision = self.open.sampler.decide(observed, self.open.meter.stage());
        let kept = self.open.tail.as_ref().and_then(|tail| tail.kept(&observed.span.trace_id));
        if let (Decision::Dropped | Decision::OverBudget, Some(reason)) = (decision, kept) {
            self.open.sampler.spend(1);
            decision = Decision::Kept(reason);
        }
        let left_out = match decision {
            Decision::Dropped => &self.counts.unsampled,
            Decision::OverBudget => &self.counts.over_budget,
            Decision::Sampled(_) | Decision::Kept(_) => {
                let span = with(trace::handshake_span(observed, self.clock), decision);
                self.put(span, |batch, span| batch.push_handshake(observed, span));
                return;
            }
        };
        left_out.fetch_add(1, Ordering::Relaxed);
    }

    /// What becomes of a span when the rest of its trace is looked at; `None` when it waits for that.
    fn with_its_trace(&mut self, observed: &Observed, decision: Decision) -> Option<Decision> {
        let Some(tail) = &mut self.open.tail else { return Some(decision) };
        let (trace_id, now_ns) = (observed.span.trace_id, observed.exchange.end_ns);
        match (decision, tail.kept(&trace_id)) {
            (Decision::Sampled(_), _) => Some(decision),
            (Decision::Kept(reason), _) => {
                let (waited, gone) = tail.keep(trace_id, reason, now_ns);
                self.counts.let_go(gone);
                self.open.sampler.spend(waited.len());
                for waited in &waited {
                    self.send(waited, decision);
                }
                Some(decision)
            }
            (Decision::Dropped | Decision::OverBudget, Some(reason)) => {
                self.open.sampler.spend(1);
                Some(Decision::Kept(reason))
            }
            (Decision::OverBudget, None) => Some(decision),
            (Decision::Dropped, None) => {
                self.counts.let_go(tail.wait(observed, now_ns));
                None
            }
        }
    }

    /// Puts a span into the batch, where the day has room for it.
    fn send(&mut self, observed: &Observed, decision: Decision) -> bool {
        if matches!(decision, Decision::Dropped | Decision::OverBudget) {
            return false;
        }
        let span = with(trace::span(observed, self.clock, self.open.form.rpc_names), decision);
        self.put(span, |batch, span| batch.push(observed, span))
    }

    fn put(&mut self, mut span: Span, push: impl FnOnce(&mut Batch, Span)) -> bool {
        if self.open.form.skips_metrics {
            span.attributes.push(flag(SKIP_METRICS));
        }
        let is_failed = span.status.is_some();
        let is_wanted = |stage: Stage| is_failed || stage < Stage::Errors;
        if !self.open.meter.take(span.encoded_len(), self.now_s, is_wanted) {
            self.counts.over_day.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        push(self.batch, span);
        if self.batch.len() >= BATCH_SPANS {
            send(self.open, self.batch, self.counts);
        }
        true
    }
}

/// A span that says why it is kept.
fn with(mut span: Span, decision: Decision) -> Span {
    let (threshold, reason) = match decision {
        Decision::Sampled(threshold) => (Some(threshold), None),
        Decision::Kept(reason) => (None, Some(reason)),
        Decision::Dropped | Decision::OverBudget => (None, None),
    };
    span.trace_state = sampling::trace_state(&span.trace_state, threshold);
    span.attributes.extend(reason.map(|reason| text(KEPT, reason)));
    span
}

/// Hands over what is in the batch.
pub(super) fn send(open: &Open, batch: &mut Batch, counts: &Counts) {
    let spans = batch.len() as u64;
    let Some(mut data) = batch.take() else { return };
    for resource in data.resource_spans.iter_mut().filter_map(|spans| spans.resource.as_mut()) {
        resource.attributes.extend(open.form.resource.iter().cloned());
    }
    let Ok(place) = open.batches.try_reserve() else {
        counts.busy.fetch_add(spans, Ordering::Relaxed);
        return;
    };
    let items = u32::try_from(spans).unwrap_or(u32::MAX);
    place.send(Encoded { payload: data.encode_to_vec(), items });
}
