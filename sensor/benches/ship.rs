//! What sending costs: all of the way from exchanges, lines and metrics to a receiver, without the capture before it.
//! Run by `cargo xtask bench ship`, which reads what this prints as JSON, and is the receiver.
//!
//! Arguments: `samples`, `lines` or `spans`; the receiver's URL; seconds; active series. A process measures one thing, so
//! that its memory is of that alone.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use rustix::time::{ClockId, clock_gettime};
use sensor::config::Config;
use sensor::identity::Observed;
use sensor::metric::{Registry, Sample, Shared};
use sensor::protocol::{Connection, End, Endpoints, Exchange, Message, Role, Task};
use sensor::ship::Shipper;
use sensor::ship::loki::Line;
use sensor::trace::SpanIds;
use serde_json::{Value, json};

/// Series of one label set of HTTP exchanges: two histograms of 17, two of 10.
const SERIES_A_SET: u64 = 54;
const LINES_A_SECOND: u32 = 50_000;
const SPANS_A_SECOND: u32 = 5_000;
/// So often a share of a second's lines or spans is made.
const TICKS_A_SECOND: u32 = 100;
/// Metrics are sent more often than by default, so that some seconds show it.
const INTERVAL: &str = "2s";
/// How long the receiver may take for what waits at the end.
const PATIENCE: Duration = Duration::from_secs(60);
const LINE: &str = "2026-11-24T10:11:12.123Z INFO [http-nio-8080-exec-7] c.l.order.OrderService - order placed for a \
                    customer who pays at the till and waits for the receipt";

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Samples,
    Lines,
    Spans,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let what = match arguments.next().as_deref() {
        Some("samples") => What::Samples,
        Some("lines") => What::Lines,
        Some("spans") => What::Spans,
        other => bail!("the first argument is what is measured, and not {other:?}"),
    };
    let url = arguments.next().context("the second argument is the receiver's URL")?;
    let seconds = arguments.next().context("the third argument is seconds")?.parse()?;
    let series = arguments.next().context("the fourth argument is active series")?.parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let figures = runtime.block_on(send(what, &url, seconds, series))?;
    writeln!(std::io::stdout().lock(), "{figures}")?;
    Ok(())
}

/// Sends for some seconds and until all is delivered, and tells what that took.
async fn send(what: What, url: &str, seconds: u32, series: u64) -> Result<Value> {
    let spool = tempfile::tempdir()?;
    let protocol = match what {
        What::Samples => "remote_write_2",
        What::Lines => "loki",
        What::Spans => "otlp_http",
    };
    let text = format!(
        "ship:\n  cluster: bench\n  node: bench\n  metrics: {{interval: {INTERVAL}}}\n  \
         traces: {{sample_percent: 100}}\n  spool: {{directory: '{}'}}\n  \
         receivers: [{{name: bench, protocol: {protocol}, url: '{url}'}}]\n",
        spool.path().display()
    );
    let config = Config::parse(&text, "bench")?;
    config.validate()?;
    let registry = Shared::new(Registry::new(1_000_000).span_metrics(false));
    let sets = if what == What::Samples { series / SERIES_A_SET } else { 0 };
    let pool: Vec<Observed> = (0..sets.max(512)).map(observed).collect::<Result<_>>()?;
    for observed in pool.iter().take(usize::try_from(sets)?) {
        registry.lock().record(observed);
    }
    let shipper = Shipper::start(&config.ship, registry.clone(), "bench")?;
    let (mut spans, mut lines) = (shipper.sink(), shipper.log_sink());
    let before = cpu();
    let mut tick = tokio::time::interval(Duration::from_secs(1) / TICKS_A_SECOND);
    for number in 0..seconds * TICKS_A_SECOND {
        tick.tick().await;
        match what {
            What::Samples => {}
            What::Lines => lines.take((0..LINES_A_SECOND / TICKS_A_SECOND).map(|place| line(number, place))),
            What::Spans => {
                let count = usize::try_from(SPANS_A_SECOND / TICKS_A_SECOND)?;
                let first = usize::try_from(number)? * count % (pool.len() - count);
                spans.take(&pool[first..first + count]);
            }
        }
        if number % TICKS_A_SECOND == 0 {
            spans.second();
            lines.second();
            tokio::task::block_in_place(|| shipper.report());
        }
    }
    spans.second();
    lines.second();
    let made = match what {
        What::Samples => None,
        What::Lines => Some(seconds * LINES_A_SECOND),
        What::Spans => Some(seconds * SPANS_A_SECOND),
    };
    let own = |name: &str| {
        tokio::task::block_in_place(|| shipper.report());
        let mut sum = 0.0;
        registry.lock().visit(|family, _, sample| {
            if let (true, Sample::Counter(value) | Sample::Gauge(value)) = (family.name == name, sample) {
                sum += value;
            }
        });
        sum
    };
    let patience = Instant::now() + PATIENCE;
    let is_there = || {
        let (delivered, lost) = (own("sensor_ship_delivered_total"), own("sensor_ship_lost_total"));
        // Collections go on: of metrics it is all that was collected so far.
        delivered + lost >= made.map_or_else(|| own("sensor_ship_accepted_total"), f64::from)
    };
    while !is_there() {
        ensure!(Instant::now() < patience, "the receiver does not get all of it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let cpu_seconds = cpu() - before;
    let figures = json!({
        "cpu_seconds": cpu_seconds,
        "delivered": own("sensor_ship_delivered_total"),
        "sent_bytes": own("sensor_ship_sent_bytes_total"),
        "lost": own("sensor_ship_lost_total"),
        "peak_mib": peak_mib()?,
    });
    shipper.stop().await;
    Ok(figures)
}

/// Processor time of this process, in seconds.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52 microseconds")]
fn cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).map(|usage| usage.user_time() + usage.system_time());
    usage.map_or(f64::NAN, |time| time.num_microseconds() as f64 / 1e6)
}

