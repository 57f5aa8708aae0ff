//! nginx at saturation under wrk by HTTPS: without the sensor, with it seeing TLS from outside, with it reading what is inside. Once
//! on connections that stay, once with a connection a request. The three alternate in each round.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::daemon::Daemon;
use super::metrics::{self, SERVER_COUNT};
use super::nginx::Nginx;
use super::rounds::Rounds;
use super::statistics::Spread;
use super::{machine, section, wrk};
use crate::workspace::Workspace;
use crate::{mounts, run, servers};

const HANDSHAKES: &str = "tls_handshake_duration_seconds_count";
const LOST: &str = "sensor_lost_total";
const WARM_UP_SECONDS: u64 = 2;
/// What `capture.tls` is in each of the three; none is no sensor.
const KINDS: [Option<bool>; 3] = [None, Some(false), Some(true)];

/// One load of one kind in one round.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    /// Requests a second.
    throughput: f64,
    /// In seconds.
    p99: f64,
    /// What nginx served itself.
    served: f64,
    /// CPU-seconds of the daemon a million requests.
    cpu: f64,
    /// Requests that the sensor counted.
    requests: f64,
    /// Handshakes that it counted, on nginx's side.
    handshakes: f64,
    /// Everything it lost.
    lost: f64,
}

/// On connections that stay, and with a connection a request; of each kind.
type Round = [[Figures; 2]; 3];

pub(super) fn run(workspace: &Workspace, options: &Rounds) -> Result<()> {
    servers::ensure(&[servers::NGINX, servers::WRK, servers::OPENSSL])?;
    mounts::ensure()?;
    run::build(workspace)?;
    let (count, seconds) = options.plan();
    let nginx = Nginx::start_https()?;
    wrk::run(&nginx.url(), WARM_UP_SECONDS)?;
    let mut rounds = Vec::new();
    for index in 0..count {
        let mut round = Round::default();
        for turn in 0..3 {
            let kind = (turn + usize::try_from(index)?) % 3;
            round[kind] = measure(&nginx, &workspace.sensor(), KINDS[kind], seconds)?;
        }
        let line = round.map(|loads| loads.map(|figures| figures.throughput.round()));
        eprintln!("[bench tls {}/{count}] {line:?}", index + 1);
        rounds.push(round);
    }
    let body = text(&rounds, seconds, &machine::description()?).context("no round was measured")?;
    eprintln!("\n{body}");
    if !options.quick {
        section::write(&workspace.root.join("docs/performance.md"), "tls", &body)?;
    }
    Ok(())
}

fn measure(nginx: &Nginx, sensor: &Path, kind: Option<bool>, seconds: u64) -> Result<[Figures; 2]> {
    let load = |arguments: &[&str]| -> Result<Figures> {
        let settings = |tls: bool| format!("target: {{processes: [nginx]}}\ncapture: {{tls: {tls}}}\n");
        let daemon = kind.map(|tls| Daemon::with(sensor, &settings(tls), &[])).transpose()?;
        let before = daemon.as_ref().map(Daemon::usage).transpose()?;
        let served = nginx.requests()?;
        let load = wrk::run_with(&nginx.url(), seconds, arguments)?;
        // The second question counts itself.
        let served = (nginx.requests()? - served).saturating_sub(1);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
        let mut figures = Figures {
            throughput: load.throughput(),
            p99: load.p99.as_secs_f64(),
            served: served as f64,
            ..Figures::default()
        };
        if let Some((daemon, before)) = daemon.zip(before) {
            let page = daemon.settled_metrics(if kind == Some(true) { SERVER_COUNT } else { HANDSHAKES })?;
            figures.cpu = (daemon.usage()?.cpu_seconds - before.cpu_seconds) * 1e6 / figures.served;
            let port = nginx.port.to_string();
            figures.requests = metrics::sum(&page, SERVER_COUNT, &[("server_port", &port)]);
            figures.handshakes =
                metrics::sum(&page, HANDSHAKES, &[("service_name", "nginx"), ("role", "server")]);
            figures.lost = metrics::sum(&page, LOST, &[]);
            daemon.stop()?;
            ensure!(
                figures.handshakes > 0.0,
                "the sensor counted no handshake of nginx's under {HANDSHAKES}"
            );
        }
        Ok(figures)
    };
    Ok([load(&[])?, load(&["--header", "Connection: close"])?])
}

