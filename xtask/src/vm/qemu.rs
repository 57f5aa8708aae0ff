//! One guest: qemu started, both serial ports read, and how it ended.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use super::event::Event;
use super::judge;

const QEMU: &str = "qemu-system-x86_64";
/// How long a kernel in trouble may go on talking: the trace comes after the first line.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What runs the guest's processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accel {
    /// KVM where /dev/kvm can be opened, else software
    Auto,
    /// Software emulation: works on every machine and behaves alike on all
    Tcg,
    /// Hardware virtualisation
    Kvm,
}

/// What to boot and how long to wait for it.
pub(super) struct Guest<'a> {
    pub(super) vmlinuz: &'a Path,
    pub(super) initramfs: &'a Path,
    pub(super) disk: &'a Path,
    pub(super) accel: Accel,
    /// Integrity mode of the kernel's lockdown.
    pub(super) lockdown: bool,
    /// In mebibytes.
    pub(super) memory: u32,
    pub(super) processors: u32,
    /// The guest's clock goes by the instructions it has run, a nanosecond each, and not by the time that passes: what
    /// else this machine does changes nothing. Software emulation only.
    pub(super) clocked: bool,
    /// The longest time without a word on either port.
    pub(super) silence: Duration,
    pub(super) limit: Duration,
    /// Where the console is kept, and the socket of the second port made.
    pub(super) dir: &'a Path,
}

/// How a guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Verdict {
        ok: bool,
    },
    /// The kernel reported what it does not survive, or not unharmed.
    Trouble(&'static str),
    Silent(Duration),
    TooLong(Duration),
    /// qemu ended before there was a verdict.
    Gone(String),
}

/// Everything a guest said.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) end: End,
    pub(super) events: Vec<Event>,
    pub(super) console: Vec<String>,
    pub(super) took: Duration,
}

enum Heard {
    Console(String),
    Event(Event),
    Damaged(String),
    ConsoleEnded,
}

