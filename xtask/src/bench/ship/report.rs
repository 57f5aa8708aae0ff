//! The figures as a section of the page.

use std::fmt::Write as _;

use super::load::{LINES, Load, SERIES, SPANS};
use super::{ALONE, Alone};

/// MiB that may be resident under the whole load.
const GOAL_MEMORY: f64 = 150.0;
/// Cores that the sensor may use beside what makes the load.
const GOAL_CORES: f64 = 2.0;

pub(super) struct Report {
    /// In the order of [`ALONE`].
    pub(super) alone: [Alone; 3],
    pub(super) load: Load,
    /// How long each was measured alone.
    pub(super) seconds: u32,
}

impl Report {
    pub(super) fn text(&self, machine: &str) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "## Sending\n\n{machine}.\n");
        let _ = writeln!(
            out,
            "Exchanges, lines and metrics of a benchmark's own making, without the capture before them, on their way \
             through sampling, encoding, the gate, compression and the spool (with fsync) to a receiver in another \
             process that takes everything; {} s each, once. Metrics are sent every 2 s by remote write 2.0, 5000 spans a \
             second, all of them kept, by OTLP over HTTP, 50000 lines a second of some 150 bytes by Loki's push. The \
             processor time of making the lines is in their figure.\n",
            self.seconds
        );
        let _ = writeln!(
            out,
            "| alone | delivered | bytes sent of each | CPU-seconds a million | peak memory, MiB | lost |"
        );
        let _ = writeln!(out, "| --- | ---: | ---: | ---: | ---: | ---: |");
        for (name, alone) in ALONE.iter().zip(&self.alone) {
            let _ = writeln!(
                out,
                "| {name} | {:.0} | {:.1} | {:.2} | {:.1} | {:.0} |",
                alone.delivered,
                alone.sent_bytes / alone.delivered,
                alone.cpu_seconds / alone.delivered * 1e6,
                alone.peak_mib,
                alone.lost
            );
        }
        self.of_load(&mut out);
        out
    }

    fn of_load(&self, out: &mut String) {
        let load = &self.load;
        let (lines, spans) = (load.lines / load.seconds, load.exchanges / load.seconds);
        let cores = load.cpu_seconds / load.seconds;
        let lost: f64 = load.lost.iter().map(|(_, count)| count).sum();
        let causes: Vec<String> =
            load.lost.iter().map(|(cause, count)| format!("{count:.0} {cause}")).collect();
        let [samples, sent_lines, sent_spans] = load.delivered;
        let _ = writeln!(
            out,
            "\nA node's whole load through the sensor as it is shipped, on the same two cores as what makes the load: for \
             {:.0} s nginx under wrk on many routes, the whole host the target, all spans kept, and four programs that \
             write a line at a time. Metrics are sent once a minute, the rest as above.\n",
            load.seconds
        );
        let _ = writeln!(out, "| | of the load | delivered |\n| --- | ---: | ---: |");
        let _ =
            writeln!(out, "| active series, and their samples | {:.0} | {samples:.0} |", load.active_series);
        let _ = writeln!(out, "| lines | {:.0}, {lines:.0} a second | {sent_lines:.0} |", load.lines);
        let _ = writeln!(
            out,
            "| exchanges, nginx's count on both sides, and spans | {:.0}, {spans:.0} a second | {sent_spans:.0} |",
            load.exchanges
        );
        let _ = writeln!(out, "\nGoals:\n");
        let lost_text = if causes.is_empty() { "0".to_owned() } else { causes.join(", ") };
        for (is_reached, what) in [
            (
                load.active_series >= SERIES && lines >= LINES && spans >= SPANS,
                format!(
                    "{:.0} active series, {lines:.0} lines and {spans:.0} spans a second, goal at least {SERIES:.0}, \
                     {LINES:.0} and {SPANS:.0}",
                    load.active_series
                ),
            ),
            (lost == 0.0, format!("{lost_text} lost, goal 0")),
            (
                cores < GOAL_CORES,
                format!("{cores:.2} cores with the capture, goal less than {GOAL_CORES:.0}"),
            ),
            (
                load.peak_mib <= GOAL_MEMORY,
                format!("{:.1} MiB resident at most, goal at most {GOAL_MEMORY:.0}", load.peak_mib),
            ),
        ] {
            let _ = writeln!(out, "- {}: {what}", if is_reached { "PASS" } else { "MISS" });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(peak_mib: f64, lost: &[(&str, f64)]) -> String {
        let alone = Alone { cpu_seconds: 5.0, delivered: 2e6, sent_bytes: 4e7, lost: 0.0, peak_mib: 40.0 };
        let load = Load {
            seconds: 100.0,
            cpu_seconds: 50.0,
            peak_mib,
            active_series: 100_001.0,
            lines: 5_000_000.0,
            exchanges: 500_000.0,
            delivered: [200_002.0, 5_000_000.0, 500_000.0],
            lost: lost.iter().map(|(cause, count)| ((*cause).to_owned(), *count)).collect(),
        };
        Report { alone: [alone; 3], load, seconds: 10 }.text("a machine")
    }

    #[test]
    fn figures_and_verdicts_are_told() {
        let body = text(99.0, &[]);
        assert!(body.contains("| lines | 2000000 | 20.0 | 2.50 | 40.0 | 0 |"), "{body}");
        assert!(body.contains("| lines | 5000000, 50000 a second | 5000000 |"), "{body}");
        assert!(body.contains("- PASS: 0.50 cores with the capture"), "{body}");
        assert_eq!((body.matches("- PASS").count(), body.matches("- MISS").count()), (4, 0), "{body}");
    }

    #[test]
    fn a_missed_goal_is_said_with_its_cause() {
        let body = text(151.0, &[("logs busy", 7.0), ("ring_full", 1.0)]);
        assert!(body.contains("- MISS: 7 logs busy, 1 ring_full lost, goal 0"), "{body}");
        assert!(body.contains("- MISS: 151.0 MiB resident at most, goal at most 150"), "{body}");
    }
}
