//! From exchanges to batches of spans.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::sync::mpsc;

use super::budget::{Meter, Stage};
use super::outlet::Encoded;
use super::sampling::{self, Decision, KEPT, Sampler};
use super::stats::{monotonic_ns, now_ms};
use super::tail::{LetGo, Tail};
use crate::config::ship::Traces;
use crate::identity::Observed;
use crate::metric::Shared;
use crate::trace::{self, Batch, ObservedHandshake, WallClock};

/// The attribute that says that span metrics were made of it already.
const SKIP_METRICS: &str = "span.metrics.skip";
/// Spans of one request.
const BATCH_SPANS: usize = 512;
/// Batches that wait to be written; what finds no room is lost and counted.
const WAITING_MAX: usize = 32;
/// Spans a second that are looked at as exemplars: a look-up each.
const EXEMPLARS_MAX: usize = 1_000;
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
    /// Spans that waited for the rest of their trace until others needed the room.
    pub tail_full: AtomicU64,
}

impl Counts {
    fn let_go(&self, gone: LetGo) {
        self.unsampled.fetch_add(gone.in_time, Ordering::Relaxed);
        self.tail_full.fetch_add(gone.early, Ordering::Relaxed);
    }
}

/// Where the spans go now. It changes when the settings do.
pub type Outlet = super::outlet::Outlet<Open>;

/// What a sink needs while there is a receiver of its signal.
pub struct Open {
    sampler: Sampler,
    tail: Option<Tail>,
    meter: Arc<Meter>,
    form: Form,
    batches: mpsc::Sender<Encoded>,
}

/// How spans are sent.
#[derive(Debug, Default)]
pub struct Form {
    /// There are span metrics already.
    pub skips_metrics: bool,
    /// Metrics get exemplars of what is sent.
    pub has_exemplars: bool,
    /// Attributes of each resource.
    pub resource: Vec<KeyValue>,
}

impl Form {
    /// With these attributes; those without a value are left out.
    #[must_use]
    pub fn resource(self, attributes: &[(&str, &str)]) -> Self {
        let attributes = attributes.iter().filter(|(_, value)| !value.is_empty());
        Self { resource: attributes.map(|(key, value)| text(key, value)).collect(), ..self }
    }
}

impl Outlet {
    /// Opens it; the receiver's end is for [`write`](super::outlet::write).
    pub fn open(&self, settings: &Traces, meter: Arc<Meter>, form: Form) -> mpsc::Receiver<Encoded> {
        let (batches, waiting) = mpsc::channel(WAITING_MAX);
        let wait_ns = u64::try_from(settings.tail_wait.as_nanos()).unwrap_or(u64::MAX);
        let tail = (wait_ns > 0).then(|| Tail::new(wait_ns, settings.tail_max_spans));
        self.set(Open { sampler: Sampler::new(settings), tail, meter, form, batches });
        waiting
    }

    /// Closes it; what waits for its trace is let go.
    pub fn end(&self, counts: &Counts) {
        if let Some(tail) = self.lock().as_mut().and_then(|open| open.tail.as_mut()) {
            counts.let_go(tail.finish());
        }
        self.close();
    }

    /// Spans that wait for the rest of their trace.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().as_ref().and_then(|open| open.tail.as_ref()).map_or(0, Tail::waiting)
    }
}

/// The pipeline's end of the way.
pub struct Sink {
    outlet: Outlet,
    counts: Arc<Counts>,
    registry: Shared,
    clock: WallClock,
    sampled: Instant,
    batch: Batch,
    /// Which of the exchanges that were taken last have a span that is sent.
    sent: Vec<usize>,
    /// How many exemplars there may be until the next second.
    exemplars: usize,
}

impl Sink {
    /// A sink that hands its spans to `outlet`, and exemplars of them to the registry.
    #[must_use]
    pub fn new(outlet: Outlet, counts: Arc<Counts>, registry: Shared) -> Self {
        let (clock, sampled) = (WallClock::sample(), Instant::now());
        Self {
            outlet,
            counts,
            registry,
            clock,
            sampled,
            batch: Batch::default(),
            sent: Vec::new(),
            exemplars: EXEMPLARS_MAX,
        }
    }

