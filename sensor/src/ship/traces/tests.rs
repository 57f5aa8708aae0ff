//! What leaves, what waits, and what is counted.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::{Span, TracesData};
use prost::Message as _;

use super::way::{BATCH_SPANS, SKIP_METRICS};
use super::*;
use crate::identity::{Identity, Observed};
use crate::metric::fixture::{exchange, observed};
use crate::metric::{Registry, Sample, Shared};
use crate::protocol::{Exchange, Handshake, HandshakeError, Role};
use crate::ship::sampling::KEPT;
use crate::ship::stats::monotonic_ns;
use crate::trace::{ObservedHandshake, SpanIds};

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
