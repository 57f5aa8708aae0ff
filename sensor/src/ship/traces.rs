//! From exchanges to batches of spans.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{Span, TracesData};
use prost::Message as _;
use tokio::sync::mpsc;

use super::budget::{Meter, Stage};
use super::sampling::{self, Decision, KEPT, Sampler};
use super::stats::now_ms;
use super::store::Store;
use crate::identity::Observed;
use crate::trace::{self, Batch, WallClock};

/// The attribute that says that span metrics were made of it already.
const SKIP_METRICS: &str = "span.metrics.skip";
/// Spans of one request.
const BATCH_SPANS: usize = 512;
/// Batches that wait to be written; what finds no room is lost and counted.
const WAITING_MAX: usize = 32;
/// How often the offset between the monotonic clock and the wall clock is looked at.
const CLOCK_INTERVAL: Duration = Duration::from_secs(10);

/// What the way of the spans counts.
#[derive(Debug, Default)]
pub struct Counts {
    /// Requests that were not sampled.
    pub unsampled: AtomicU64,
    /// Failed or slow requests for which the budget had no room.
    pub over_budget: AtomicU64,
    /// Spans for which the day had no bytes left.
    pub over_day: AtomicU64,
    /// Spans that the writer was too slow for.
    pub busy: AtomicU64,
}

/// Where the spans go now. It changes when the settings do.
pub type Outlet = super::outlet::Outlet<Open>;

/// What a sink needs while there is a receiver of its signal.
pub struct Open {
    sampler: Sampler,
    meter: Arc<Meter>,
    skips_metrics: bool,
    resource: Vec<KeyValue>,
    batches: mpsc::Sender<TracesData>,
}

impl Outlet {
    /// Opens it; the receiver's end is for [`write`](fn@write). `skips_metrics` when there are span metrics already.
    pub fn open(
        &self,
        sampler: Sampler,
        meter: Arc<Meter>,
        skips_metrics: bool,
        resource: &[(&str, &str)],
    ) -> mpsc::Receiver<TracesData> {
        let (batches, waiting) = mpsc::channel(WAITING_MAX);
        let resource = resource
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| text(key, value))
            .collect();
        self.set(Open { sampler, meter, skips_metrics, resource, batches });
        waiting
    }
}

/// The pipeline's end of the way.
pub struct Sink {
    outlet: Outlet,
    counts: Arc<Counts>,
    clock: WallClock,
    sampled: Instant,
    batch: Batch,
}

impl Sink {
    /// A sink that hands its spans to `outlet`.
    #[must_use]
    pub fn new(outlet: Outlet, counts: Arc<Counts>) -> Self {
        let (clock, sampled) = (WallClock::sample(), Instant::now());
        Self { outlet, counts, clock, sampled, batch: Batch::default() }
    }