/// The section, or `None` when there is no round.
fn text(rounds: &[Round], seconds: u64, machine: &str) -> Option<String> {
    let mut out = String::new();
    let _ = writeln!(out, "## TLS: from outside, and what is inside\n\n{machine}.\n");
    let _ = writeln!(
        out,
        "nginx (one worker, a file of 612 bytes, TLS 1.3) under wrk ({} connections at a time) on the same machine: {} rounds \
         of {seconds} s for each, alternating; nginx is the only target, but wrk uses the same library, so that its calls \
         are stopped as well. Figures are the median of the rounds, with the least and the greatest; ratios are taken within \
         a round.\n",
        wrk::CONNECTIONS,
        rounds.len()
    );
    let _ = writeln!(
        out,
        "| | no sensor | `capture.tls: false` | `capture.tls: true` |\n| --- | ---: | ---: | ---: |"
    );
    for (load, what) in ["requests on connections that stay", "a connection a request"].iter().enumerate() {
        let of = |kind: usize, figure: fn(&Figures) -> f64| {
            Spread::of(rounds.iter().map(|round| figure(&round[kind][load])))
        };
        let ratio = |kind: usize, figure: fn(&Figures) -> f64| {
            Spread::of(rounds.iter().map(|round| figure(&round[kind][load]) / figure(&round[0][load])))
        };
        let all = |figure: fn(&Figures) -> f64| {
            [1, 2].map(|kind| {
                rounds.iter().map(|round| figure(&round[kind][load])).fold(0.0, |sum, of| sum + of)
            })
        };
        let throughput: fn(&Figures) -> f64 = |figures| figures.throughput;
        let cells = [of(0, throughput)?, of(1, throughput)?, of(2, throughput)?].map(|spread| spread.text(0));
        let _ = writeln!(out, "| **{what}**, a second | {} |", cells.join(" | "));
        let mut row = |what: &str, cells: [String; 2]| {
            let _ = writeln!(out, "| {what} | – | {} |", cells.join(" | "));
        };
        row(
            "ratio to no sensor",
            [ratio(1, throughput)?, ratio(2, throughput)?].map(|spread| spread.text(3)),
        );
        let p99: fn(&Figures) -> f64 = |figures| figures.p99;
        row("p99, ratio", [ratio(1, p99)?, ratio(2, p99)?].map(|spread| spread.text(2)));
        let cpu: fn(&Figures) -> f64 = |figures| figures.cpu;
        row("daemon's CPU-seconds a million", [of(1, cpu)?, of(2, cpu)?].map(|spread| spread.text(2)));
        row("served by nginx", all(|figures| figures.served).map(|sum| format!("{sum:.0}")));
        row("requests counted", all(|figures| figures.requests).map(|sum| format!("{sum:.0}")));
        row("handshakes counted", all(|figures| figures.handshakes).map(|sum| format!("{sum:.0}")));
        row("events lost", all(|figures| figures.lost).map(|sum| format!("{sum:.0}")));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_and_sums_are_told() {
        let of = |throughput, requests| Figures { throughput, requests, p99: 1.0, ..Figures::default() };
        let round =
            [[of(40e3, 0.0), of(2e3, 0.0)], [of(36e3, 0.0), of(1e3, 0.0)], [of(20e3, 5.0), of(1e3, 7.0)]];
        let text = text(&[round, round], 1, "a machine").unwrap();
        assert!(text.contains("| ratio to no sensor | – | 0.900 (0.900 to 0.900) | 0.500"), "{text}");
        assert!(text.contains("| requests counted | – | 0 | 14 |"), "{text}");
    }

    #[test]
    fn without_a_round_there_is_no_section() {
        assert_eq!(text(&[], 1, "a machine"), None);
    }
}
