//! A node's whole load: nginx under wrk on so many routes that there are enough series, programs that write lines, and
//! the sensor that captures both and sends all of it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use std::{fs, io, thread};

use anyhow::{Context as _, Result, ensure};

use super::sink::Sink;
use crate::bench::daemon::Daemon;
use crate::bench::metrics::{self, SERVER_COUNT};
use crate::bench::nginx::Nginx;
use crate::bench::wrk;
use crate::command;

/// What the load is to be at least.
pub(super) const SERIES: f64 = 100_000.0;
pub(super) const LINES: f64 = 50_000.0;
pub(super) const SPANS: f64 = 5_000.0;

/// Programs that write lines, and lines a second of each: a little more than [`LINES`] in all.
const WRITERS: u32 = 4;
const LINES_A_WRITER: u32 = 12_800;
const WRITER: &str = "steady-writer.pl";
/// Each route has 54 series on the server's side, and as many on the client's.
const ROUTES: u32 = 960;
/// wrk's 64 connections wait so long between requests, in milliseconds: some 2550 requests a second, each with a span on
/// both sides.
const DELAY_MS: u32 = 24;

/// Names are words: of numbers the sensor would make one route. wrk ends in 404 for none of them.
const LUA: &str = r#"local number = 0
request = function()
  number = (number + 1) % ROUTES
  local a, b = number % 26, math.floor(number / 26)
  local name = string.char(97 + a) .. string.char(97 + b % 26) .. string.char(97 + math.floor(b / 26))
  return wrk.format(nil, "/any/" .. name .. "/items")
end
delay = function() return DELAY_MS end
"#;

/// Lines as services write them, at an even rate, a write a line.
const PERL: &str = r#"use Time::HiRes qw(clock_gettime sleep CLOCK_MONOTONIC);
my ($rate, $seconds) = @ARGV;
my ($start, $written, $all) = (clock_gettime(CLOCK_MONOTONIC), 0, $rate * $seconds);
while ($written < $all) {
    my $due = int((clock_gettime(CLOCK_MONOTONIC) - $start) * $rate);
    $due = $all if $due > $all;
    for (; $written < $due; $written++) {
        syswrite STDOUT, "2026-11-24T10:11:12.123Z INFO [http-nio-8080-exec-7] c.l.order.OrderService - order $written "
            . "placed for a customer who pays at the till and waits for the receipt\n";
    }
    sleep 0.002;
}
"#;

/// What the sensor did under it.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) seconds: f64,
    pub(super) cpu_seconds: f64,
    pub(super) peak_mib: f64,
    pub(super) active_series: f64,
    /// Lines that were written.
    pub(super) lines: f64,
    /// Exchanges that nginx served, on both sides where both are captured.
    pub(super) exchanges: f64,
    /// Samples, lines and spans that the receiver took.
    pub(super) delivered: [f64; 3],
    /// What the sensor lost, by cause.
    pub(super) lost: Vec<(String, f64)>,
}

pub(super) fn measure(sensor: &Path, sink: &Sink, seconds: u32) -> Result<Load> {
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    fs::write(directory.path().join(WRITER), PERL).context("cannot write a program")?;
    let url = sink.url();
    // This program is the receiver: its side of what is sent is no load of the node.
    let settings = format!(
        "target: {{exclude: [xtask]}}\nhttp: {{max_routes: 10000}}\nmetric: {{max_active_series: 1000000}}\n\
         ship:\n  cluster: bench\n  node: bench\n  traces: {{sample_percent: 100}}\n  \
         spool: {{directory: '{}/spool'}}\n  receivers:\n  \
         - {{name: metrics, protocol: remote_write_2, url: '{url}'}}\n  \
         - {{name: logs, protocol: loki, url: '{url}'}}\n  \
         - {{name: traces, protocol: otlp_http, url: '{url}'}}\n",
        directory.path().display()
    );
    let nginx = Nginx::start()?;
    let daemon = Daemon::with(sensor, &settings, &["--logs", WRITER])?;
    let at_rest = daemon.usage()?;
    // Whoever waited for an answer when the sensor began is none of the load's.
    let lost_before = lost(&page_of_now(&daemon, &nginx)?);
    let lost = |page: &str| since(lost(page), &lost_before);
    let questions = nginx.requests()?;
    let start = Instant::now();
    let writers =
        (0..WRITERS).map(|_| Writer::start(directory.path(), seconds)).collect::<Result<Vec<_>>>()?;
    let lua = LUA.replace("ROUTES", &ROUTES.to_string()).replace("DELAY_MS", &DELAY_MS.to_string());
    wrk::scripted(&nginx.url(), u64::from(seconds), &lua)?;
    writers.into_iter().try_for_each(Writer::finish)?;
    let took = start.elapsed();
    // The last question counts itself. Of these the client's side is not captured.
    let (all, questions) = (nginx.requests()?, questions + 1);
    let exchanges = float(2 * all.saturating_sub(questions) + questions);
    let lines = f64::from(WRITERS * LINES_A_WRITER * seconds);
    let delivered =
        |page: &str, signal| metrics::sum(page, "sensor_ship_delivered_total", &[("signal", signal)]);
    let page = daemon.metrics_when(|page| {
        let lost: f64 = lost(page).iter().map(|(_, count)| count).sum();
        delivered(page, "logs") + delivered(page, "traces") + lost >= lines + exchanges
    })?;
    let usage = daemon.usage()?;
    let lost = lost(&page_of_now(&daemon, &nginx)?);
    daemon.stop()?;
    Ok(Load {
        seconds: took.as_secs_f64(),
        cpu_seconds: usage.cpu_seconds - at_rest.cpu_seconds,
        peak_mib: float(usage.peak_kib) / 1024.0,
        active_series: metrics::sum(&page, "sensor_ship_active_series", &[]),
        lines,
        exchanges,
        delivered: ["metrics", "logs", "traces"].map(|signal| delivered(&page, signal)),
        lost,
    })
}

