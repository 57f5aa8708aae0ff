//! What sending costs: all of the way from exchanges, lines and metrics to a receiver, without the capture before it.
//! Run by `cargo xtask bench ship`, which reads what this prints as JSON.
//!
//! Each figure is of a process of its own, which sends to another one that takes everything and looks at nothing.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
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
/// So often a share of a second's lines and spans is made.
const TICKS_A_SECOND: u32 = 100;
/// Metrics are sent six times as often as by default, so that some seconds show it.
const INTERVAL: &str = "10s";
const LINE: &str = "2026-11-24T10:11:12.123Z INFO [http-nio-8080-exec-7] c.l.order.OrderService - order placed for a \
                    customer who pays at the till and waits for the receipt";

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let what = arguments.next().context("the first argument is what is measured")?;
    let seconds: u32 = arguments.next().unwrap_or_default().parse().unwrap_or(10);
    let series: u64 = arguments.next().unwrap_or_default().parse().unwrap_or(100_000);
    if what == "receiver" {
        return receive();
    }
    if what == "all" {
        let mut report = serde_json::Map::new();
        for what in ["samples", "lines", "spans", "load"] {
            report.insert(what.to_owned(), measured(what, seconds, series)?);
        }
        writeln!(std::io::stdout().lock(), "{}", Value::Object(report))?;
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let figures = runtime.block_on(send(&what, seconds, series))?;
    writeln!(std::io::stdout().lock(), "{figures}")?;
    Ok(())
}

/// The figures of a process that measures one thing.
fn measured(what: &str, seconds: u32, series: u64) -> Result<Value> {
    let output = Command::new(std::env::current_exe()?)
        .args([what, &seconds.to_string(), &series.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "the measurement of {what} failed");
    serde_json::from_slice(&output.stdout).with_context(|| format!("the figures of {what} are none"))
}

/// A process that is ended when it is dropped.
struct Receiver(Child, u16);

impl Receiver {
    fn start() -> Result<Self> {
        let mut child =
            Command::new(std::env::current_exe()?).arg("receiver").stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no pipe")?).read_line(&mut line)?;
        Ok(Self(child, line.trim().parse()?))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn receive() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    writeln!(std::io::stdout().lock(), "{}", listener.local_addr()?.port())?;
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || answer(&stream));
    }
    Ok(())
}

/// Answers requests until the connection ends.
fn answer(stream: &TcpStream) -> Option<()> {
    let mut reader = BufReader::with_capacity(256 * 1024, stream);
    loop {
        let (mut length, mut line) = (0, String::new());
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let field = line.to_ascii_lowercase();
            if let Some(value) = field.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink()).ok()?;
        let answer = "HTTP/1.1 204 No Content\r\nx-prometheus-remote-write-samples-written: 1\r\n\r\n";
        (&mut &*stream).write_all(answer.as_bytes()).ok()?;
    }
}

