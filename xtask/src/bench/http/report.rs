//! Figures of all rounds as a section of the page.

use std::fmt::Write as _;

use super::{Run, Seen};
use crate::bench::statistics::Spread;
use crate::bench::wrk;

/// Throughput with the sensor, as a share of that without.
const GOAL_THROUGHPUT: f64 = 0.88;
/// CPU-seconds of the daemon a million requests.
const GOAL_CPU: f64 = 2.0;
/// Peak resident memory of the daemon, MiB.
const GOAL_MEMORY: f64 = 60.0;

pub(super) struct Round {
    pub(super) without: Run,
    pub(super) nginx: Run,
    pub(super) host: Run,
}

/// One way of running, over all rounds.
struct Column {
    throughput: Spread,
    p50: Spread,
    p99: Spread,
    sensor: Option<Cost>,
}

/// What the sensor cost and saw in the runs of one kind.
struct Cost {
    throughput_ratio: Spread,
    p99_ratio: Spread,
    cpu_per_million: Spread,
    peak_mib: f64,
    served: u64,
    acknowledged: u64,
    server: f64,
    client: f64,
    lost: Vec<(String, f64)>,
}

impl Round {
    /// The round in a line, while it goes on.
    pub(super) fn line(&self) -> String {
        let base = self.without.load.throughput();
        let with =
            |run: &Run| format!("{:.0}/s ({:.3})", run.load.throughput(), run.load.throughput() / base);
        format!("    without {base:.0}/s, nginx {}, host {}", with(&self.nginx), with(&self.host))
    }
}

/// The section, or `None` when there is no round.
pub(super) fn text(rounds: &[Round], seconds: u64, machine: &str) -> Option<String> {
    let without = column(rounds, |round| &round.without)?;
    let nginx = column(rounds, |round| &round.nginx)?;
    let host = column(rounds, |round| &round.host)?;
    let mut out = String::new();
    let _ = writeln!(out, "## HTTP: nginx at saturation\n\n{machine}.\n");
    let _ = writeln!(
        out,
        "nginx (one worker, a file of 612 bytes, keep-alive, no access log) under wrk ({} thread, {} \
         connections) on the same machine: {} rounds of {seconds} s for each column, alternating. Figures are the \
         median of the rounds, with the least and the greatest; ratios are taken within a round.\n",
        wrk::THREADS,
        wrk::CONNECTIONS,
        rounds.len()
    );
    table(&mut out, &without, &nginx, &host);
    goals(&mut out, &nginx);
    Some(out)
}

fn column<'a>(rounds: &'a [Round], pick: impl Fn(&'a Round) -> &'a Run) -> Option<Column> {
    let runs = || rounds.iter().map(&pick);
    let seen: Vec<&Seen> = runs().filter_map(|run| run.sensor.as_ref()).collect();
    let ratio = |figure: fn(&Run) -> f64| {
        Spread::of(rounds.iter().map(|round| figure(pick(round)) / figure(&round.without)))
    };
    let cpu = runs().filter_map(|run| Some(run.sensor.as_ref()?.cpu_seconds * 1e6 / count(run.served)));
    let sensor = match Spread::of(cpu) {
        None => None,
        Some(cpu_per_million) => Some(Cost {
            throughput_ratio: ratio(|run| run.load.throughput())?,
            p99_ratio: ratio(|run| run.load.p99.as_secs_f64())?,
            cpu_per_million,
            peak_mib: count(seen.iter().map(|seen| seen.peak_kib).max()?) / 1024.0,
            served: runs().map(|run| run.served).sum(),
            acknowledged: runs().map(|run| run.load.requests).sum(),
            server: seen.iter().map(|seen| seen.server).sum(),
            client: seen.iter().map(|seen| seen.client).sum(),
            lost: lost(&seen),
        }),
    };
    Some(Column {
        throughput: Spread::of(runs().map(|run| run.load.throughput()))?,
        p50: Spread::of(runs().map(|run| run.load.p50.as_secs_f64() * 1e3))?,
        p99: Spread::of(runs().map(|run| run.load.p99.as_secs_f64() * 1e3))?,
        sensor,
    })
}

/// The losses of all runs by cause.
fn lost(seen: &[&Seen]) -> Vec<(String, f64)> {
    let mut sums = std::collections::BTreeMap::<&str, f64>::new();
    for (cause, events) in seen.iter().flat_map(|seen| &seen.lost) {
        *sums.entry(cause).or_default() += events;
    }
    sums.into_iter().map(|(cause, events)| (cause.to_owned(), events)).collect()
}