/// The most memory that was resident.
fn peak_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

fn line(number: u32, place: u32) -> Line {
    let text = |name: &'static str, value: &str| (name.into(), value.to_owned());
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Line {
        time_ns: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        labels: vec![
            text("service_name", if place.is_multiple_of(2) { "order" } else { "payment" }),
            text("namespace", "shop"),
            text("container", "main"),
        ],
        metadata: vec![text("pod", "order-7d9f8b6c5-x2x4z"), text("trace_id", &format!("{number:032x}"))],
        body: format!("{LINE} {number}-{place}"),
        severity: Some(9),
    }
}

/// An exchange that has just ended: series of old ones would end.
fn observed(number: u64) -> Result<Observed> {
    let mut trace_id = [0; 16];
    trace_id[8..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    trace_id[0] = 1;
    let now = Duration::try_from(clock_gettime(ClockId::Monotonic))?;
    let end_ns = u64::try_from(now.as_nanos())?;
    let first_ns = end_ns - 6_000_000 - number * 1_000;
    let message = |last_ns| Message { first_ns, last_ns, head_bytes: Some(120), body_bytes: Some(512) };
    Ok(Observed {
        exchange: Exchange {
            connection: Connection { id: 1, key: 1 },
            request_number: number,
            role: Role::Server,
            endpoints: Endpoints {
                local: (Ipv4Addr::new(10, 0, 0, 1), 8080).into(),
                remote: (Ipv4Addr::new(10, 0, 0, 9), 55_000).into(),
                netns: 1,
                cookie: None,
                path: None,
            },
            task: Task { tgid: 42, tid: 43, comm: *b"shop\0\0\0\0\0\0\0\0\0\0\0\0" },
            version: "1.1",
            method: "GET".into(),
            path: Some(format!("/items/{number}")),
            query: Some("q=1".to_owned()),
            host: Some("shop.example:8080".to_owned()),
            request_headers: vec![("user-agent", "curl/8".to_owned())],
            status: Some(200),
            request: message(first_ns),
            response: Some(message(end_ns)),
            end: End::Complete,
            end_ns,
            grpc: None,
        },
        service_name: Arc::from("shop"),
        container: None,
        route: format!("/items/{{id}}/part/{number}").into(),
        span: SpanIds { trace_id, span_id: (number + 1).to_be_bytes(), ..SpanIds::default() },
    })
}