    /// Whether there is a receiver of traces now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.outlet.is_open()
    }

    /// Takes the requests whose traces are kept.
    pub fn take(&mut self, observed: &[Observed]) {
        let Self { outlet, counts, registry, clock, batch, sent, exemplars, .. } = self;
        {
            let mut outlet = outlet.lock();
            let Some(open) = &mut *outlet else { return };
            let now_s = now_ms() / 1_000;
            let has_exemplars = open.form.has_exemplars;
            let mut way = Way { open, counts, clock: *clock, batch, now_s };
            for (place, observed) in observed.iter().enumerate() {
                if way.take(observed) && has_exemplars && sent.len() < *exemplars {
                    sent.push(place);
                }
            }
        }
        if sent.is_empty() {
            return;
        }
        *exemplars -= sent.len();
        let mut registry = registry.lock();
        for observed in sent.drain(..).filter_map(|place| observed.get(place)) {
            let unix_ms = clock.unix_ns(observed.exchange.end_ns) / 1_000_000;
            registry.exemplar(observed, i64::try_from(unix_ms).unwrap_or(i64::MAX));
        }
    }

    /// Takes the handshakes whose traces are kept. One that is not in the sample is kept with the rest of its trace where
    /// that is kept already; it does not wait for it.
    pub fn take_handshakes(&mut self, observed: &[ObservedHandshake]) {
        let Self { outlet, counts, clock, batch, .. } = self;
        let mut outlet = outlet.lock();
        let Some(open) = &mut *outlet else { return };
        let mut way = Way { open, counts, clock: *clock, batch, now_s: now_ms() / 1_000 };
        for observed in observed {
            way.take_handshake(observed);
        }
    }

    /// What is due once a second: spans wait no longer than that.
    pub fn second(&mut self) {
        self.exemplars = EXEMPLARS_MAX;
        if self.sampled.elapsed() >= CLOCK_INTERVAL {
            self.sampled = Instant::now();
            self.clock = WallClock::sample();
        }
        if let Some(open) = &mut *self.outlet.lock() {
            if let Some(tail) = &mut open.tail {
                self.counts.let_go(tail.due(monotonic_ns()));
            }
            send(open, &mut self.batch, &self.counts);
        }
    }
}

/// The way of one exchange into a batch.
struct Way<'a> {
    open: &'a mut Open,
    counts: &'a Counts,
    clock: WallClock,
    batch: &'a mut Batch,
    now_s: u64,
}

