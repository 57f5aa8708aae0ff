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

    /// Runs a command as a tier; its tests are counted by the lines of Rust's test harness.
    pub(super) fn command(&mut self, name: &'static str, command: &mut Command) -> bool {
        // The watch needs a command of its own, to close the pipe's writing ends with it.
        let command = std::mem::replace(command, Command::new(""));
        let show = self.show;
        self.tier(name, |counts| {
            let finished = command::watch(command, show, |line| counts.add_line(line))?;
            if !finished.status.success() && show == Show::Heartbeat {
                eprint!("{}", finished.tail);
            }
            Ok(finished.status.success())
        })
    }

    /// Runs a piece of this program as a tier.
    pub(super) fn work(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) -> bool {
        self.tier(name, |_| work().map(|()| true))
    }

    pub(super) fn skip(&mut self, name: &'static str, reason: impl Into<String>) {
        let reason = reason.into();
        eprintln!("[test] {name}: not run, {reason}");
        let verdict = Verdict::Skipped(reason);
        self.tiers.push(Tier { name, verdict, counts: Counts::default(), time: Duration::ZERO });
    }

    fn tier(&mut self, name: &'static str, work: impl FnOnce(&mut Counts) -> Result<bool>) -> bool {
        eprintln!("[test] {name} …");
        let started = Instant::now();
        let mut counts = Counts::default();
        let passed = work(&mut counts).unwrap_or_else(|error| {
            eprintln!("{error:#}");
            false
        }) && counts.failed == 0;
        if !passed && counts.failed == 0 {
            // What did not compile, or is no test: the totals must not read as if all were well.
            counts.failed = 1;
        }
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
        let totals = self.tiers.iter().fold(Counts::default(), |sum, tier| sum + tier.counts);
        writeln!(io::stdout().lock(), "{totals}").context("cannot write to standard output")?;
        if self.tiers.iter().any(|tier| matches!(tier.verdict, Verdict::Failed)) {
            std::process::exit(1);
        }
        if totals.passed == 0 {
            bail!("no test ran");
        }
        Ok(())
    }
}

impl Tier {
    fn line(&self) -> String {
        let (name, time) = (self.name, seconds(self.time));
        match &self.verdict {
            Verdict::Passed if self.counts == Counts::default() => format!("{name}: passed ({time})"),
            Verdict::Passed => format!("{name}: passed, {} ({time})", self.counts),
            Verdict::Failed => format!("{name}: FAILED, {} ({time})", self.counts),
            Verdict::Skipped(reason) => format!("{name}: not run, {reason}"),
        }
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
        assert!(suite.command("good", &mut shell("echo 'test result: ok. 3 passed; 0 failed; 0 ignored'")));
        assert!(!suite.command("bad", &mut shell("exit 1")));
        assert!(!suite.command("missing", &mut Command::new("/nonexistent/program")));
        assert!(suite.work("own", || Ok(())));
        suite.skip("absent", "no reason");
        let counts: Vec<_> =
            suite.tiers.iter().map(|tier| (tier.counts.passed, tier.counts.failed)).collect();
        assert_eq!(counts, [(3, 0), (0, 1), (0, 1), (0, 0), (0, 0)]);
        assert_eq!(suite.tiers[4].line(), "absent: not run, no reason");
    }

    #[test]
    fn failed_tests_fail_a_tier_whatever_its_status() {
        let mut suite = Suite::new(Show::Heartbeat);
        assert!(
            !suite.command("odd", &mut shell("echo 'test result: FAILED. 1 passed; 2 failed; 0 ignored'"))
        );
        assert_eq!(suite.tiers[0].counts.failed, 2);
    }
}
