//! What sending costs: processor time a million samples, lines and spans, and a node's whole load at once.
//! `sensor/benches/ship.rs` measures.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Deserialize;

use super::{machine, section};
use crate::command;
use crate::workspace::Workspace;

/// MiB that may be resident under the whole load.
const GOAL_MEMORY: f64 = 150.0;
/// Cores that the machine of the load has.
const GOAL_CORES: f64 = 2.0;

#[derive(Args)]
#[group(id = "ship")]
pub(crate) struct Options {
    /// Seconds for each figure.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Active series.
    #[arg(long, default_value_t = 100_000)]
    series: u64,
    /// Two seconds each, printed and not written into the page.
    #[arg(long, conflicts_with = "seconds")]
    quick: bool,
    /// Builds only what is measured.
    #[arg(long, conflicts_with_all = ["seconds", "quick"])]
    build: bool,
}

#[derive(Deserialize)]
struct Report {
    samples: Figures,
    lines: Figures,
    spans: Figures,
    load: Figures,
}

#[derive(Clone, Copy, Deserialize)]
struct Figures {
    seconds: f64,
    cpu_seconds: f64,
    delivered: f64,
    sent_bytes: f64,
    active_series: f64,
    lost: f64,
    made_lines: f64,
    made_spans: f64,
    peak_mib: f64,
}

impl Figures {
    fn cpu_a_million(&self) -> f64 {
        self.cpu_seconds / self.delivered * 1e6
    }
}

pub(super) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let bench = |arguments: &[&str]| {
        let mut cargo = workspace.cargo();
        cargo.args(["bench", "--quiet", "--package", "sensor", "--bench", "ship"]).args(arguments);
        cargo
    };
    command::run(&mut bench(&["--no-run"])).context("cannot build what is measured")?;
    if options.build {
        return Ok(());
    }
    let seconds = if options.quick { 2 } else { options.seconds };
    let output =
        command::output(bench(&["--", "all"]).args([seconds.to_string(), options.series.to_string()]))?;
    let report: Report = serde_json::from_str(output.trim()).context("the measurement's report is none")?;
    let body = text(&report, seconds, &machine::description()?);
    eprintln!("\n{body}");
    if !options.quick {
        section::write(&workspace.root.join("docs/performance.md"), "ship", &body)?;
    }
    Ok(())
}

fn text(report: &Report, seconds: u32, machine: &str) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "## Sending\n\n{machine}.\n");
    let _ = writeln!(
        out,
        "Exchanges, lines and metrics of a benchmark's own making, without the capture before them, on their way through \
         sampling, encoding, the gate, compression and the spool (with fsync) to a receiver in another process that \
         takes everything; {seconds} s each, once. Metrics are sent every 10 s, six times as often as by default, by remote \
         write 2.0; lines of some 160 bytes by Loki's push; spans, all of them kept, by OTLP over HTTP. The processor time \
         of making the lines is in their figure.\n"
    );
    let _ = writeln!(
        out,
        "| alone | delivered | bytes sent of each | CPU-seconds a million | peak memory, MiB | lost |"
    );
    let _ = writeln!(out, "| --- | ---: | ---: | ---: | ---: | ---: |");
    for (name, figures) in [("samples", report.samples), ("lines", report.lines), ("spans", report.spans)] {
        let _ = writeln!(
            out,
            "| {name} | {:.0} | {:.1} | {:.2} | {:.1} | {:.0} |",
            figures.delivered,
            figures.sent_bytes / figures.delivered,
            figures.cpu_a_million(),
            figures.peak_mib,
            figures.lost
        );
    }
    let load = report.load;
    let a_second = |made: f64| made / load.seconds;
    let cores = load.cpu_seconds / load.seconds;
    let _ = writeln!(
        out,
        "\nAll at once: {:.0} active series, {:.0} lines and {:.0} spans a second for {:.0} s: {:.0} items delivered, {:.0} \
         lost, {cores:.2} cores, {:.1} MiB resident at most.\n\nGoals:\n",
        load.active_series,
        a_second(load.made_lines),
        a_second(load.made_spans),
        load.seconds,
        load.delivered,
        load.lost,
        load.peak_mib
    );
    for (is_reached, what) in [
        (
            load.peak_mib <= GOAL_MEMORY,
            format!("{:.1} MiB resident, goal at most {GOAL_MEMORY:.0}", load.peak_mib),
        ),
        (cores < GOAL_CORES, format!("{cores:.2} cores, goal less than {GOAL_CORES:.0} beside the capture")),
        (load.lost == 0.0, format!("{:.0} items lost, goal 0", load.lost)),
    ] {
        let _ = writeln!(out, "- {}: {what}", if is_reached { "PASS" } else { "MISS" });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(peak_mib: f64, lost: f64) -> Report {
        let figures = Figures {
            seconds: 10.0,
            cpu_seconds: 5.0,
            delivered: 2e6,
            sent_bytes: 4e7,
            active_series: 100_000.0,
            lost,
            made_lines: 500_000.0,
            made_spans: 50_000.0,
            peak_mib,
        };
        Report { samples: figures, lines: figures, spans: figures, load: figures }
    }

    #[test]
    fn figures_and_verdicts_are_told() {
        let body = text(&report(99.0, 0.0), 10, "a machine");
        assert!(body.contains("| lines | 2000000 | 20.0 | 2.50 | 99.0 | 0 |"), "{body}");
        assert!(body.contains("100000 active series, 50000 lines and 5000 spans a second"), "{body}");
        assert_eq!((body.matches("- PASS").count(), body.matches("- MISS").count()), (3, 0), "{body}");
    }

    #[test]
    fn a_missed_goal_is_said() {
        let body = text(&report(151.0, 1.0), 10, "a machine");
        assert_eq!(body.matches("- MISS").count(), 2, "{body}");
    }
}
