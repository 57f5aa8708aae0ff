//! Runs tiers one after the other and sums them up.

use std::io::{self, Write as _};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::results::Counts;
use crate::command::{self, Show};
use crate::steps::seconds;

pub(super) struct Suite {
    show: Show,
    started: Instant,
    tiers: Vec<Tier>,
}

struct Tier {
    name: &'static str,
    verdict: Verdict,
    counts: Counts,
    time: Duration,
}

enum Verdict {
    Passed,
    Failed,
    /// Why the tier did not run.
    Skipped(String),
}

impl Suite {
    pub(super) fn new(show: Show) -> Self {
        Self { show, started: Instant::now(), tiers: Vec::new() }
    }

    /// Runs a command as a tier.
    pub(super) fn check(&mut self, name: &'static str, command: &mut Command) -> bool {
        self.tier(name, |show, _| watch(command, show, |_| {}))
    }

    /// Runs tests as a tier, counted by the lines of Rust's test harness. No test at all is a failure: a filter
    /// or a feature must have hidden them.
    pub(super) fn tests(&mut self, name: &'static str, command: &mut Command) -> bool {
        self.tier(name, |show, counts| {
            let passed = watch(command, show, |line| counts.add_line(line))?;
            if passed && *counts == Counts::default() {
                bail!("no test ran");
            }
            Ok(passed && counts.failed == 0)
        })
    }

    /// Runs a piece of this program as a tier.
    pub(super) fn work(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) -> bool {
        self.tier(name, |_, _| work().map(|()| true))
    }

    pub(super) fn skip(&mut self, name: &'static str, reason: impl Into<String>) {
        let reason = reason.into();
        eprintln!("[test] {name}: not run, {reason}");
        let verdict = Verdict::Skipped(reason);
        self.tiers.push(Tier { name, verdict, counts: Counts::default(), time: Duration::ZERO });
    }

    fn tier(&mut self, name: &'static str, work: impl FnOnce(Show, &mut Counts) -> Result<bool>) -> bool {
        eprintln!("[test] {name} …");
        let started = Instant::now();
        let mut counts = Counts::default();
        let passed = work(self.show, &mut counts).unwrap_or_else(|error| {
            eprintln!("{error:#}");
            false
        });
        let verdict = if passed { Verdict::Passed } else { Verdict::Failed };
        let tier = Tier { name, verdict, counts, time: started.elapsed() };
        eprintln!("[test] {}", tier.line());
        self.tiers.push(tier);
        passed
    }

    /// Prints a line a tier, and the totals on the last line.
    ///
    /// # Errors
    /// At least one tier failed.
    pub(super) fn finish(self) -> Result<()> {
        eprintln!("\nAfter {}:", seconds(self.started.elapsed()));
        for tier in &self.tiers {
            eprintln!("  {}", tier.line());
        }
        let totals = self.totals();
        writeln!(io::stdout().lock(), "{totals}").context("cannot write to standard output")?;
        if totals.failed > 0 {
            // The totals stay the last line.
            std::process::exit(1);
        }
        Ok(())
    }

    /// A tier that failed without a failed test, such as one that did not compile, counts as one: the totals must
    /// not read as if all were well.
    fn totals(&self) -> Counts {
        self.tiers.iter().fold(Counts::default(), |sum, tier| {
            let unseen = matches!(tier.verdict, Verdict::Failed) && tier.counts.failed == 0;
            sum + tier.counts + Counts { passed: 0, failed: u64::from(unseen) }
        })
    }
}

/// Runs a child, and shows its output if it fails and has not been shown already.
fn watch(command: &mut Command, show: Show, on_line: impl FnMut(&str)) -> Result<bool> {
    // The watch needs a command of its own, to close the pipe's writing ends with it.
    let command = std::mem::replace(command, Command::new(""));
    let finished = command::watch(command, show, on_line)?;
    if !finished.status.success() && show == Show::Heartbeat {
        eprint!("{}", finished.tail);
    }
    Ok(finished.status.success())
}

impl Tier {
    fn line(&self) -> String {
        let (name, time) = (self.name, seconds(self.time));
        match &self.verdict {
            Verdict::Passed => format!("{name}: passed{} ({time})", self.tests()),
            Verdict::Failed => format!("{name}: FAILED{} ({time})", self.tests()),
            Verdict::Skipped(reason) => format!("{name}: not run, {reason}"),
        }
    }

    fn tests(&self) -> String {
        if self.counts == Counts::default() { String::new() } else { format!(", {}", self.counts) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn tests_are_counted_and_a_failure_without_any_counts_as_one() {
        let mut suite = Suite::new(Show::Heartbeat);
        assert!(suite.tests("good", &mut shell("echo 'test result: ok. 3 passed; 0 failed; 0 ignored'")));
        assert!(!suite.check("bad", &mut shell("exit 1")));
        assert!(!suite.check("missing", &mut Command::new("/nonexistent/program")));
        assert!(suite.work("own", || Ok(())));
        suite.skip("absent", "no reason");
        assert_eq!(suite.totals(), Counts { passed: 3, failed: 2 });
        assert!(suite.tiers[0].line().starts_with("good: passed, 3 passed, 0 failed ("));
        assert!(suite.tiers[1].line().starts_with("bad: FAILED ("));
        assert_eq!(suite.tiers[4].line(), "absent: not run, no reason");
    }

    #[test]
    fn failed_tests_fail_a_tier_whatever_its_status() {
        let mut suite = Suite::new(Show::Heartbeat);
        assert!(!suite.tests("odd", &mut shell("echo 'test result: FAILED. 1 passed; 2 failed; 0 ignored'")));
        assert_eq!(suite.totals(), Counts { passed: 1, failed: 2 });
    }

    #[test]
    fn tests_that_are_not_there_fail() {
        let mut suite = Suite::new(Show::Heartbeat);
        assert!(!suite.tests("empty", &mut shell("echo 'test result: ok. 0 passed; 0 failed; 0 ignored'")));
        assert_eq!(suite.totals(), Counts { passed: 0, failed: 1 });
    }
}
