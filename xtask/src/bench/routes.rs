//! The ways of capture side by side: nginx under the same load without the sensor and by each way that a kernel
//! allows, in alternating rounds.
//!
//! The guest's clock goes by the instructions that it runs, so its times are counts of instructions: they do not depend
//! on what else this machine does, nor on how fast it is.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use clap::Args;

use super::section;
use super::statistics::Spread;
use crate::vm::{self, Choice, Measured, Way};
use crate::workspace::Workspace;

#[derive(Args)]
#[group(id = "routes")]
pub(crate) struct Options {
    /// The kernel to measure on; one that allows all ways tells most.
    #[arg(long, value_enum, default_value = "6.12")]
    kernel: Choice,
    /// How often each way is measured.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// How long each measurement takes, in seconds of the guest: a thousand million instructions each.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Printed and not written into the page.
    #[arg(long)]
    quick: bool,
}

pub(super) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let (release, measured) = vm::measure(workspace, options.kernel, options.seconds, options.rounds)?;
    let body = text(&measured, &release, options).context("a way was not measured")?;
    eprintln!("\n{body}");
    if !options.quick {
        section::write(&workspace.root.join("docs/performance.md"), "routes", &body)?;
        eprintln!("[bench routes] written into docs/performance.md");
    }
    Ok(())
}

/// What one way showed, over all rounds.
struct Column {
    way: Option<Way>,
    /// Instructions of nginx a request, with the programs in its system calls.
    server: Spread,
    daemon: Spread,
    /// All instructions of the guest a request.
    whole: Spread,
    requests: u64,
}

impl Column {
    fn of(measured: &[Measured], way: Option<Way>) -> Option<Self> {
        let runs = || measured.iter().filter(move |run| run.way == way);
        let spread =
            |figure: fn(&Measured) -> u64| Spread::of(runs().map(|run| ratio(figure(run), run.requests)));
        Some(Self {
            way,
            server: spread(|run| run.server_ns)?,
            daemon: spread(|run| run.daemon_ns)?,
            whole: spread(|run| run.elapsed_ns)?,
            requests: runs().map(|run| run.requests).sum(),
        })
    }

    fn name(&self) -> &'static str {
        self.way.map_or("without", Way::name)
    }
}

/// The section; `None` when a way was not measured.
fn text(measured: &[Measured], release: &str, options: &Options) -> Option<String> {
    let ways = Way::ALL.into_iter().filter(|way| measured.iter().any(|run| run.way == Some(*way)));
    let without = Column::of(measured, None)?;
    let columns: Vec<Column> = ways.map(|way| Column::of(measured, Some(way))).collect::<Option<_>>()?;
    let cheapest = columns.iter().min_by(|a, b| a.server.median.total_cmp(&b.server.median))?;
    let mut out = String::from("## The ways of capture\n\n");
    let _ = writeln!(
        out,
        "Kernel {release} in a virtual machine with one emulated processor whose clock goes by the instructions it \
         runs: figures are instructions, and do not depend on the machine. nginx (two workers, responses of 6 bytes, \
         keep-alive) is the only target, under wrk (2 threads, 64 connections): {} rounds of {} thousand million \
         instructions for each column, alternating. Figures are the median of the rounds, with the least and the \
         greatest.\n",
        options.rounds, options.seconds
    );
    let all = || std::iter::once(&without).chain(&columns);
    let mut row = |what: &str, cell: &dyn Fn(&Column) -> String| {
        let cells: Vec<String> = all().map(cell).collect();
        let _ = writeln!(out, "| {what} | {} |", cells.join(" | "));
    };
    row("instructions a request", &|column| column.name().to_owned());
    row("---", &|_| "---:".to_owned());
    row("nginx, with the programs in its system calls", &|column| column.server.text(0));
    row("… more than without", &|column| match column.way {
        None => "–".to_owned(),
        Some(_) => format!("{:.0}", column.server.median - without.server.median),
    });
    row("… as a ratio", &|column| format!("{:.3}", column.server.median / without.server.median));
    row("daemon", &|column| column.way.map_or_else(|| "–".to_owned(), |_| column.daemon.text(0)));
    row("all of the guest, wrk with it", &|column| column.whole.text(0));
    row("requests", &|column| column.requests.to_string());
    let cheapest = cheapest.way?;
    let verdict = if cheapest == Way::Fentry { "PASS" } else { "MISS" };
    let _ = writeln!(out, "\n- {verdict}: {cheapest} costs nginx the least, goal fentry");
    Some(out)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn ratio(figure: u64, requests: u64) -> f64 {
    figure as f64 / requests.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: Options = Options { kernel: Choice::All, rounds: 2, seconds: 1, quick: true };

    fn run(way: Option<Way>, server_ns: u64) -> Measured {
        Measured { way, requests: 1000, server_ns, daemon_ns: 2_000_000, elapsed_ns: 60_000_000 }
    }

    #[test]
    fn the_cheapest_way_is_told() {
        let mut measured = vec![
            run(None, 10_000_000),
            run(Some(Way::Socket), 13_000_000),
            run(Some(Way::Fentry), 12_000_000),
        ];
        let body = text(&measured, "6.12.1", &OPTIONS).unwrap();
        assert!(body.contains("| … more than without | – | 2000 | 3000 |"), "{body}");
        assert!(body.contains("| … as a ratio | 1.000 | 1.200 | 1.300 |"), "{body}");
        assert!(body.contains("- PASS: fentry"), "{body}");
        measured[1].server_ns = 11_000_000;
        let body = text(&measured, "6.12.1", &OPTIONS).unwrap();
        assert!(body.contains("- MISS: socket"), "{body}");
        assert!(text(&measured[1..], "6.12.1", &OPTIONS).is_none(), "nothing to compare with");
    }
}
