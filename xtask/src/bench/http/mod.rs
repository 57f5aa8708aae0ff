//! nginx at saturation under wrk: without the sensor, with it on nginx alone, with it on the whole host. The
//! three alternate in each round, so that a drift of the machine touches them alike.

mod report;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use self::report::Round;
use super::daemon::{Daemon, Target};
use super::metrics::{self, SERVER_COUNT};
use super::nginx::Nginx;
use super::wrk::Load;
use super::{machine, section, wrk};
use crate::workspace::Workspace;
use crate::{mounts, run, servers};

const CLIENT_COUNT: &str = "http_client_request_duration_seconds_count";
const LOST: &str = "sensor_lost_total";
/// Fills nginx's and the kernel's caches before anything is measured.
const WARM_UP_SECONDS: u64 = 2;

#[derive(Args)]
#[group(id = "http")]
pub(crate) struct Options {
    /// How often each of the three is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// How long each measurement takes.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Two rounds of three seconds, printed and not written into the page.
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
}

/// What one run under load showed.
#[derive(Clone, Debug)]
pub(super) struct Run {
    load: Load,
    /// What nginx counted itself.
    served: u64,
    /// What the sensor counted and used, in a run with one.
    sensor: Option<Seen>,
}

#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Requests that the sensor counted on nginx's side.
    server: f64,
    /// Requests that it counted on wrk's side.
    client: f64,
    /// Events lost, by cause, without the causes that lost none.
    lost: Vec<(String, f64)>,
    cpu_seconds: f64,
    peak_kib: u64,
}

pub(super) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    servers::ensure(&[servers::NGINX, servers::WRK])?;
    mounts::ensure()?;
    run::build(workspace)?;
    let (count, seconds) = if options.quick { (2, 3) } else { (options.rounds, options.seconds) };

    let nginx = Nginx::start()?;
    wrk::run(&nginx.url(), WARM_UP_SECONDS)?;
    let sensor = workspace.sensor();
    let mut rounds = Vec::new();
    for index in 0..count {
        eprintln!("[bench http {}/{count}] 3 runs of {seconds} s …", index + 1);
        let round = round(&nginx, &sensor, seconds, index)?;
        eprintln!("{}", round.line());
        rounds.push(round);
    }

    let body = report::text(&rounds, seconds, &machine::description()?).context("no round was measured")?;
    eprintln!("\n{body}");
    if options.quick {
        eprintln!("[bench http] quick figures are not written into docs/performance.md");
        return Ok(());
    }
    section::write(&workspace.root.join("docs/performance.md"), "http", &body)?;
    eprintln!("[bench http] written into docs/performance.md");
    Ok(())
}

/// One run of each kind. The order turns from round to round: none is always the first.
fn round(nginx: &Nginx, sensor: &Path, seconds: u64, index: u64) -> Result<Round> {
    let mut kinds = [None, Some(Target::Nginx), Some(Target::Host)];
    kinds.rotate_left(usize::try_from(index % 3)?);
    let (mut without, mut with_nginx, mut with_host) = (None, None, None);
    for kind in kinds {
        let run = Some(measure(nginx, sensor, kind, seconds)?);
        match kind {
            None => without = run,
            Some(Target::Nginx) => with_nginx = run,
            Some(Target::Host | Target::Flows(_) | Target::Logs) => with_host = run,
        }
    }
    let all = without.zip(with_nginx).zip(with_host).context("a run is missing")?;
    let ((without, nginx), host) = all;
    Ok(Round { without, nginx, host })
}

fn measure(nginx: &Nginx, sensor: &Path, target: Option<Target>, seconds: u64) -> Result<Run> {
    let daemon = target.map(|target| Daemon::start(sensor, target)).transpose()?;
    let at_rest = daemon.as_ref().map(Daemon::usage).transpose()?;
    let before = nginx.requests()?;
    let load = wrk::run(&nginx.url(), seconds)?;
    // The second question counts itself.
    let served = (nginx.requests()? - before).saturating_sub(1);
    let Some((daemon, at_rest)) = daemon.zip(at_rest) else {
        return Ok(Run { load, served, sensor: None });
    };

    let page = daemon.settled_metrics(SERVER_COUNT)?;
    let usage = daemon.usage()?;
    daemon.stop()?;
    let port = nginx.port.to_string();
    let port = ("server_port", port.as_str());
    let server = metrics::sum(&page, SERVER_COUNT, &[("service_name", "nginx"), port]);
    ensure!(server > 0.0, "the sensor counted no request of nginx under {SERVER_COUNT}");
    let lost = metrics::samples(&page)
        .filter(|sample| sample.name == LOST && sample.value > 0.0)
        .map(|sample| (sample.label("cause").unwrap_or("unknown").to_owned(), sample.value))
        .collect();
    let seen = Seen {
        server,
        client: metrics::sum(&page, CLIENT_COUNT, &[port]),
        lost,
        cpu_seconds: usage.cpu_seconds - at_rest.cpu_seconds,
        peak_kib: usage.peak_kib,
    };
    Ok(Run { load, served, sensor: Some(seen) })
}
