//! What sending costs: processor time a million samples, lines and spans, each alone and without the capture
//! (`sensor/benches/ship.rs`); and a node's whole load at once, through the sensor as it is shipped.

mod load;
mod report;
mod sink;

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Deserialize;

use self::report::Report;
use self::sink::Sink;
use super::{machine, section};
use crate::workspace::Workspace;
use crate::{command, mounts, run, servers};

/// What is measured alone.
const ALONE: [&str; 3] = ["samples", "lines", "spans"];

#[derive(Args)]
#[group(id = "ship")]
pub(crate) struct Options {
    /// Seconds for each figure that is measured alone.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Seconds of the whole load. Metrics are sent once a minute.
    #[arg(long, default_value_t = 125, value_parser = clap::value_parser!(u32).range(65..))]
    load_seconds: u32,
    /// Active series that are measured alone.
    #[arg(long, default_value_t = 100_000)]
    series: u64,
    /// Two seconds alone and 65 of the load, printed and not written into the page.
    #[arg(long, conflicts_with_all = ["seconds", "load_seconds"])]
    quick: bool,
    /// Builds only what is measured.
    #[arg(long, conflicts_with_all = ["seconds", "load_seconds", "quick"])]
    build: bool,
}

/// What one signal alone costs.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Alone {
    cpu_seconds: f64,
    /// Samples, lines or spans that the receiver took.
    delivered: f64,
    sent_bytes: f64,
    lost: f64,
    peak_mib: f64,
}

pub(super) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    servers::ensure(&[servers::NGINX, servers::WRK, servers::PERL])?;
    mounts::ensure()?;
    run::build(workspace)?;
    let bench = |arguments: &[&str]| {
        let mut cargo = workspace.cargo();
        cargo.args(["bench", "--quiet", "--package", "sensor", "--bench", "ship"]).args(arguments);
        cargo
    };
    command::run(&mut bench(&["--no-run"])).context("cannot build what is measured")?;
    if options.build {
        return Ok(());
    }
    let (seconds, load_seconds) =
        if options.quick { (2, 65) } else { (options.seconds, options.load_seconds) };
    let sink = Sink::start()?;
    let alone = |what: &str| -> Result<Alone> {
        eprintln!("[bench ship] {what} alone, {seconds} s …");
        let (seconds, series) = (seconds.to_string(), options.series.to_string());
        let output = command::output(&mut bench(&["--", what, &sink.url(), &seconds, &series]))?;
        serde_json::from_str(output.trim())
            .with_context(|| format!("the figures of {what} are none: {output}"))
    };
    let [samples, lines, spans] = ALONE.map(alone);
    let alone = [samples?, lines?, spans?];
    eprintln!("[bench ship] the whole load, {load_seconds} s …");
    let load = load::measure(&workspace.sensor(), &sink, load_seconds)?;
    let body = Report { alone, load, seconds }.text(&machine::description()?);
    eprintln!("\n{body}");
    if !options.quick {
        section::write(&workspace.root.join("docs/performance.md"), "ship", &body)?;
    }
    Ok(())
}
