//! What came of each guest: shown while it runs, as lines at the end, and as a table in the documentation.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::event::Event;
use super::kernel::{Kernel, Unpacked};
use super::qemu::{End, Outcome};
use super::say;
use super::way::Way;

/// More instructions than this to verify is a program on its way to being refused: the kernel's own limit is
/// a million, and it counts differently from release to release.
const MOST_INSTRUCTIONS: u64 = 250_000;
/// How much of the console is shown when a guest came to grief, in lines.
const TAIL: usize = 60;
const BEGIN: &str = "<!-- verified: written by `cargo xtask vm --kernel all` -->";
const END: &str = "<!-- /verified -->";

/// One kernel's results.
pub(super) struct Report {
    kernel: Kernel,
    unpacked: Unpacked,
    outcome: Outcome,
    /// The ways that were to be tried; none where the guest was only to boot.
    tried: Vec<Way>,
}

impl Report {
    pub(super) fn new(kernel: Kernel, unpacked: Unpacked, outcome: Outcome, tried: Vec<Way>) -> Self {
        Self { kernel, unpacked, outcome, tried }
    }

    pub(super) fn ok(&self) -> bool {
        self.problems().is_empty()
    }

    /// Everything that must not be so.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        match &self.outcome.end {
            End::Verdict { .. } => {}
            End::Trouble(what) => problems.push((*what).to_owned()),
            End::Silent(time) => problems.push(format!("the guest was silent for {} s", time.as_secs())),
            End::TooLong(time) => {
                problems.push(format!("the guest had not ended after {} s", time.as_secs()));
            }
            End::Gone(why) => problems.push(why.clone()),
        }
        for event in &self.outcome.events {
            match event {
                Event::End { way, test, passed: false, outcome, .. } => {
                    problems.push(format!("{way} {test}: {outcome}"));
                }
                Event::Error(text) => problems.push(text.clone()),
                Event::Verified { way, program, instructions } if *instructions > MOST_INSTRUCTIONS => {
                    problems.push(format!(
                        "{way} {program}: {instructions} instructions to verify, {MOST_INSTRUCTIONS} at most"
                    ));
                }
                _ => {}
            }
        }
        for way in self.tried.iter().copied() {
            let expected = self.kernel.ways().contains(&way);
            match self.allowed(way) {
                Some((allowed, reason)) if allowed != expected => problems.push(format!(
                    "{way}: should be {}, the sensor says {reason}",
                    if expected { "allowed" } else { "refused" }
                )),
                None if problems.is_empty() => problems.push(format!("{way}: was not tried")),
                Some((true, _)) if self.ends(way).next().is_none() => {
                    problems.push(format!("{way}: no test was run"));
                }
                _ => {}
            }
        }
        if problems.is_empty() && self.outcome.end == (End::Verdict { ok: false }) {
            problems.push("the guest's verdict is that it failed".into());
        }
        problems
    }

    fn allowed(&self, wanted: Way) -> Option<(bool, &str)> {
        self.outcome.events.iter().find_map(|e| match e {
            Event::Way { way, allowed, reason } if *way == wanted => Some((*allowed, reason.as_str())),
            _ => None,
        })
    }

    /// Whether each test of a way passed, and how long it took.
    fn ends(&self, wanted: Way) -> impl Iterator<Item = (bool, Duration)> {
        self.outcome.events.iter().filter_map(move |e| match e {
            Event::End { way, passed, milliseconds, .. } if *way == wanted => {
                Some((*passed, Duration::from_millis(*milliseconds)))
            }
            _ => None,
        })
    }

    /// Instructions of each program; the largest count where several ways load it.
    fn verified(&self) -> BTreeMap<&str, u64> {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for event in &self.outcome.events {
            if let Event::Verified { program, instructions, .. } = event {
                let count = counts.entry(program).or_default();
                *count = (*count).max(*instructions);
            }
        }
        counts
    }

    fn lines(&self) -> Vec<String> {
        let name = format!("kernel {} ({})", self.kernel, self.unpacked.release);
        let mut lines = Vec::new();
        for way in Way::ALL {
            match self.allowed(way) {
                Some((true, _)) => {
                    let passed = self.ends(way).filter(|(passed, _)| *passed).count();
                    let seconds = self.ends(way).map(|(_, took)| took).sum::<Duration>().as_secs();
                    lines.push(format!(
                        "{name} {way}: {passed} of {} passed in {seconds} s",
                        self.ends(way).count()
                    ));
                }
                Some((false, reason)) => lines.push(format!("{name} {way}: not allowed: {reason}")),
                None => {}
            }
        }
        if let Some((program, count)) = self.verified().into_iter().max_by_key(|(_, count)| *count) {
            lines.push(format!("{name}: {program} has the most instructions to verify, {count}"));
        }
        let verdict = if self.ok() { "ok" } else { "FAILED" };
        lines.push(format!("{name}: {verdict} in {:.1} s", self.outcome.took.as_secs_f64()));
        lines
    }

    /// The console of every failed test, or its end where the guest itself came to grief.
    fn evidence(&self) -> String {
        let mut text = String::new();
        for event in &self.outcome.events {
            let Event::End { way, test, passed: false, .. } = event else { continue };
            let lines =
                between(&self.outcome.console, &marker("begin", *way, test), &marker("end", *way, test));
            let _ = writeln!(text, "--- {} {way} {test}\n{}", self.kernel, lines.join("\n"));
        }
        if !self.ok() && text.is_empty() {
            let from = self.outcome.console.len().saturating_sub(TAIL);
            let _ =
                writeln!(text, "--- {} console\n{}", self.kernel, self.outcome.console[from..].join("\n"));
        }
        text
    }
}

