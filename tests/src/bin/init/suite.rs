//! Every test, once for each way of capture.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::job::Job;
use crate::port::Port;
use crate::process;
use crate::setup::command;
use crate::verified::Place;

const SENSOR: &str = "/payload/sensor";
const WAYS: [&str; 3] = ["fentry", "socket", "syscall"];

/// Whether all tests passed. Without a sensor there is none to run, and nothing to fail.
pub(crate) fn run(port: &mut Port, job: &Job) -> Result<bool> {
    if !Path::new(SENSOR).exists() {
        return Ok(true);
    }
    let tests = tests(job)?;
    ensure!(
        !tests.is_empty(),
        "no test has a name that contains {:?}",
        job.filter.as_deref().unwrap_or_default()
    );
    let place = Place::find()?;
    let mut ok = true;
    for way in WAYS.into_iter().filter(|way| job.way.as_ref().is_none_or(|only| only == way)) {
        let config = config(way)?;
        match refusal(way, &config)? {
            Some(reason) => {
                port.way(way, false, &reason);
                continue;
            }
            None => port.way(way, true, ""),
        }
        verified(port, &place, way, &config)?;
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
            if job.filter.as_ref().is_none_or(|f| full.contains(f)) {
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

/// Why the sensor would not capture this way, in its own words.
fn refusal(way: &str, config: &Path) -> Result<Option<String>> {
    let output =
        command(SENSOR).arg("check").arg("--config").arg(config).output().context("start the sensor")?;
    if output.status.success() {
        return Ok(None);
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    eprintln!("{text}");
    // `no  route socket   the reason`
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let reason = text.lines().map(words).find(|l| l.starts_with(&["no".into(), "route".into(), way.into()]));
    let reason = reason.map(|words| words[3..].join(" "));
    let reason = reason.unwrap_or_else(|| text.lines().last().unwrap_or("no reason given").to_owned());
    Ok(Some(format!("{reason} ({})", output.status)))
}

/// Reports how many instructions the verifier went through for each program that this way loads.
fn verified(port: &mut Port, place: &Place, way: &str, config: &Path) -> Result<()> {
    let count = place.count()?;
    let mut sensor = command(SENSOR);
    sensor.arg("run").arg("--config").arg(config).args(["--listen", "127.0.0.1:0", "--duration", "1s"]);
    output(&mut sensor)?;
    let counts = count.finish()?;
    ensure!(!counts.is_empty(), "the sensor loaded no program by the way {way}");
    for (program, instructions) in counts {
        port.verified(way, &program, instructions);
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
