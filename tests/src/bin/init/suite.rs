//! Every test, once for each way of capture.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::job::Job;
use crate::port::Port;
use crate::process;
use crate::setup::command;
use crate::verified::Count;

const SENSOR: &str = "/payload/sensor";
const WAYS: [&str; 3] = ["fentry", "socket", "syscall"];

/// Whether all tests passed. Without a sensor there is none to run, and nothing to fail.
pub(crate) fn run(port: &mut Port, job: &Job) -> Result<bool> {
    if !Path::new(SENSOR).exists() {
        return Ok(true);
    }
    let tests = tests(job)?;
    ensure!(!tests.is_empty(), "no test has a name that contains {:?}", job.filter);
    let mut ok = true;
    for way in WAYS.into_iter().filter(|way| job.way.as_ref().is_none_or(|only| only == way)) {
        let config = config(way)?;
        let programs = match ask(way, &config)? {
            Answer::Allowed(programs) => programs,
            Answer::Refused(reason) => {
                port.way(way, false, &reason);
                continue;
            }
        };
        port.way(way, true, "");
        verified(port, way, &config, &programs)?;
        for test in &tests {
            ok &= test.run(port, job, way)?;
        }
    }
    Ok(ok)
}

struct Test {
    program: PathBuf,
    /// Within its program.
    name: String,
    /// With the program's name, as people and filters know it.
    full: String,
}

impl Test {
    fn run(&self, port: &mut Port, job: &Job, way: &str) -> Result<bool> {
        port.begin(way, &self.full);
        eprintln!("=== begin {way} {}", self.full);
        let mut test = command(&self.program);
        test.args([&self.name, "--exact", "--test-threads", "1"]).stdin(Stdio::null());
        test.env("SENSOR_BIN", SENSOR).env("SENSOR_TEST_FIXTURES", "/payload/fixtures");
        test.env("SENSOR_TEST_ROUTE", way).env("SENSOR_TEST_PATIENCE", &job.patience);
        test.env("SENSOR_TEST_SECONDS", &job.load_seconds);
        let started = Instant::now();
        let outcome = match process::run(test, Duration::from_secs(job.test_seconds))? {
            Some(status) if status.success() => "ok",
            Some(_) => "failed",
            None => "timeout",
        };
        eprintln!("=== end {way} {}: {outcome}", self.full);
        port.end(way, &self.full, outcome, started.elapsed());
        Ok(outcome == "ok")
    }
}

fn tests(job: &Job) -> Result<Vec<Test>> {
    let mut programs =
        fs::read_dir("/payload/test")?.map(|e| Ok(e?.path())).collect::<Result<Vec<PathBuf>>>()?;
    programs.sort();
    let mut tests = Vec::new();
    for program in programs {
        let list = output(command(&program).args(["--list", "--format", "terse"]))?;
        let prefix = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for name in list.lines().filter_map(|l| l.strip_suffix(": test")) {
            let full = format!("{prefix}::{name}");
            // Of the tests' own servers and clients, without a sensor: another kernel changes nothing.
            let has_sensor = prefix != "fixtures";
            if has_sensor && (job.filter.is_empty() || job.filter.iter().any(|name| full.contains(name))) {
                tests.push(Test { program: program.clone(), name: name.to_owned(), full });
            }
        }
    }
    Ok(tests)
}

fn config(way: &str) -> Result<PathBuf> {
    let path = PathBuf::from(format!("/tmp/{way}.yaml"));
    fs::write(&path, format!("capture:\n  route: {way}\n"))
        .with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// What the sensor says of a way.
enum Answer {
    /// With the programs that it loads, and how many instructions the verifier went through for each, where the
    /// kernel tells (5.16 and later).
    Allowed(Vec<(String, Option<u64>)>),
    /// With the reason, in the sensor's own words.
    Refused(String),
}

fn ask(way: &str, config: &Path) -> Result<Answer> {
    let output =
        command(SENSOR).arg("check").arg("--config").arg(config).output().context("start the sensor")?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    // `no  route socket   the reason` or `yes route socket   verified instructions: one 12, another 34`
    let route = |line: &str| {
        let mut words = line.split_whitespace();
        let is_it = words.nth(1) == Some("route") && words.next() == Some(way);
        is_it.then(|| words.collect::<Vec<_>>().join(" "))
    };
    let said = text.lines().find_map(route);
    if !output.status.success() {
        eprintln!("{text}");
        let reason = said.unwrap_or_else(|| text.lines().last().unwrap_or("no reason given").to_owned());
        return Ok(Answer::Refused(format!("{reason} ({})", output.status)));
    }
    let said = said.unwrap_or_default();
    let programs = said.split_once(": ").map_or("", |(_, programs)| programs).split(", ");
    let program = |text: &str| match text.split_once(' ') {
        Some((name, count)) => (name.to_owned(), count.parse().ok()),
        None => (text.to_owned(), None),
    };
    Ok(Answer::Allowed(programs.filter(|p| !p.is_empty()).map(program).collect()))
}

/// Reports how many instructions the verifier went through for each program that this way loads.
fn verified(port: &mut Port, way: &str, config: &Path, programs: &[(String, Option<u64>)]) -> Result<()> {
    ensure!(!programs.is_empty(), "the sensor names no program of the way {way}");
    let mut seen = BTreeMap::new();
    if programs.iter().any(|(_, count)| count.is_none()) {
        let count = Count::start()?;
        let mut sensor = command(SENSOR);
        sensor.arg("run").arg("--config").arg(config).args(["--listen", "127.0.0.1:0", "--duration", "1s"]);
        output(&mut sensor)?;
        seen = count.finish()?;
    }
    for (program, count) in programs {
        // The kernel knows 15 characters of a name; programs that begin alike have the largest of their counts.
        let seen = || seen.get(&program[..program.len().min(15)]).copied();
        let count = count.or_else(seen);
        let count = count
            .with_context(|| format!("the verifier was not seen to accept {program} of the way {way}"))?;
        port.verified(way, program, count);
    }
    Ok(())
}

fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("start {name}"))?;
    ensure!(
        output.status.success(),
        "{name}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
