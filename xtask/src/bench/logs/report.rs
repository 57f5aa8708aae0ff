//! Figures of all rounds as a section of the page.

use std::fmt::Write as _;

use super::writer::{WIDTH, Writer};
use super::{Pair, Round, tail};
use crate::bench::statistics::Spread;

/// Throughput with the sensor, as a share of that without.
const GOAL: f64 = 0.85;

/// The section, or `None` when there is no round.
pub(super) fn text(rounds: &[Round], machine: &str) -> Option<String> {
    let mut out = String::new();
    let _ = writeln!(out, "## Logs: lines to standard output\n\n{machine}.\n");
    let _ = writeln!(
        out,
        "Programs that write lines of {WIDTH} bytes to a pipe that `wc` reads, as fast as they can: {} rounds, \
         alternating without and with the sensor, which follows them and prints each line as JSON to `/dev/null`. Figures \
         are the median of the rounds, with the least and the greatest; ratios are taken within a round.\n",
        rounds.len()
    );
    let _ = writeln!(
        out,
        "| writer | lines a second without | with | throughput, ratio | daemon's CPU-seconds a million lines | lines \
         lost, counted |\n| --- | ---: | ---: | ---: | ---: | ---: |"
    );
    let mut goals = String::new();
    for writer in Writer::ALL {
        let of = |figure: fn(&Pair) -> f64| {
            Spread::of(rounds.iter().map(|round| figure(&round.pairs[writer as usize])))
        };
        let ratio = of(|pair| pair.with / pair.without)?;
        let lost = of(|pair| pair.lost / (pair.told + pair.lost))?;
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            writer.name(),
            of(|pair| pair.without)?.text(0),
            of(|pair| pair.with)?.text(0),
            ratio.text(3),
            of(|pair| pair.cpu * 1e6 / pair.told)?.text(2),
            if lost.greatest > 0.0 { lost.text(4) } else { "0".to_owned() },
        );
        let verdict = if ratio.median >= GOAL { "PASS" } else { "MISS" };
        let _ = writeln!(goals, "- {verdict}: {} {:.3}, goal at least {GOAL}", writer.name(), ratio.median);
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 lines")]
    let millions = tail::LINES as f64 / 1e6;
    let tail = Spread::of(rounds.iter().map(|round| round.tail / millions))?;
    let _ = writeln!(
        out,
        "\nReading the same lines from a file costs rsyslog (`imfile`, each line as JSON to `/dev/null`, neither masked \
         nor joined nor told of a trace) {} CPU-seconds a million lines, and whoever wrote them to the file their own.\n\n\
         Goals:\n\n{goals}",
        tail.text(2)
    );
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_writer_is_judged() {
        let pair = |with| Pair { without: 100_000.0, with, cpu: 3.0, told: 1e6, lost: 0.0 };
        let lossy = Pair { told: 0.9e6, lost: 0.1e6, ..pair(90_000.0) };
        let round = Round { pairs: vec![pair(80_000.0), pair(90_000.0), lossy, pair(99_000.0)], tail: 2.5 };
        let text = text(&[round], "a machine").unwrap();
        assert!(text.contains("- MISS: a write a line, nothing else 0.800, goal at least 0.85"), "{text}");
        assert!(text.contains("- PASS: a write of 8 KiB, nothing else 0.900"), "{text}");
        assert!(text.contains("| 3.33 (3.33 to 3.33) | 0.1000 (0.1000 to 0.1000) |"), "{text}");
        assert!(text.contains("2.50 (2.50 to 2.50) CPU-seconds a million lines"), "{text}");
    }
}
