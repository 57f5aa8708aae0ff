//! Programs that write lines to standard output as fast as they can, without and with the sensor, alternating in each
//! round; and the same lines read from a file by a program that tails files.

mod report;
mod tail;
mod writer;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use tempfile::TempDir;

pub(super) use self::writer::NAMES as WRITERS;
use self::writer::Writer;
use super::daemon::{Daemon, Target};
use super::{machine, metrics, section};
use crate::workspace::Workspace;
use crate::{mounts, run, servers};

const RECORDS: &str = "sensor_log_records_total";
const LOST: &str = "sensor_log_lines_lost_total";

#[derive(Args)]
#[group(id = "logs")]
pub(crate) struct Options {
    /// How often each is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// One round, printed and not written into the page.
    #[arg(long, conflicts_with = "rounds")]
    quick: bool,
}

/// One writer in one round.
#[derive(Clone, Copy, Debug)]
struct Pair {
    /// Lines a second without the sensor.
    without: f64,
    /// Lines a second with it.
    with: f64,
    /// CPU-seconds of the daemon.
    cpu: f64,
    /// Lines that it told.
    told: f64,
    /// Lines that it counted as lost.
    lost: f64,
}

/// All that was measured in one round.
#[derive(Clone, Debug)]
struct Round {
    /// In the order of [`Writer::ALL`].
    pairs: Vec<Pair>,
    /// CPU-seconds that tailing took for [`tail::LINES`] lines.
    tail: f64,
}

pub(super) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    servers::ensure(&[servers::PERL, servers::PYTHON, servers::JDK, servers::RSYSLOG])?;
    mounts::ensure()?;
    run::build(workspace)?;
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    writer::prepare(directory.path())?;
    tail::prepare(directory.path())?;
    let count = if options.quick { 1 } else { options.rounds };
    let mut rounds = Vec::new();
    for index in 0..count {
        let round = round(&workspace.sensor(), &directory, index)?;
        eprintln!("[bench logs {}/{count}] {round:?}", index + 1);
        rounds.push(round);
    }
    let body = report::text(&rounds, &machine::description()?).context("no round was measured")?;
    eprintln!("\n{body}");
    if !options.quick {
        section::write(&workspace.root.join("docs/performance.md"), "logs", &body)?;
    }
    Ok(())
}

/// Which comes first, without or with, turns from round to round.
fn round(sensor: &Path, directory: &TempDir, index: u64) -> Result<Round> {
    let mut pairs = Vec::new();
    for writer in Writer::ALL {
        let alone = || writer.run(directory.path());
        let pair = if index.is_multiple_of(2) {
            let without = alone()?;
            Pair { without, ..followed(sensor, directory.path(), writer)? }
        } else {
            let with = followed(sensor, directory.path(), writer)?;
            Pair { without: alone()?, ..with }
        };
        pairs.push(pair);
    }
    Ok(Round { pairs, tail: tail::cpu_seconds(directory.path())? })
}

fn followed(sensor: &Path, directory: &Path, writer: Writer) -> Result<Pair> {
    let daemon = Daemon::start(sensor, Target::Logs)?;
    let before = daemon.usage()?;
    let with = writer.run(directory)?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 lines")]
    let written = writer.lines() as f64;
    // A record that is cut is a part of a line of which the rest was lost, and counted.
    let told = |page: &str| {
        metrics::sum(page, RECORDS, &[])
            - metrics::sum(page, "sensor_lost_total", &[("cause", "log_cut_line")])
    };
    let lost = |page: &str| metrics::sum(page, LOST, &[]);
    let page = daemon.metrics_when(|page| told(page) + lost(page) >= written)?;
    let cpu = daemon.usage()?.cpu_seconds - before.cpu_seconds;
    daemon.stop()?;
    let (told, lost) = (told(&page), lost(&page));
    ensure!(
        told + lost == written,
        "of {written} lines that {} wrote, {told} were told and {lost} lost",
        writer.name()
    );
    Ok(Pair { without: 0.0, with, cpu, told, lost })
}
