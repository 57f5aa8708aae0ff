//! Which traces leave the node when the rest of a trace is waited for.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use tempfile::TempDir;
use tests::link::Link;
use tests::metrics::Metrics;
use tests::receiver::Traces;
use tests::sensor::{Options, SETTLE, Sensor};
use tests::wait::{patience, wait_until};

/// What lasts longer is slow: more than a busy machine makes of what should be fast.
const SLOW: Duration = Duration::from_secs(3);
/// How long spans wait for the rest of their trace.
const WAIT: u64 = 15;
const WAITING: &str = "sensor_ship_tail_waiting_spans";

/// An exchange of a trace, which both sides of it see, so two spans.
fn exchange(trace: &str, status: &str, lasts: Duration) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port");
    let mut link = Link::connect(&listener, listener.local_addr().expect("an address"));
    let parent = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01");
    link.request(format!("GET /a HTTP/1.1\r\nHost: localhost\r\n{parent}\r\n\r\n").as_bytes());
    std::thread::sleep(lasts);
    link.response(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes());
    link.close_by_client();
}

fn good(trace: &str) {
    exchange(trace, "200 OK", Duration::ZERO);
}

/// The spans of a trace that arrived.
fn of(receiver: &Traces, trace: &str) -> Vec<Span> {
    let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    receiver.spans().into_iter().filter(|span| hex(&span.trace_id) == trace).collect()
}

/// Requires so many spans of a trace, kept for this reason.
#[track_caller]
fn expect_kept(receiver: &Traces, trace: &str, count: usize, reason: &str) {
    wait_until(&format!("{count} spans of a trace"), patience(SETTLE), || {
        (of(receiver, trace).len() >= count).then_some(())
    });
    let spans = of(receiver, trace);
    assert_eq!(spans.len(), count, "{spans:#?}");
    for span in spans {
        let kept = span.attributes.iter().find(|pair| pair.key == "lionpay.sampling.kept");
        assert!(format!("{kept:?}").contains(&format!("\"{reason}\"")), "{span:#?}");
        assert_eq!(span.trace_state, "", "it stands for itself alone");
    }
}

fn waiting(sensor: &Sensor) -> u64 {
    sensor.metrics().count(WAITING, &[])
}

#[test]
fn failed_and_slow_traces_are_kept_whole_and_the_others_wait_for_a_time() {
    let [failed, fine, slow] = ["a", "b", "c"].map(|digit| digit.repeat(32));
    let receiver = Traces::start(200);
    let spool = TempDir::new().expect("make a directory");
    let sensor = Options::default()
        .yaml(&format!(
            "ship:\n  traces: {{sample_percent: 0, tail_wait: {WAIT}s, keep_slower: {}s}}\n  \
             spool: {{directory: {}}}\n  receivers: [{{name: tempo, protocol: otlp_http, url: '{}'}}]\n",
            SLOW.as_secs(),
            spool.path().display(),
            receiver.url()
        ))
        .start();
    good(&fine);
    good(&failed);
    wait_until("spans that wait", patience(SETTLE), || (waiting(&sensor) >= 4).then_some(()));
    assert!(of(&receiver, &failed).is_empty(), "nothing is wrong with it yet");
    exchange(&failed, "500 Internal Server Error", Duration::ZERO);
    good(&failed);
    // What waited, what failed, and what came after.
    expect_kept(&receiver, &failed, 6, "error");

    good(&slow);
    exchange(&slow, "200 OK", SLOW + Duration::from_millis(300));
    expect_kept(&receiver, &slow, 4, "slow");

    // The figures are those of the last second, in which the first traces were known. The oldest go first: when as many have
    // gone as waited then, the trace that was fine is among them.
    let gone = |metrics: &Metrics| metrics.count("sensor_ship_unsampled_total", &[]);
    let metrics = sensor.metrics();
    let first = gone(&metrics) + metrics.count(WAITING, &[]);
    wait_until("the end of the wait", patience(WAIT + SETTLE), || {
        (gone(&sensor.metrics()) >= first).then_some(())
    });
    assert!(of(&receiver, &fine).is_empty(), "no span of it was kept");
    exchange(&fine, "500 Internal Server Error", Duration::ZERO);
    expect_kept(&receiver, &fine, 2, "error");
    let lost = sensor.metrics().sum("sensor_ship_lost_total", &[]);
    assert_eq!(lost, 0.0, "neither the room for what waits nor the budget was used up");
    assert!(sensor.stop().status.success());
}