/// Sends for some seconds and until all is delivered, and tells what that took.
async fn send(what: &str, seconds: u32, series: u64) -> Result<Value> {
    let receiver = Receiver::start()?;
    let spool = tempfile::tempdir()?;
    let (url, directory) = (format!("http://127.0.0.1:{}", receiver.1), spool.path().display());
    let (has_samples, has_lines, has_spans) = (
        matches!(what, "samples" | "load"),
        matches!(what, "lines" | "load"),
        matches!(what, "spans" | "load"),
    );
    let mut receivers = String::new();
    for (has, name, protocol) in
        [(has_samples, "m", "remote_write_2"), (has_lines, "l", "loki"), (has_spans, "t", "otlp_http")]
    {
        if has {
            receivers.push_str(&format!("  - {{name: {name}, protocol: {protocol}, url: '{url}'}}\n"));
        }
    }
    let text = format!(
        "ship:\n  cluster: bench\n  node: bench\n  metrics: {{interval: {INTERVAL}}}\n  \
         traces: {{sample_percent: 100}}\n  spool: {{directory: '{directory}'}}\n  receivers:\n{receivers}"
    );
    let config = Config::parse(&text, "bench")?;
    config.validate()?;
    let sets = if has_samples { series / SERIES_A_SET } else { 1 };
    let registry = Shared::new(Registry::new(1_000_000).span_metrics(false));
    let pool: Vec<Observed> = (0..sets.max(512)).map(observed).collect();
    for observed in pool.iter().take(usize::try_from(sets)?) {
        registry.lock().record(observed);
    }
    let shipper = Shipper::start(&config.ship, registry.clone(), "bench")?;
    let (mut spans, mut lines) = (shipper.sink(), shipper.log_sink());
    let before = cpu();
    let start = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_secs(1) / TICKS_A_SECOND);
    let (mut made_lines, mut made_spans) = (0_u64, 0_u64);
    for number in 0..seconds * TICKS_A_SECOND {
        tick.tick().await;
        if has_spans {
            let count = usize::try_from(SPANS_A_SECOND / TICKS_A_SECOND)?;
            let first = usize::try_from(number)? * count % (pool.len() - count);
            spans.take(&pool[first..first + count]);
            made_spans += count as u64;
        }
        if has_lines {
            let count = LINES_A_SECOND / TICKS_A_SECOND;
            lines.take((0..count).map(|place| line(number, place)));
            made_lines += u64::from(count);
        }
        if number % TICKS_A_SECOND == 0 {
            spans.second();
            lines.second();
            tokio::task::block_in_place(|| shipper.report());
        }
    }
    spans.second();
    lines.second();
    let took = start.elapsed();
    let waiting = || {
        let status = shipper.status();
        let receivers = status["receivers"].as_array().cloned().unwrap_or_default();
        receivers.iter().filter_map(|receiver| receiver["waiting_batches"].as_u64()).sum::<u64>()
    };
    let patience = Instant::now() + Duration::from_secs(60);
    // What the writers still have is not in the spool yet: half a second without anything is the end.
    let mut quiet = 0;
    while quiet < 5 {
        ensure!(Instant::now() < patience, "the receiver does not get all of it");
        quiet = if waiting() == 0 { quiet + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let cpu_s = cpu() - before;
    tokio::task::block_in_place(|| shipper.report());
    let own = |name: &str| {
        let mut sum = 0.0;
        registry.lock().visit(|family, _, sample| {
            if let (true, Sample::Counter(value) | Sample::Gauge(value)) = (family.name == name, sample) {
                sum += value;
            }
        });
        sum
    };
    let figures = json!({
        "seconds": took.as_secs_f64(),
        "cpu_seconds": cpu_s,
        "delivered": own("sensor_ship_delivered_total"),
        "sent_bytes": own("sensor_ship_sent_bytes_total"),
        "active_series": own("sensor_ship_active_series"),
        "lost": own("sensor_ship_lost_total"),
        "made_lines": made_lines,
        "made_spans": made_spans,
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
    let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Line {
        time_ns: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        labels: vec![
            text("service_name", if place % 2 == 0 { "order" } else { "payment" }),
            text("namespace", "shop"),
            text("container", "main"),
        ],
        metadata: vec![text("pod", "order-7d9f8b6c5-x2x4z"), text("trace_id", &format!("{number:032x}"))],
        body: format!("{LINE} {number}-{place}"),
        severity: Some(9),
    }
}

fn observed(number: u64) -> Observed {
    let mut trace_id = [0; 16];
    trace_id[8..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    trace_id[0] = 1;
    let (first_ns, end_ns) = (1_000_000, 7_000_000 + number * 1_000);
    let message = |last_ns| Message { first_ns, last_ns, head_bytes: Some(120), body_bytes: Some(512) };
    Observed {
        exchange: Exchange {
            connection: Connection { id: 1, key: 1 },
            request_number: number,
            role: Role::Server,
            endpoints: Endpoints {
                local: (Ipv4Addr::new(10, 0, 0, 1), 8080).into(),
                remote: (Ipv4Addr::new(10, 0, 0, 9), 55_000).into(),
                netns: 1,
                cookie: None,
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
    }
}
