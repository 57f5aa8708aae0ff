//! Child processes: with a clean environment, watched while they run, and quoted when they fail.

use std::collections::VecDeque;
use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::steps::seconds;

/// How long a child may be silent before a line says that it is still at work.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// The lines of a child's output that are kept to be shown when it fails.
const TAIL_LINES: usize = 2000;

/// The cargo that runs this program.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    clean(&mut cargo);
    cargo
}

/// Takes out what `cargo run` put into the environment for this program and no other.
pub(crate) fn clean(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name.as_ref());
        }
    }
    // Cargo puts its compiler's libraries first, where another compiler would find them.
    let Some(paths) = env::var_os("LD_LIBRARY_PATH") else { return };
    let added = library_paths_of_cargo();
    let kept: Vec<PathBuf> =
        env::split_paths(&paths).filter(|path| !added.iter().any(|root| path.starts_with(root))).collect();
    match env::join_paths(&kept) {
        Ok(kept) if !kept.is_empty() => command.env("LD_LIBRARY_PATH", kept),
        _ => command.env_remove("LD_LIBRARY_PATH"),
    };
}

fn library_paths_of_cargo() -> Vec<PathBuf> {
    let two_up = |path: PathBuf| path.parent().and_then(Path::parent).map(Path::to_path_buf);
    let toolchain = env::var_os("CARGO").map(PathBuf::from).and_then(two_up);
    let target = env::current_exe().ok().and_then(two_up);
    // `/usr` is a toolchain's root too, on a distribution: nothing is to be taken out then.
    [toolchain, target].into_iter().flatten().filter(|root| root != Path::new("/usr")).collect()
}

/// What is shown of a child while it runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// Each line, dimmed.
    Lines,
    /// A sign of life every few seconds.
    Heartbeat,
}

pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    /// The last lines of both output streams, in the order they were written.
    pub(crate) tail: String,
}

/// Runs a child that keeps this process's output.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", name(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", name(command));
    }
    Ok(())
}

/// Runs a child and returns its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {}", name(command)))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed: {}: {}", name(command), output.status, reason.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a child under watch and fails with its output when it fails.
pub(crate) fn watched(command: Command, show: Show) -> Result<()> {
    let name = name(&command);
    let finished = watch(command, show, |_| {})?;
    if finished.status.success() {
        return Ok(());
    }
    match show {
        Show::Lines => bail!("{name} failed: {}", finished.status),
        Show::Heartbeat => bail!("{name} failed: {}\n{}", finished.status, finished.tail.trim_end()),
    }
}

/// Runs a child under watch and hands over each line of its output.
pub(crate) fn watch(mut command: Command, show: Show, mut on_line: impl FnMut(&str)) -> Result<Finished> {
    let name = name(&command);
    // One pipe for both streams keeps the order of the lines.
    let (reader, writer) = io::pipe().context("cannot make a pipe")?;
    let second = writer.try_clone().context("cannot copy a pipe")?;
    command.stdin(Stdio::null()).stdout(writer).stderr(second);
    let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    // The command holds the writing ends; with them open the reader would never see the end.
    drop(command);

    let (send, lines) = mpsc::sync_channel(256);
    std::thread::spawn(move || {
        for line in BufReader::new(reader).split(b'\n') {
            let Ok(line) = line else { return };
            if send.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                return;
            }
        }
    });

    let started = Instant::now();
    let mut sign = Instant::now();
    let mut tail = VecDeque::new();
    loop {
        match lines.recv_timeout(HEARTBEAT.saturating_sub(sign.elapsed()).max(Duration::from_millis(10))) {
            Ok(line) => {
                on_line(&line);
                if show == Show::Lines {
                    dim(&line);
                    sign = Instant::now();
                }
                if tail.len() == TAIL_LINES {
                    tail.pop_front();
                }
                tail.push_back(line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            // A process that the child left behind may hold the pipe open for ever.
            Err(RecvTimeoutError::Timeout) if child.try_wait().is_ok_and(|status| status.is_some()) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if sign.elapsed() >= HEARTBEAT {
            let last = tail.back().map_or("", |line: &String| line.trim());
            dim(&format!("… {} {}", seconds(started.elapsed()), shortened(last, 80)));
            sign = Instant::now();
        }
    }
    let status = child.wait().with_context(|| format!("cannot wait for {name}"))?;
    let tail = tail.into_iter().fold(String::new(), |text, line| text + &line + "\n");
    Ok(Finished { status, tail })
}

/// A line of a child, set apart from this program's own.
fn dim(line: &str) {
    if io::stderr().is_terminal() {
        eprintln!("    \x1b[2m{line}\x1b[0m");
    } else {
        eprintln!("    {line}");
    }
}

fn shortened(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(at, _)| &text[..at])
}

/// The program and its first argument, which names a command well enough for a person.
fn name(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let first = command.get_args().next().unwrap_or_default();
    format!("{} {}", program.display(), first.display()).trim_end().to_owned()
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
    fn both_streams_come_in_order_and_the_status_is_kept() {
        let mut seen = Vec::new();
        let finished = watch(shell("echo a; echo b >&2; echo c; exit 3"), Show::Heartbeat, |line| {
            seen.push(line.to_owned());
        })
        .unwrap();
        assert_eq!(seen, ["a", "b", "c"]);
        assert_eq!(finished.tail, "a\nb\nc\n");
        assert_eq!(finished.status.code(), Some(3));
    }

    #[test]
    fn a_failure_is_quoted() {
        let error = watched(shell("echo the reason >&2; exit 1"), Show::Heartbeat).unwrap_err();
        assert!(error.to_string().contains("the reason"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = output(&mut Command::new("/nonexistent/program")).unwrap_err();
        assert_eq!(error.to_string(), "cannot start program");
    }

    #[test]
    fn a_line_is_cut_between_characters() {
        assert_eq!(shortened("déjà vu", 4), "déjà");
        assert_eq!(shortened("short", 80), "short");
    }
}