    /// Whether there is a receiver of traces now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.outlet.is_open()
    }

    /// Takes the requests whose traces are kept.
    pub fn take(&mut self, observed: &[Observed]) {
        let Self { outlet, counts, clock, batch, .. } = self;
        let mut outlet = outlet.lock();
        let Some(open) = &mut *outlet else { return };
        let now_s = now_ms() / 1_000;
        for observed in observed {
            let decision = open.sampler.decide(observed, open.meter.stage());
            if let Some(mut span) = span(observed, *clock, decision) {
                if open.skips_metrics {
                    span.attributes.push(flag(SKIP_METRICS));
                }
                let is_failed = span.status.is_some();
                let is_wanted = |stage: Stage| is_failed || stage < Stage::Errors;
                if !open.meter.take(span.encoded_len(), now_s, is_wanted) {
                    counts.over_day.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                batch.push(observed, span);
                if batch.len() >= BATCH_SPANS {
                    send(open, batch, counts);
                }
            } else {
                let counter =
                    if decision == Decision::OverBudget { &counts.over_budget } else { &counts.unsampled };
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// What is due once a second: spans wait no longer than that.
    pub fn second(&mut self) {
        if self.sampled.elapsed() >= CLOCK_INTERVAL {
            self.sampled = Instant::now();
            self.clock = WallClock::sample();
        }
        if let Some(open) = &*self.outlet.lock() {
            send(open, &mut self.batch, &self.counts);
        }
    }
}

fn span(observed: &Observed, clock: WallClock, decision: Decision) -> Option<Span> {
    let (threshold, reason) = match decision {
        Decision::Sampled(threshold) => (Some(threshold), None),
        Decision::Kept(reason) => (None, Some(reason)),
        Decision::Dropped | Decision::OverBudget => return None,
    };
    let mut span = trace::span(observed, clock);
    span.trace_state = sampling::trace_state(&span.trace_state, threshold);
    span.attributes.extend(reason.map(|reason| text(KEPT, reason)));
    Some(span)
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn flag(key: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::BoolValue(true)) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn send(open: &Open, batch: &mut Batch, counts: &Counts) {
    let spans = batch.len() as u64;
    let Some(mut data) = batch.take() else { return };
    for resource in data.resource_spans.iter_mut().filter_map(|spans| spans.resource.as_mut()) {
        resource.attributes.extend(open.resource.iter().cloned());
    }
    if open.batches.try_send(data).is_err() {
        counts.busy.fetch_add(spans, Ordering::Relaxed);
    }
}

/// Writes batches to the spool until the outlet is closed.
pub async fn write(mut batches: mpsc::Receiver<TracesData>, store: Store) {
    while let Some(data) = batches.recv().await {
        let store = store.clone();
        let written = tokio::task::spawn_blocking(move || {
            let spans = u32::try_from(super::otlp::spans(&data)).unwrap_or(u32::MAX);
            store.accept(data.encode_to_vec(), spans);
        });
        if written.await.is_err() {
            tracing::error!("a batch of spans could not be encoded");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ship::Traces;
    use crate::metric::fixture::{exchange, observed};

    fn open(outlet: &Outlet, settings: &Traces, resource: &[(&str, &str)]) -> mpsc::Receiver<TracesData> {
        outlet.open(Sampler::new(settings), Arc::new(Meter::unlimited()), true, resource)
    }

    #[test]
    fn spans_carry_what_the_receiver_needs() {
        let outlet = Outlet::default();
        let counts = Arc::new(Counts::default());
        let mut sink = Sink::new(outlet.clone(), Arc::clone(&counts));
        sink.take(&[observed(exchange())]);
        let settings = Traces { sample_percent: 100.0, ..Traces::default() };
        let mut batches = open(&outlet, &settings, &[("host.name", "n1"), ("k8s.cluster.name", "")]);
        sink.take(&[observed(exchange())]);
        sink.second();
        let data = batches.try_recv().unwrap();
        assert_eq!(super::super::otlp::spans(&data), 1, "what came while it was closed is not sent");
        let resource = &data.resource_spans[0];
        let keys: Vec<&str> =
            resource.resource.as_ref().unwrap().attributes.iter().map(|pair| pair.key.as_str()).collect();
        assert_eq!(keys, ["service.name", "process.pid", "host.name"]);
        let span = &resource.scope_spans[0].spans[0];
        assert_eq!(span.trace_state, "ot=th:0");
        assert!(!span.attributes.iter().any(|pair| pair.key == KEPT), "it is in the sample");
        assert!(span.attributes.contains(&flag(SKIP_METRICS)));
    }

    #[test]
    fn a_slow_writer_loses_whole_batches_and_they_are_counted() {
        let outlet = Outlet::default();
        let counts = Arc::new(Counts::default());
        let mut sink = Sink::new(outlet.clone(), Arc::clone(&counts));
        let settings = Traces { sample_percent: 100.0, ..Traces::default() };
        let mut batches = open(&outlet, &settings, &[]);
        let many = vec![observed(exchange()); BATCH_SPANS];
        for _ in 0..WAITING_MAX + 2 {
            sink.take(&many);
        }
        assert_eq!(counts.busy.load(Ordering::Relaxed), 2 * BATCH_SPANS as u64);
        assert_eq!(std::iter::from_fn(|| batches.try_recv().ok()).count(), WAITING_MAX);
    }

    #[test]
    fn failures_are_the_last_that_a_day_has_room_for() {
        let directory = tempfile::tempdir().unwrap();
        let meter = Arc::new(Meter::load(100_000, &directory.path().join("traces.day")));
        let outlet = Outlet::default();
        let counts = Arc::new(Counts::default());
        let mut sink = Sink::new(outlet.clone(), Arc::clone(&counts));
        let settings = Traces { sample_percent: 100.0, keep_errors: false, ..Traces::default() };
        let mut batches = outlet.open(Sampler::new(&settings), meter, true, &[]);
        // The trace ids are spread over their range.
        for random in (0..=255).cycle().take(2_048) {
            let mut good = observed(exchange());
            good.span.trace_id = [random; 16];
            let mut failed = observed(crate::protocol::Exchange { status: Some(500), ..exchange() });
            failed.span.trace_id = [random; 16];
            sink.take(&[good, failed]);
        }
        sink.second();
        let spans: Vec<Span> = std::iter::from_fn(|| batches.try_recv().ok())
            .flat_map(|data| data.resource_spans)
            .flat_map(|resource| resource.scope_spans)
            .flat_map(|scope| scope.spans)
            .collect();
        let bytes: usize = spans.iter().map(prost::Message::encoded_len).sum();
        assert!((99_000..=100_000).contains(&bytes), "{bytes}");
        let states: std::collections::BTreeSet<&str> =
            spans.iter().map(|span| span.trace_state.as_str()).collect();
        assert!(states.contains("ot=th:8") && states.contains("ot=th:c"), "{states:?}");
        assert!(spans[spans.len() - 3..].iter().all(|span| span.status.is_some()));
        let left_out = [&counts.over_day, &counts.unsampled].map(|counter| counter.load(Ordering::Relaxed));
        assert_eq!(left_out.iter().sum::<u64>() + spans.len() as u64, 4_096);
    }
}