impl Way<'_> {
    /// Whether its span is sent.
    fn take(&mut self, observed: &Observed) -> bool {
        let decision = self.open.sampler.decide(observed, self.open.meter.stage());
        match self.with_its_trace(observed, decision) {
            Some(Decision::Dropped) => self.counts.unsampled.fetch_add(1, Ordering::Relaxed),
            Some(Decision::OverBudget) => self.counts.over_budget.fetch_add(1, Ordering::Relaxed),
            Some(kept) => return self.send(observed, kept),
            None => 0,
        };
        false
    }

    fn take_handshake(&mut self, observed: &ObservedHandshake) {
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
        let span = with(trace::span(observed, self.clock), decision);
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
        resource.attributes.extend(open.form.resource.iter().cloned());
    }
    let Ok(place) = open.batches.try_reserve() else {
        counts.busy.fetch_add(spans, Ordering::Relaxed);
        return;
    };
    let items = u32::try_from(spans).unwrap_or(u32::MAX);
    place.send(Encoded { payload: data.encode_to_vec(), items });
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::TracesData;

    use super::*;
    use crate::identity::Identity;
    use crate::metric::fixture::{exchange, observed};
    use crate::metric::{Registry, Sample};
    use crate::protocol::{Exchange, Handshake, HandshakeError, Role};
    use crate::trace::SpanIds;

    fn open(outlet: &Outlet, settings: &Traces, resource: &[(&str, &str)]) -> mpsc::Receiver<Encoded> {
        let form = Form { skips_metrics: true, has_exemplars: true, ..Form::default() }.resource(resource);
        outlet.open(settings, Arc::new(Meter::unlimited()), form)
    }

    fn sink(outlet: &Outlet, counts: &Arc<Counts>) -> Sink {
        Sink::new(outlet.clone(), Arc::clone(counts), Shared::new(Registry::new(10)))
    }

    /// What waits first.
    fn next(batches: &mut mpsc::Receiver<Encoded>) -> Option<TracesData> {
        let Encoded { payload, items } = batches.try_recv().ok()?;
        let data = TracesData::decode(&*payload).unwrap();
        assert_eq!(crate::ship::otlp::spans(&data), usize::try_from(items).unwrap());
        Some(data)
    }

    /// All spans that left.
    fn spans(batches: &mut mpsc::Receiver<Encoded>) -> Vec<Span> {
        std::iter::from_fn(|| next(batches))
            .flat_map(|data| data.resource_spans)
            .flat_map(|resource| resource.scope_spans)
            .flat_map(|scope| scope.spans)
            .collect()
    }

    /// An exchange of a trace that is not in a sample of less than all.
    fn of(trace: u8, exchange: Exchange) -> Observed {
        let mut observed = observed(exchange);
        observed.span.trace_id = [0; 16];
        observed.span.trace_id[0] = trace;
        observed
    }

    #[test]
    fn a_trace_with_a_failure_is_kept_whole() {
        let (outlet, counts) = (Outlet::default(), Arc::new(Counts::default()));
        let mut sink = sink(&outlet, &counts);
        let tail_wait = Duration::from_secs(10);
        let keep_slower = Duration::ZERO;
        let settings = Traces { sample_percent: 50.0, keep_slower, tail_wait, ..Traces::default() };
        let mut batches = open(&outlet, &settings, &[]);
        // The clock of the exchanges is that of the node: what has just ended waits.
        let end_ns = monotonic_ns();
        let good = Exchange { end_ns, ..exchange() };
        let failed = Exchange { status: Some(500), ..good.clone() };
        sink.take(&[of(1, good.clone()), of(2, good.clone())]);
        sink.second();
        assert_eq!((spans(&mut batches).len(), outlet.waiting()), (0, 2));
        sink.take(&[of(1, failed), of(1, good.clone()), of(3, good.clone())]);
        sink.second();
        let kept = spans(&mut batches);
        assert_eq!((kept.len(), outlet.waiting()), (3, 2));
        for span in kept {
            assert_eq!(span.trace_id[0], 1);
            assert!(span.attributes.contains(&text(KEPT, "error")), "{span:?}");
            assert_eq!(span.trace_state, "", "it stands for itself alone");
        }
        outlet.end(&counts);
        assert_eq!(counts.unsampled.load(Ordering::Relaxed), 2, "what waited is counted");
        assert_eq!(counts.tail_full.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn handshakes_are_sampled_as_requests_are() {
        let (outlet, counts) = (Outlet::default(), Arc::new(Counts::default()));
        let mut sink = sink(&outlet, &counts);
        let settings = Traces { sample_percent: 50.0, ..Traces::default() };
        let mut batches = open(&outlet, &settings, &[]);
        let of = |random, error| {
            let span = SpanIds { trace_id: [random; 16], span_id: [1; 8], ..SpanIds::default() };
            ObservedHandshake { span, ..handshake(error) }
        };
        let failed = Some(HandshakeError::Closed);
        sink.take_handshakes(&[of(1, None), of(255, None), of(2, failed)]);
        sink.second();
        let sent: Vec<_> = spans(&mut batches)
            .into_iter()
            .map(|span| {
                assert!(span.attributes.contains(&flag(SKIP_METRICS)), "{span:?}");
                let is_kept = span.attributes.contains(&text(KEPT, "error"));
                (span.trace_id[0], span.trace_state, is_kept)
            })
            .collect();
        assert_eq!(sent, [(255, "ot=th:8".to_owned(), false), (2, String::new(), true)]);
        assert_eq!(counts.unsampled.load(Ordering::Relaxed), 1);
    }

    fn handshake(error: Option<HandshakeError>) -> ObservedHandshake {
        let Exchange { task, endpoints, .. } = exchange();
        let handshake = Handshake {
            role: Role::Client,
            task,
            endpoints,
            start_ns: 1_000,
            duration_ns: 1_000,
            server_name: None,
            version: None,
            alpn: None,
            error,
        };
        let identity = Identity::of_process("shop".into());
        ObservedHandshake { handshake, identity, span: SpanIds::default() }
    }

    #[test]
    fn what_waits_for_its_trace_is_bounded() {
        let (outlet, counts) = (Outlet::default(), Arc::new(Counts::default()));
        let mut sink = sink(&outlet, &counts);
        let tail_wait = Duration::from_secs(10);
        let (keep_slower, tail_max_spans) = (Duration::ZERO, 100);
        let settings =
            Traces { sample_percent: 0.0, keep_slower, tail_wait, tail_max_spans, ..Traces::default() };
        let batches = open(&outlet, &settings, &[]);
        let end_ns = monotonic_ns();
        for trace in 0..=255 {
            sink.take(&[of(trace, Exchange { end_ns, ..exchange() })]);
            assert!(outlet.waiting() <= 100);
        }
        assert_eq!(counts.tail_full.load(Ordering::Relaxed), 156);
        // Old ones go when their time is over.
        sink.take(&[of(7, Exchange { end_ns: 1, ..exchange() })]);
        sink.second();
        drop(batches);
        outlet.end(&counts);
        let counted = [&counts.tail_full, &counts.unsampled].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counted.iter().sum::<u64>(), 257);
    }

    #[test]
    fn only_what_is_sent_is_an_exemplar() {
        let (outlet, counts) = (Outlet::default(), Arc::new(Counts::default()));
        let registry = Shared::new(Registry::new(10));
        let mut sink = Sink::new(outlet.clone(), counts, registry.clone());
        let settings = Traces { sample_percent: 50.0, keep_errors: false, ..Traces::default() };
        let _batches = open(&outlet, &settings, &[]);
        let exemplar = || {
            let registry = registry.lock();
            match registry.sources()[0].read(0, 0) {
                Some((_, Sample::Histogram(reading))) => reading.exemplar.copied(),
                other => panic!("{other:?}"),
            }
        };
        let left_out = of(1, exchange());
        registry.lock().record(&left_out);
        sink.take(&[left_out]);
        assert_eq!(exemplar(), None);
        let mut sampled = of(2, exchange());
        sampled.span.trace_id = [255; 16];
        registry.lock().record(&sampled);
        sink.take(&[sampled.clone()]);
        let noted = exemplar().unwrap();
        assert_eq!((noted.trace_id, noted.span_id), ([255; 16], sampled.span.span_id));
        assert_eq!(noted.value, 6_000_000);
    }

    #[test]
    fn spans_carry_what_the_receiver_needs() {
        let outlet = Outlet::default();
        let counts = Arc::new(Counts::default());
        let mut sink = sink(&outlet, &counts);
        sink.take(&[observed(exchange())]);
        let settings = Traces { sample_percent: 100.0, ..Traces::default() };
        let mut batches = open(&outlet, &settings, &[("host.name", "n1"), ("k8s.cluster.name", "")]);
        sink.take(&[observed(exchange())]);
        sink.second();
        let data = next(&mut batches).unwrap();
        assert_eq!(crate::ship::otlp::spans(&data), 1, "what came while it was closed is not sent");
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
        let mut sink = sink(&outlet, &counts);
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
        let mut sink = sink(&outlet, &counts);
        let settings = Traces { sample_percent: 100.0, keep_errors: false, ..Traces::default() };
        let mut batches = outlet.open(&settings, meter, Form::default());
        // The trace ids are spread over their range.
        for random in (0..=255).cycle().take(2_048) {
            let mut good = observed(exchange());
            good.span.trace_id = [random; 16];
            let mut failed = observed(crate::protocol::Exchange { status: Some(500), ..exchange() });
            failed.span.trace_id = [random; 16];
            sink.take(&[good, failed]);
        }
        sink.second();
        let spans = spans(&mut batches);
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