impl Guest<'_> {
    /// Boots the guest and follows it to its end. Each event is given to `progress` as it comes.
    pub(super) fn run(&self, mut progress: impl FnMut(&Event)) -> Result<Outcome> {
        let started = Instant::now();
        let port = self.dir.join("events.sock");
        let _ = std::fs::remove_file(&port);
        let listener = UnixListener::bind(&port).with_context(|| format!("listen on {}", port.display()))?;
        let mut command = self.command(&["-serial", "stdio"]);
        command.args(["-serial", &format!("unix:{}", port.display())]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut qemu = Qemu(command.spawn().with_context(|| format!("start {QEMU}"))?);

        let (heard, hear) = mpsc::channel();
        let stdout = qemu.0.stdout.take().context("qemu has no standard output")?;
        let stderr = qemu.0.stderr.take().context("qemu has no standard error")?;
        follow_console(stdout, heard.clone(), true);
        follow_console(stderr, heard.clone(), false);
        follow_events(listener, heard);

        let mut log = File::create(self.dir.join("console.log"))?;
        let mut outcome = Outcome {
            end: End::Gone(String::new()),
            events: Vec::new(),
            console: Vec::new(),
            took: Duration::ZERO,
        };
        let mut trouble: Option<(&'static str, Instant)> = None;
        outcome.end = loop {
            let (wait, otherwise) = self.wait(started, trouble);
            match hear.recv_timeout(wait) {
                Ok(Heard::Console(line)) => {
                    writeln!(log, "{:8.3} {line}", started.elapsed().as_secs_f64())?;
                    if let (None, Some(name)) = (trouble, judge::trouble(&line)) {
                        trouble = Some((name, Instant::now()));
                    }
                    outcome.console.push(line);
                }
                Ok(Heard::Event(event)) => {
                    progress(&event);
                    outcome.events.push(event);
                }
                Ok(Heard::Damaged(line)) => {
                    break End::Gone(format!("init said {line:?}, which is no event"));
                }
                Ok(Heard::ConsoleEnded) | Err(RecvTimeoutError::Disconnected) => {
                    let status = qemu.0.wait().context("wait for qemu")?;
                    // Ends the other thread where qemu never connected; then its last events are here to read.
                    let _ = UnixStream::connect(&port);
                    for heard in &hear {
                        if let Heard::Event(event) = heard {
                            progress(&event);
                            outcome.events.push(event);
                        }
                    }
                    break trouble.map_or_else(
                        || {
                            verdict(&outcome.events)
                                .unwrap_or_else(|| End::Gone(format!("qemu ended ({status})")))
                        },
                        |(name, _)| End::Trouble(name),
                    );
                }
                Err(RecvTimeoutError::Timeout) => break otherwise,
            }
        };
        outcome.took = started.elapsed();
        Ok(outcome)
    }

    /// Boots the guest with a person at its console.
    pub(super) fn shell(&self) -> Result<()> {
        let mut command = self.command(&["-chardev", "stdio,id=console,mux=on,signal=off"]);
        command.args(["-serial", "chardev:console", "-serial", "null"]);
        command.status().with_context(|| format!("start {QEMU}"))?;
        Ok(())
    }

    /// How long to wait for the next word, and what it means when none comes.
    fn wait(&self, started: Instant, trouble: Option<(&'static str, Instant)>) -> (Duration, End) {
        if let Some((name, since)) = trouble {
            return (LAST_WORDS.saturating_sub(since.elapsed()), End::Trouble(name));
        }
        let left = self.limit.saturating_sub(started.elapsed());
        if left < self.silence {
            (left, End::TooLong(self.limit))
        } else {
            (self.silence, End::Silent(self.silence))
        }
    }

    fn command(&self, console: &[&str]) -> Command {
        let kvm = match self.accel {
            Accel::Kvm => true,
            Accel::Auto => File::options().read(true).write(true).open("/dev/kvm").is_ok(),
            Accel::Tcg => false,
        };
        // A guest does not go on when this command is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", QEMU]);
        command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-nic", "none"]);
        if kvm {
            command.args(["-accel", "kvm", "-cpu", "host"]);
        } else {
            // Page tables of five levels cost an emulated guest a third of its speed.
            let thread = if self.clocked { "tcg,thread=single" } else { "tcg,thread=multi" };
            command.args(["-accel", thread, "-cpu", "max,-la57"]);
            if self.clocked {
                command.args(["-icount", "shift=0,sleep=off"]);
            }
        }
        command.args(["-smp", &self.processors.to_string(), "-m", &format!("{}M", self.memory)]);
        command.arg("-kernel").arg(self.vmlinuz).arg("-initrd").arg(self.initramfs);
        // Writes go to a file that qemu deletes: the image itself is shared by all runs.
        let disk = format!("file={},format=raw,if=virtio,snapshot=on", self.disk.display());
        command.args(["-drive", &disk]);
        // An oops becomes a panic and a panic ends qemu; errors of the kernel reach the console.
        let mut kernel =
            String::from("console=ttyS0 panic=-1 oops=panic loglevel=5 mitigations=off random.trust_cpu=on");
        if self.lockdown {
            kernel.push_str(" lockdown=integrity");
        }
        command.args(["-append", &kernel]).args(console);
        command
    }
}

/// qemu must not outlive a command that was interrupted by an error.
struct Qemu(Child);

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn verdict(events: &[Event]) -> Option<End> {
    events.iter().rev().find_map(|e| match e {
        Event::Verdict { ok } => Some(End::Verdict { ok: *ok }),
        _ => None,
    })
}

fn follow_console(stream: impl Read + Send + 'static, heard: Sender<Heard>, ends: bool) {
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if heard.send(Heard::Console(text)).is_err() {
                return;
            }
        }
        if ends {
            let _ = heard.send(Heard::ConsoleEnded);
        }
    });
}

fn follow_events(listener: UnixListener, heard: Sender<Heard>) {
    thread::spawn(move || {
        let Ok((stream, _)) = listener.accept() else { return };
        for line in BufReader::new(stream).lines().map_while(Result::ok).filter(|l| !l.is_empty()) {
            let message = Event::parse(&line).map_or(Heard::Damaged(line), Heard::Event);
            if heard.send(message).is_err() {
                return;
            }
        }
    });
}

/// The folder of one guest, emptied.
pub(super) fn folder(target: &Path, name: &str) -> Result<PathBuf> {
    let dir = target.join("vm").join(name);
    std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    Ok(dir)
}
