//! What following connections costs: a stream by iperf3, and wrk with a connection for each request. The sensor runs
//! without that part and with it, and not at all, alternating in each round.

use std::fmt::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::daemon::{Daemon, Target};
use super::nginx::Nginx;
use super::rounds::Rounds;
use super::statistics::Spread;
use super::{free_port, machine, metrics, section, wrk};
use crate::workspace::Workspace;
use crate::{command, mounts, run, servers};

/// Throughput with that part, as a share of that of the sensor without it.
const GOAL_STREAM: f64 = 0.98;
const GOAL_CONNECTIONS: f64 = 0.93;
const OPENED: &str = "tcp_connections_opened_total";
const WARM_UP_SECONDS: u64 = 2;
const START: Duration = Duration::from_secs(10);

/// The three ways to run, in the order of the columns.
const KINDS: [Option<Target>; 3] = [None, Some(Target::Flows(false)), Some(Target::Flows(true))];

/// One way of running in one round.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    /// Bits a second.
    stream: f64,
    /// Requests a second, each on a connection of its own.
    connections: f64,
    /// CPU-seconds of the daemon during both.
    cpu: f64,
    /// Of the connections that wrk opened, those that were counted or counted as lost.
    counted: f64,
}

pub(super) fn run(workspace: &Workspace, options: &Rounds) -> Result<()> {
    servers::ensure(&[servers::NGINX, servers::WRK, servers::IPERF3])?;
    mounts::ensure()?;
    run::build(workspace)?;
    let (count, seconds) = options.plan();
    let nginx = Nginx::start()?;
    let iperf = Iperf::start()?;
    load(&nginx, WARM_UP_SECONDS)?;
    let mut rounds = Vec::new();
    for index in 0..count {
        let mut round = [Figures::default(); 3];
        for turn in 0..3 {
            let kind = (turn + usize::try_from(index)?) % 3;
            round[kind] = measure(&nginx, &iperf, &workspace.sensor(), KINDS[kind], seconds)?;
        }
        eprintln!("[bench flows {}/{count}] {round:?}", index + 1);
        rounds.push(round);
    }
    let body = text(&rounds, seconds, &machine::description()?).context("no round was measured")?;
    eprintln!("\n{body}");
    if !options.quick {
        section::write(&workspace.root.join("docs/performance.md"), "flows", &body)?;
    }
    Ok(())
}

fn load(nginx: &Nginx, seconds: u64) -> Result<f64> {
    Ok(wrk::run_with(&nginx.url(), seconds, &["--header", "Connection: close"])?.throughput())
}

fn measure(
    nginx: &Nginx,
    iperf: &Iperf,
    sensor: &Path,
    kind: Option<Target>,
    seconds: u64,
) -> Result<Figures> {
    let daemon = kind.map(|target| Daemon::start(sensor, target)).transpose()?;
    let before = daemon.as_ref().map(Daemon::usage).transpose()?;
    let served = nginx.requests()?;
    let connections = load(nginx, seconds)?;
    let served = nginx.requests()? - served;
    let stream = iperf.stream(seconds)?;
    let mut figures = Figures { stream, connections, ..Figures::default() };
    if let Some((daemon, before)) = daemon.zip(before) {
        let page = daemon.settled_metrics(OPENED)?;
        figures.cpu = daemon.usage()?.cpu_seconds - before.cpu_seconds;
        let lost = metrics::sum(&page, "sensor_lost_total", &[("cause", "flow_ring_full_opened")]);
        let opened = metrics::sum(&page, OPENED, &[("service_name", "wrk")]);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
        let served = served as f64;
        figures.counted = (opened + lost) / served;
        daemon.stop()?;
    }
    Ok(figures)
}