/// The lines that init puts around each test on the console.
fn marker(what: &str, way: Way, test: &str) -> String {
    format!("=== {what} {way} {test}")
}

fn between(console: &[String], begin: &str, end: &str) -> Vec<String> {
    let inside = console.iter().skip_while(|l| !l.contains(begin)).skip(1);
    inside.take_while(|l| !l.contains(end)).cloned().collect()
}

/// A line for each event that a person waits for.
pub(super) fn progress(kernel: Kernel, event: &Event, bare: bool) {
    match event {
        Event::Fact { name, value } if bare => say(format!("kernel {kernel}: {name}: {value}")),
        Event::Way { way, allowed: true, .. } => say(format!("kernel {kernel}: {way}: running the tests")),
        Event::Way { way, allowed: false, reason } => {
            say(format!("kernel {kernel}: {way}: not allowed: {reason}"));
        }
        Event::End { way, test, outcome, milliseconds, .. } => {
            let seconds = Duration::from_millis(*milliseconds).as_secs_f64();
            say(format!("kernel {kernel}: {way} {test}: {outcome} ({seconds:.1} s)"));
        }
        Event::Error(text) => say(format!("kernel {kernel}: {text}")),
        Event::Fact { .. }
        | Event::Begin { .. }
        | Event::Verified { .. }
        | Event::Measured(_)
        | Event::Verdict { .. } => {}
    }
}

/// Prints the evidence of all failures, then a line for each kernel and way.
pub(super) fn print(reports: &[Report]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for report in reports {
        write!(out, "{}", report.evidence())?;
        for problem in report.problems() {
            writeln!(out, "kernel {}: {problem}", report.kernel)?;
        }
    }
    for line in reports.iter().flat_map(Report::lines) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Writes the table of verified instructions into the document, between its markers.
pub(super) fn write_document(path: &Path, reports: &[Report]) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let columns: Vec<_> = reports.iter().map(|r| (r.kernel.name(), &r.unpacked, r.verified())).collect();
    let new =
        replaced(&text, &table(&columns)).with_context(|| format!("find {BEGIN} in {}", path.display()))?;
    if new != text {
        fs::write(path, new).with_context(|| format!("write {}", path.display()))?;
        say(format!("wrote {}", path.display()));
    }
    Ok(())
}

fn table(columns: &[(&str, &Unpacked, BTreeMap<&str, u64>)]) -> String {
    let programs: BTreeSet<&str> = columns.iter().flat_map(|(.., counts)| counts.keys().copied()).collect();
    let mut text = String::from("| program |");
    for (name, unpacked, _) in columns {
        let _ = write!(text, " {name} ({}) |", unpacked.version);
    }
    text.push_str("\n|---|");
    text.push_str(&"--:|".repeat(columns.len()));
    for program in programs {
        let _ = write!(text, "\n| `{program}` |");
        for (.., counts) in columns {
            match counts.get(program) {
                Some(count) => _ = write!(text, " {count} |"),
                None => text.push_str(" – |"),
            }
        }
    }
    text.push('\n');
    text
}