/// A page whose figures of what was lost are those of now. The sensor brings them up to date once a second: so they are once
/// more was captured than when it had counted a question that was asked now.
fn page_of_now(daemon: &Daemon, nginx: &Nginx) -> Result<String> {
    let port = nginx.status_port.to_string();
    let counted = |page: &str| metrics::sum(page, SERVER_COUNT, &[("server_port", &port)]);
    let captured = |page: &str| metrics::sum(page, "sensor_events_total", &[]);
    let before = counted(&daemon.metrics_when(|_| true)?);
    nginx.requests()?;
    let page = daemon.metrics_when(|page| counted(page) > before)?;
    ensure!(counted(&page) > before, "the sensor does not count a question to nginx");
    let before = captured(&page);
    nginx.requests()?;
    let page = daemon.metrics_when(|page| captured(page) > before)?;
    ensure!(captured(&page) > before, "the sensor does not bring its figures up to date");
    Ok(page)
}

/// What was lost from the capture to the receiver.
fn lost(page: &str) -> Vec<(String, f64)> {
    let families = ["sensor_lost_total", "sensor_log_lines_lost_total", "sensor_ship_lost_total"];
    let of_family = |sample: &metrics::Sample<'_>| families.contains(&sample.name) && sample.value > 0.0;
    let named = |sample: metrics::Sample<'_>| {
        let words = [sample.label("signal"), sample.label("cause")];
        (words.into_iter().flatten().collect::<Vec<_>>().join(" "), sample.value)
    };
    metrics::samples(page).filter(of_family).map(named).collect()
}

/// What was lost since, by cause.
fn since(now: Vec<(String, f64)>, before: &[(String, f64)]) -> Vec<(String, f64)> {
    let of_before =
        |cause: &str| before.iter().find(|(known, _)| known == cause).map_or(0.0, |(_, count)| *count);
    now.into_iter()
        .map(|(cause, count)| (of_before(&cause), cause, count))
        .filter(|(before, _, count)| count > before)
        .map(|(before, cause, count)| (cause, count - before))
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}

/// A program that writes lines into a pipe that is read.
struct Writer {
    child: Child,
    reader: Option<thread::JoinHandle<io::Result<u64>>>,
}

impl Writer {
    fn start(directory: &Path, seconds: u32) -> Result<Self> {
        let mut perl = Command::new("perl");
        command::clean(&mut perl);
        perl.arg(WRITER)
            .args([LINES_A_WRITER, seconds].map(|number| number.to_string()))
            .current_dir(directory);
        let mut child =
            perl.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start perl")?;
        let mut stdout = child.stdout.take().context("perl without a standard output")?;
        let reader = thread::spawn(move || io::copy(&mut stdout, &mut io::sink()));
        Ok(Self { child, reader: Some(reader) })
    }

    /// Waits until it has written all its lines.
    fn finish(mut self) -> Result<()> {
        let status = self.child.wait().context("cannot wait for perl")?;
        ensure!(status.success(), "{WRITER} ended with {status}");
        let read = self.reader.take().and_then(|reader| reader.join().ok());
        read.context("the pipe's reader ended in a panic")?.context("cannot read what perl writes").map(drop)
    }
}

impl Drop for Writer {
    /// After [`Writer::finish`] there is nothing left to end.
    fn drop(&mut self) {
        if self.reader.is_some() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
