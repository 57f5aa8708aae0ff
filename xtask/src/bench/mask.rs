//! What masking costs: the program that captures writes, without and with it in alternating rounds, by the kernel's own
//! figures of how long programs run; and the daemon's rules on log text. `sensor/benches/mask.rs` measures.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Deserialize;

use super::statistics::Spread;
use super::{machine, section};
use crate::workspace::Workspace;
use crate::{build_ebpf, command, mounts, toolchain};

/// Nanoseconds a byte of text without digits.
const GOAL_BYTE: f64 = 1.0;
/// Nanoseconds a line of 150 bytes with a card.
const GOAL_CARD: f64 = 500.0;
/// Bytes a second of log text in the daemon.
const GOAL_ENGINE: f64 = 400e6;

#[derive(Args)]
#[group(id = "mask")]
pub(crate) struct Options {
    /// How often each is measured.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// One round, printed and not written into the page.
    #[arg(long, conflicts_with = "rounds")]
    quick: bool,
    /// Builds only what is measured.
    #[arg(long, conflicts_with_all = ["rounds", "quick"])]
    build: bool,
}

#[derive(Deserialize)]
struct Report {
    kernel: Vec<Captured>,
    engine: Vec<Engine>,
    others: Vec<Others>,
}

/// Nanoseconds a write of one text.
#[derive(Deserialize)]
struct Captured {
    text: String,
    bytes: u32,
    without: Vec<f64>,
    with: Vec<f64>,
}

impl Captured {
    /// What masking adds, round by round.
    fn added(&self) -> Option<Spread> {
        Spread::of(self.with.iter().zip(&self.without).map(|(with, without)| with - without))
    }
}

/// Bytes a second.
#[derive(Deserialize)]
struct Engine {
    text: String,
    bytes: u64,
    lines: u64,
    masked: u64,
    rates: Vec<f64>,
}

/// Numbers that are no cards, and how many of them were masked.
#[derive(Deserialize)]
struct Others {
    text: String,
    count: u32,
    kernel: u32,
    daemon: u32,
}

pub(super) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    mounts::ensure()?;
    let object = build_ebpf::build_for_bench(workspace, &toolchain::ensure()?)?;
    let bench = |arguments: &[&str]| {
        let mut cargo = workspace.cargo();
        cargo.args(["bench", "--quiet", "--package", "sensor", "--bench", "mask"]).args(arguments);
        cargo
    };
    command::run(&mut bench(&["--no-run"])).context("cannot build what is measured")?;
    if options.build {
        return Ok(());
    }
    let rounds = if options.quick { 1 } else { options.rounds };
    let output = command::output(bench(&["--"]).arg(&object).arg(rounds.to_string()))?;
    let report: Report = serde_json::from_str(output.trim()).context("the measurement's report is none")?;
    let body = text(&report, rounds, &machine::description()?).context("nothing was measured")?;
    eprintln!("\n{body}");
    if !options.quick {
        section::write(&workspace.root.join("docs/performance.md"), "mask", &body)?;
    }
    Ok(())
}

/// The section, or `None` when there is no round.
fn text(report: &Report, rounds: u32, machine: &str) -> Option<String> {
    let mut out = String::new();
    let _ = writeln!(out, "## Masking\n\n{machine}.\n");
    let _ = writeln!(
        out,
        "In the kernel: the program that captures writes to standard streams, without and with masking, {rounds} alternating \
         rounds of 4000 writes each; nanoseconds a write as the kernel measures programs, its measuring included in both. \
         Figures are the median of the rounds, with the least and the greatest; differences are taken within a round.\n"
    );
    let _ = writeln!(out, "| one write | without, ns | with, ns | masking adds, ns | … a byte |");
    let _ = writeln!(out, "| --- | ---: | ---: | ---: | ---: |");
    let of = |figures: &[f64]| Spread::of(figures.iter().copied());
    for captured in &report.kernel {
        let added = captured.added()?;
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {:.2} |",
            captured.text,
            of(&captured.without)?.text(0),
            of(&captured.with)?.text(0),
            added.text(0),
            added.median / f64::from(captured.bytes)
        );
    }
    let _ = writeln!(out, "\nIn the daemon: all rules, on one thread.\n");
    let _ =
        writeln!(out, "| text | MiB | lines | masked | MB a second |\n| --- | ---: | ---: | ---: | ---: |");
    for engine in &report.engine {
        let rates = Spread::of(engine.rates.iter().map(|rate| rate / 1e6))?;
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            engine.text,
            engine.bytes >> 20,
            engine.lines,
            engine.masked,
            rates.text(0)
        );
    }
    let _ = writeln!(
        out,
        "\nLong numbers that are no cards, and how many are masked all the same because they begin like one, or hold one that \
         begins so, and pass the Luhn test:\n"
    );
    let _ = writeln!(out, "| numbers | tried | masked in the kernel | masked in the daemon |");
    let _ = writeln!(out, "| --- | ---: | ---: | ---: |");
    for others in &report.others {
        let share = |masked: u32| 100.0 * f64::from(masked) / f64::from(others.count);
        let (kernel, daemon) = (share(others.kernel), share(others.daemon));
        let _ = writeln!(out, "| {} | {} | {kernel:.2} % | {daemon:.2} % |", others.text, others.count);
    }
    goals(&mut out, report)?;
    Some(out)
}