/// The section, or `None` when there is no round.
fn text(rounds: &[[Figures; 3]], seconds: u64, machine: &str) -> Option<String> {
    let mut out = String::new();
    let _ = writeln!(out, "## Connections: iperf3, and a connection a request\n\n{machine}.\n");
    let _ = writeln!(
        out,
        "iperf3 (one stream) and nginx under wrk ({} connections at a time, `Connection: close`) over the loopback: {} \
         rounds of {seconds} s for each, alternating; the whole host is the target. Figures are the median of the \
         rounds, with the least and the greatest; ratios are taken within a round.\n",
        wrk::CONNECTIONS,
        rounds.len()
    );
    let of = |kind: usize, figure: fn(&Figures) -> f64| {
        Spread::of(rounds.iter().map(|round| figure(&round[kind])))
    };
    let ratio = |kind: usize, to: usize, figure: fn(&Figures) -> f64| {
        Spread::of(rounds.iter().map(|round| figure(&round[kind]) / figure(&round[to])))
    };
    let gigabits: fn(&Figures) -> f64 = |figures| figures.stream / 1e9;
    let requests: fn(&Figures) -> f64 = |figures| figures.connections;
    let _ = writeln!(
        out,
        "| | no sensor | sensor without flows | sensor with flows |\n| --- | ---: | ---: | ---: |"
    );
    for (what, figure, decimals) in [("iperf3, Gbit/s", gigabits, 1), ("connections a second", requests, 0)] {
        let cells = [of(0, figure)?, of(1, figure)?, of(2, figure)?].map(|spread| spread.text(decimals));
        let _ = writeln!(out, "| {what} | {} |", cells.join(" | "));
        let cells = [ratio(1, 0, figure)?, ratio(2, 0, figure)?].map(|spread| spread.text(3));
        let _ = writeln!(out, "| ratio to no sensor | – | {} |", cells.join(" | "));
        let _ = writeln!(out, "| ratio to without flows | – | – | {} |", ratio(2, 1, figure)?.text(3));
    }
    let cells = [of(1, |figures| figures.cpu)?, of(2, |figures| figures.cpu)?].map(|spread| spread.text(2));
    let _ = writeln!(out, "| daemon's CPU-seconds a round | – | {} |", cells.join(" | "));
    let counted = of(2, |figures| figures.counted)?;
    let _ = writeln!(out, "| connections counted of those served | – | – | {} |", counted.text(5));
    let verdict = |reached: bool| if reached { "PASS" } else { "MISS" };
    let (stream, connections) = (ratio(2, 1, gigabits)?.median, ratio(2, 1, requests)?.median);
    let _ = writeln!(
        out,
        "\nGoals for the part that follows connections:\n\n- {}: iperf3 {stream:.3}, goal at least {GOAL_STREAM}\n\
         - {}: a connection a request {connections:.3}, goal at least {GOAL_CONNECTIONS}",
        verdict(stream >= GOAL_STREAM),
        verdict(connections >= GOAL_CONNECTIONS),
    );
    Some(out)
}

/// A server of iperf3.
struct Iperf {
    port: u16,
    process: Child,
}

impl Iperf {
    fn start() -> Result<Self> {
        let port = free_port()?;
        let mut server = Command::new("iperf3");
        command::clean(&mut server);
        server.args(["--server", "--bind", "127.0.0.1", "--port", &port.to_string()]);
        let process = server
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start iperf3")?;
        let iperf = Self { port, process };
        let deadline = Instant::now() + START;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(Instant::now() < deadline, "iperf3 does not listen after {START:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(iperf)
    }

    /// Bits a second that the server received.
    fn stream(&self, seconds: u64) -> Result<f64> {
        let mut client = Command::new("iperf3");
        command::clean(&mut client);
        client.args(["--json", "--client", "127.0.0.1", "--port", &self.port.to_string(), "--time"]);
        let report = command::output(client.arg(seconds.to_string()))?;
        let report: Value = serde_json::from_str(&report).context("iperf3 printed no JSON")?;
        let speed = report["end"]["sum_received"]["bits_per_second"].as_f64();
        speed.with_context(|| format!("iperf3 told no speed: {report}"))
    }
}

impl Drop for Iperf {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_and_verdicts_are_told() {
        let of = |stream, connections| Figures { stream, connections, cpu: 0.5, counted: 1.0 };
        let round = [of(40e9, 10_000.0), of(40e9, 9_500.0), of(39.6e9, 8_550.0)];
        let text = text(&[round], 1, "a machine").unwrap();
        assert!(text.contains("- PASS: iperf3 0.990, goal at least 0.98"), "{text}");
        assert!(text.contains("- MISS: a connection a request 0.900, goal at least 0.93"), "{text}");
        assert!(text.contains("| ratio to no sensor | – | 0.950 (0.950 to 0.950) | 0.855"), "{text}");
    }
}