fn replaced(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(kernel: Kernel, lines: &[&str], end: End) -> Report {
        let unpacked = Unpacked {
            release: "6.1.0".into(),
            version: "6.1.9-1".into(),
            vmlinuz: "/k".into(),
            modules: "/m".into(),
        };
        let events = lines.iter().map(|l| Event::parse(l).unwrap()).collect();
        let outcome = Outcome { end, events, console: Vec::new(), took: Duration::from_secs(3) };
        Report::new(kernel, unpacked, outcome, Way::ALL.to_vec())
    }

    const GOOD: [&str; 6] = [
        "way\tfentry\tyes\t",
        "end\tfentry\thttp::get\tok\t1500",
        "way\tsocket\tno\tneeds 6.3",
        "way\tsyscall\tyes\t",
        "end\tsyscall\thttp::get\tok\t2000",
        "verified\tfentry\ttcp_sendmsg\t1200",
    ];

    #[test]
    fn a_good_run_is_a_line_for_each_way() {
        let report = report(Kernel::V6_1, &GOOD, End::Verdict { ok: true });
        assert!(report.ok());
        assert_eq!(
            report.lines(),
            [
                "kernel 6.1 (6.1.0) fentry: 1 of 1 passed in 1 s",
                "kernel 6.1 (6.1.0) socket: not allowed: needs 6.3",
                "kernel 6.1 (6.1.0) syscall: 1 of 1 passed in 2 s",
                "kernel 6.1 (6.1.0): tcp_sendmsg has the most instructions to verify, 1200",
                "kernel 6.1 (6.1.0): ok in 3.0 s",
            ]
        );
    }

    #[test]
    fn each_flaw_fails_the_kernel() {
        let good = |end| report(Kernel::V6_1, &GOOD, end);
        assert!(!good(End::Verdict { ok: false }).ok());
        assert!(!good(End::Trouble("the kernel panicked")).ok());
        assert!(!good(End::Gone("qemu ended".into())).ok());
        let with = |extra| report(Kernel::V6_1, &[&GOOD[..], &[extra]].concat(), End::Verdict { ok: true });
        assert!(with("fact\tbtf\tyes").ok());
        assert!(!with("end\tfentry\thttp::post\ttimeout\t1").ok());
        assert!(!with("error\tno disk").ok());
        assert!(!with("verified\tsyscall\tenter\t250001").ok());
        assert!(with("verified\tsyscall\tenter\t250000").ok());
    }

    #[test]
    fn a_way_that_stops_working_is_a_failure() {
        let run = |kernel, lines: &[&str]| report(kernel, lines, End::Verdict { ok: true }).problems();
        assert!(run(Kernel::V6_12, &GOOD)[0].contains("socket: should be allowed"));
        assert!(run(Kernel::V6_1, &GOOD[..3])[0].contains("syscall: was not tried"));
        let untested = [&GOOD[..1], &GOOD[2..]].concat();
        assert!(run(Kernel::V6_1, &untested)[0].contains("fentry: no test was run"));
    }

    #[test]
    fn the_table_stands_between_its_markers() {
        let report = report(Kernel::V6_1, &GOOD, End::Verdict { ok: true });
        let table = table(&[
            ("6.1", &report.unpacked, report.verified()),
            ("6.12", &report.unpacked, BTreeMap::new()),
        ]);
        assert!(table.ends_with("|---|--:|--:|\n| `tcp_sendmsg` | 1200 | – |\n"), "{table}");
        let text = replaced(&format!("a\n{BEGIN}\nold\n{END}\nb\n"), &table).unwrap();
        assert!(text.starts_with("a\n") && text.ends_with("b\n") && !text.contains("old"));
        assert_eq!(replaced("no markers", &table), None);
    }

    #[test]
    fn the_console_of_one_test_is_cut_out() {
        let lines = ["x", "=== begin fentry a", "panicked", "=== end fentry a", "y"].map(str::to_owned);
        let cut = between(&lines, &marker("begin", Way::Fentry, "a"), &marker("end", Way::Fentry, "a"));
        assert_eq!(cut, ["panicked"]);
    }
}