fn goals(out: &mut String, report: &Report) -> Option<()> {
    let verdict = |reached: bool| if reached { "PASS" } else { "MISS" };
    let _ = writeln!(out, "\nGoals:\n");
    for captured in &report.kernel {
        let added = captured.added()?.median;
        if captured.text.ends_with("without a digit") {
            let byte = added / f64::from(captured.bytes);
            let verdict = verdict(byte <= GOAL_BYTE);
            let _ = writeln!(
                out,
                "- {verdict}: {}, {byte:.2} ns a byte, goal at most {GOAL_BYTE:.0}",
                captured.text
            );
        } else if captured.text.ends_with("card") {
            let verdict = verdict(added <= GOAL_CARD);
            let _ =
                writeln!(out, "- {verdict}: {}, {added:.0} ns, goal at most {GOAL_CARD:.0}", captured.text);
        }
    }
    for engine in &report.engine {
        let rate = Spread::of(engine.rates.iter().copied())?.median;
        let verdict = verdict(rate >= GOAL_ENGINE);
        let (rate, goal) = (rate / 1e6, GOAL_ENGINE / 1e6);
        let _ = writeln!(
            out,
            "- {verdict}: {} in the daemon, {rate:.0} MB/s, goal at least {goal:.0}",
            engine.text
        );
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(with: f64, rate: f64) -> Report {
        let captured = |text: &str, bytes| Captured {
            text: text.to_owned(),
            bytes,
            without: vec![200.0, 210.0, 190.0],
            with: vec![with + 200.0, with + 210.0, with + 190.0],
        };
        Report {
            kernel: vec![captured("150 bytes without a digit", 150), captured("150 bytes with a card", 150)],
            engine: vec![Engine {
                text: "lines".to_owned(),
                bytes: 1 << 20,
                lines: 9,
                masked: 1,
                rates: vec![rate],
            }],
            others: vec![Others { text: "ids".to_owned(), count: 1000, kernel: 5, daemon: 6 }],
        }
    }

    #[test]
    fn figures_and_verdicts_are_told() {
        let body = text(&report(60.0, 500e6), 3, "a machine").unwrap();
        assert!(body.contains(
            "| 150 bytes without a digit | 200 (190 to 210) | 260 (250 to 270) | 60 (60 to 60) | 0.40 |"
        ));
        assert!(body.contains("| ids | 1000 | 0.50 % | 0.60 % |"), "{body}");
        assert!(body.contains("- PASS: 150 bytes without a digit, 0.40 ns a byte"), "{body}");
        assert!(body.contains("- PASS: 150 bytes with a card, 60 ns"), "{body}");
        assert!(body.contains("- PASS: lines in the daemon, 500 MB/s"), "{body}");
    }

    #[test]
    fn a_missed_goal_is_said() {
        let body = text(&report(600.0, 100e6), 3, "a machine").unwrap();
        assert_eq!(body.matches("- MISS").count(), 3, "{body}");
    }

    #[test]
    fn without_a_round_there_is_no_section() {
        let none = Captured { text: "a".to_owned(), bytes: 1, without: vec![], with: vec![] };
        assert_eq!(
            text(&Report { kernel: vec![none], engine: vec![], others: vec![] }, 0, "a machine"),
            None
        );
    }
}