fn table(out: &mut String, without: &Column, nginx: &Column, host: &Column) {
    let mut row = |what: &str, cells: [String; 3]| {
        let _ = writeln!(out, "| {what} | {} |", cells.join(" | "));
    };
    let of_load = |figure: &dyn Fn(&Column) -> String| [without, nginx, host].map(figure);
    let of_sensor = |figure: &dyn Fn(&Cost) -> String| {
        [without, nginx, host].map(|column| column.sensor.as_ref().map_or_else(|| String::from("–"), figure))
    };
    row("", ["without", "nginx the only target", "whole host the target"].map(String::from));
    row("---", ["---:"; 3].map(String::from));
    row("requests a second", of_load(&|column| column.throughput.text(0)));
    row("p50, ms", of_load(&|column| column.p50.text(2)));
    row("p99, ms", of_load(&|column| column.p99.text(2)));
    row("throughput, ratio", of_sensor(&|cost| cost.throughput_ratio.text(3)));
    row("p99, ratio", of_sensor(&|cost| cost.p99_ratio.text(2)));
    row("daemon's CPU-seconds a million requests", of_sensor(&|cost| cost.cpu_per_million.text(2)));
    row("daemon's peak memory, MiB", of_sensor(&|cost| format!("{:.1}", cost.peak_mib)));
    row("requests wrk saw answered", of_sensor(&|cost| cost.acknowledged.to_string()));
    row("requests nginx served", of_sensor(&|cost| cost.served.to_string()));
    row("requests counted, server side", of_sensor(&|cost| format!("{:.0}", cost.server)));
    row("requests counted, client side", of_sensor(&|cost| format!("{:.0}", cost.client)));
    row("events lost", of_sensor(&|cost| losses(&cost.lost)));
}

fn losses(lost: &[(String, f64)]) -> String {
    if lost.is_empty() {
        return String::from("0");
    }
    let causes: Vec<String> = lost.iter().map(|(cause, events)| format!("{events:.0} {cause}")).collect();
    causes.join(", ")
}

fn goals(out: &mut String, column: &Column) {
    let Some(cost) = &column.sensor else { return };
    let (throughput, cpu) = (cost.throughput_ratio.median, cost.cpu_per_million.median);
    // Not `sum`, which makes a negative zero of nothing.
    let lost = cost.lost.iter().fold(0.0, |sum, (_, events)| sum + events);
    let verdict = |reached: bool| if reached { "PASS" } else { "MISS" };
    let _ = writeln!(out, "\nGoals, with nginx the only target:\n");
    let _ = writeln!(
        out,
        "- {}: throughput {throughput:.3}, goal at least {GOAL_THROUGHPUT:.2}",
        verdict(throughput >= GOAL_THROUGHPUT)
    );
    let _ = writeln!(
        out,
        "- {}: {cpu:.2} CPU-seconds a million requests, goal at most {GOAL_CPU:.0}",
        verdict(cpu <= GOAL_CPU)
    );
    let _ = writeln!(
        out,
        "- {}: {:.1} MiB resident at most, goal at most {GOAL_MEMORY:.0}",
        verdict(cost.peak_mib <= GOAL_MEMORY),
        cost.peak_mib
    );
    let _ = writeln!(out, "- {}: {lost:.0} events lost, goal 0", verdict(lost == 0.0));
}

#[expect(clippy::cast_precision_loss, reason = "counts of one benchmark are far below 2^52")]
fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::wrk::Load;

    fn run(requests: u64, sensor: Option<Seen>) -> Run {
        let duration = Duration::from_secs(1);
        let load = Load { requests, duration, p50: Duration::from_millis(1), p99: Duration::from_millis(2) };
        Run { load, served: requests, sensor }
    }

    fn seen(server: u32, cpu_seconds: f64, lost: &[(&str, f64)]) -> Seen {
        let lost = lost.iter().map(|&(cause, events)| (cause.to_owned(), events)).collect();
        Seen { server: server.into(), client: 0.0, lost, cpu_seconds, peak_kib: 30 * 1024 }
    }

    fn round(nginx: u64, seen: Seen) -> Round {
        Round {
            without: run(100_000, None),
            nginx: run(nginx, Some(seen.clone())),
            host: run(50_000, Some(seen)),
        }
    }

    #[test]
    fn ratios_costs_and_verdicts_are_told() {
        let rounds = [
            round(90_000, seen(90_000, 0.09, &[])),
            round(92_000, seen(92_000, 0.092, &[("ring_full", 3.0)])),
            round(94_000, seen(94_000, 0.094, &[("ring_full", 2.0), ("unparsed", 1.0)])),
        ];
        let text = text(&rounds, 1, "a machine").unwrap();
        assert!(
            text.contains("| throughput, ratio | – | 0.920 (0.900 to 0.940) | 0.500 (0.500 to 0.500) |"),
            "{text}"
        );
        assert!(text.contains("| – | 276000 | 150000 |"), "{text}");
        assert!(text.contains("5 ring_full, 1 unparsed"), "{text}");
        assert!(text.contains("- PASS: throughput 0.920, goal at least 0.88"), "{text}");
        assert!(text.contains("- PASS: 1.00 CPU-seconds a million requests, goal at most 2"), "{text}");
        assert!(text.contains("- PASS: 30.0 MiB resident at most, goal at most 60"), "{text}");
        assert!(text.contains("- MISS: 6 events lost, goal 0"), "{text}");
    }

    #[test]
    fn a_missed_goal_is_said() {
        let text = text(&[round(80_000, seen(80_000, 1.0, &[]))], 1, "a machine").unwrap();
        assert!(text.contains("- MISS: throughput 0.800"), "{text}");
        assert!(text.contains("- MISS: 12.50 CPU-seconds"), "{text}");
        assert!(text.contains("- PASS: 0 events lost"), "{text}");
    }

    #[test]
    fn without_a_round_there_is_no_section() {
        assert_eq!(text(&[], 1, "a machine"), None);
    }
}
