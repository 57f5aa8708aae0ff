//! The end-to-end tests on real kernels in virtual machines.
//!
//! Each guest is a distribution's own kernel under qemu, with an initramfs of what is under test and a disk of
//! the programs that the tests use. Init runs every test once for each way of capture, reports on a serial port of
//! its own, and powers off. Nothing of the guest is a secret of xtask: `--shell` gives a person its console.

mod cpio;
mod emulator;
mod event;
mod image;
mod java;
mod job;
mod judge;
mod kernel;
mod module;
mod payload;
mod program;
mod qemu;
mod report;
mod way;

use std::fmt::Display;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use self::event::Event;
pub(crate) use self::event::Measured;
use self::job::{Job, Provoke};
use self::kernel::{Kernel, Unpacked};
use self::payload::Payload;
use self::qemu::{Accel, End, Guest, Outcome};
use self::report::Report;
pub(crate) use self::way::Way;
use crate::servers;
use crate::workspace::{self, Workspace};

/// What `cargo xtask test` runs in guests: every way of moving bytes, that nothing is hidden, and that connections are
/// followed.
const TEST_FILTER: [&str; 3] = ["syscalls::", "missed::", "flow_events::a_short"];
/// How long a guest may be quiet. A single test may be quiet for as long as it may take.
const SILENCE: Duration = Duration::from_secs(300);

/// Of a guest, in mebibytes: the tests' Java servers and 64 MiB of ring buffers fit twice.
const MEMORY: u32 = 2048;
/// Of one kernel's tests, in minutes.
const LIMIT: u64 = 90;
/// How long a test at full speed runs, in seconds: emulation is slow enough to show a race sooner.
const LOAD_SECONDS: u32 = 10;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Which kernel to boot
    #[arg(long, value_enum, default_value = "all")]
    kernel: Choice,
    /// Only tests whose name contains this, or one of several
    #[arg(long, value_name = "TEST")]
    filter: Vec<String>,
    /// Only this way of capture
    #[arg(long, value_enum)]
    way: Option<Way>,
    /// What runs the guest's processor
    #[arg(long, value_enum, default_value = "tcg")]
    accel: Accel,
    /// Memory of the guest in MiB
    #[arg(long, default_value_t = MEMORY)]
    memory: u32,
    /// The longest a guest may run, in minutes
    #[arg(long, default_value_t = LIMIT)]
    limit: u64,
    /// How long the tests at full speed run, in seconds
    #[arg(long, default_value_t = LOAD_SECONDS)]
    load_seconds: u32,
    /// Fetch the newest packages of each kernel even where some are cached
    #[arg(long)]
    refresh: bool,
    /// Only boot and tell what the kernel has: no sensor is built and no test run
    #[arg(long)]
    boot: bool,
    /// Boot with the kernel locked down in integrity mode, as Bottlerocket does
    #[arg(long)]
    lockdown: bool,
    /// A shell on the console instead of tests; with --boot, the guest has no sensor
    #[arg(long)]
    shell: bool,
    /// Provoke each kind of disaster in a guest and see that it is noticed
    #[arg(long, conflicts_with_all = ["boot", "shell", "filter"])]
    self_test: bool,
}

impl Options {
    /// As without an argument.
    fn standard() -> Self {
        Self {
            kernel: Choice::All,
            filter: Vec::new(),
            way: None,
            accel: Accel::Tcg,
            memory: MEMORY,
            limit: LIMIT,
            load_seconds: LOAD_SECONDS,
            refresh: false,
            boot: false,
            lockdown: false,
            shell: false,
            self_test: false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    #[value(name = "5.10")]
    V5_10,
    #[value(name = "6.1")]
    V6_1,
    #[value(name = "6.12")]
    V6_12,
    Newest,
    All,
}

impl Choice {
    fn kernels(self) -> Vec<Kernel> {
        match self {
            Self::V5_10 => vec![Kernel::V5_10],
            Self::V6_1 => vec![Kernel::V6_1],
            Self::V6_12 => vec![Kernel::V6_12],
            Self::Newest => vec![Kernel::Newest],
            Self::All => Kernel::ALL.to_vec(),
        }
    }
}

/// Runs what the options say.
///
/// # Errors
/// A test failed on some kernel, a guest came to grief, or something needed is missing.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let kernels = options.kernel.kernels();
    if options.self_test {
        return self_test(workspace, options, kernels[0]);
    }
    let reports = matrix(workspace, options, &kernels)?;
    // Which tests were run does not matter to the table, which ways were does.
    let whole = options.kernel == Choice::All && options.way.is_none() && !options.lockdown;
    if whole && !options.boot && !options.shell {
        report::write_document(&workspace.root.join("docs/kernels.md"), &reports)?;
    }
    verdict(&reports)
}

/// The part of the matrix that `cargo xtask test` runs: what customers have today, and what they get next, with
/// the tests in which the kernel matters most. Under emulation all tests would take longer than a test run may.
///
/// # Errors
/// As [`run`].
pub(crate) fn test_matrix(workspace: &Workspace) -> Result<()> {
    let options = Options { filter: TEST_FILTER.map(str::to_owned).to_vec(), ..Options::standard() };
    verdict(&matrix(workspace, &options, &[Kernel::V6_1, Kernel::Newest])?)
}

fn verdict(reports: &[Report]) -> Result<()> {
    report::print(reports)?;
    match reports.iter().filter(|r| !r.ok()).count() {
        0 => Ok(()),
        failed => bail!("{failed} of {} kernels failed", reports.len()),
    }
}

fn matrix(workspace: &Workspace, options: &Options, kernels: &[Kernel]) -> Result<Vec<Report>> {
    let (lab, kernels) = Lab::new(workspace, options, kernels)?;
    let tried =
        if options.boot { Vec::new() } else { options.way.map_or(Way::ALL.to_vec(), |way| vec![way]) };
    let mut reports = Vec::new();
    for (kernel, unpacked) in kernels {
        let job = Job {
            test_seconds: SILENCE.as_secs() - 30,
            patience: if options.accel == Accel::Tcg { 5 } else { 1 },
            load_seconds: options.load_seconds,
            filter: options.filter.clone(),
            way: options.way,
            provoke: None,
            shell: options.shell,
            measure: None,
        };
        let limit = Duration::from_secs(options.limit * 60);
        if let Some(outcome) = lab.boot(options, kernel, &unpacked, &job, SILENCE, limit)? {
            reports.push(Report::new(kernel, unpacked, outcome, tried.clone()));
        }
    }
    Ok(reports)
}

/// Measures what each way costs on `kernel` under the same load: `rounds` times `seconds` of the guest for each.
///
/// # Errors
/// As [`run`].
pub(crate) fn measure(
    workspace: &Workspace,
    kernel: Choice,
    seconds: u64,
    rounds: u64,
) -> Result<(String, Vec<Measured>)> {
    let kernel = *kernel.kernels().first().context("no kernel was chosen")?;
    let options = Options::standard();
    let (lab, kernels) = Lab::new(workspace, &options, &[kernel])?;
    let unpacked = &kernels.first().context("the kernel is missing")?.1;
    let ways: Vec<&str> = kernel.ways().iter().map(|way| way.name()).collect();
    let measure = Some(format!("{seconds} {rounds} {}", ways.join(" ")));
    let job = Job { measure, ..Job::default() };
    let limit = Duration::from_secs(options.limit * 60);
    let outcome = lab.boot(&options, kernel, unpacked, &job, SILENCE, limit)?;
    let outcome = outcome.context("a guest without a person has an outcome")?;
    let measured = outcome.events.iter().filter_map(|event| match event {
        Event::Measured(measured) => Some(*measured),
        _ => None,
    });
    let measured = measured.collect();
    let release = unpacked.release.clone();
    if outcome.end != (End::Verdict { ok: true }) {
        let from = outcome.console.len().saturating_sub(40);
        bail!("the guest came to grief: {:?}\n{}", outcome.end, outcome.console[from..].join("\n"));
    }
    Ok((release, measured))
}

/// Sees to it that no disaster passes for a success.
fn self_test(workspace: &Workspace, options: &Options, kernel: Kernel) -> Result<()> {
    let (lab, kernels) = Lab::new(workspace, options, &[kernel])?;
    let unpacked = &kernels[0].1;
    let (silence, limit) = (Duration::from_secs(20), Duration::from_secs(40));
    for (provoke, expected) in [
        (Provoke::Panic, End::Trouble("the kernel panicked")),
        (Provoke::Death, End::Trouble("the kernel panicked")),
        (Provoke::Silence, End::Silent(silence)),
        (Provoke::Chatter, End::TooLong(limit)),
        (Provoke::Failure, End::Verdict { ok: false }),
    ] {
        let job = Job { provoke: Some(provoke), test_seconds: 1, ..Job::default() };
        let outcome = lab.boot(options, kernel, unpacked, &job, silence, limit)?;
        let end = outcome.context("a guest without a person has an outcome")?.end;
        say(format!("kernel {kernel}: {provoke:?}: {end:?}"));
        if end != expected {
            bail!(
                "{provoke:?} was provoked on kernel {kernel}: {expected:?} should have come of it, not {end:?}"
            );
        }
    }
    say(format!("kernel {kernel}: every disaster was noticed"));
    Ok(())
}

/// Everything that all guests share.
struct Lab {
    /// One folder a guest is made here.
    target: PathBuf,
    payload: Payload,
    disk: PathBuf,
    /// Of this target directory, for as long as guests use it.
    _lock: File,
}

impl Lab {
    /// Builds, fetches and makes everything, so that a failure comes before the first boot.
    fn new(
        workspace: &Workspace,
        options: &Options,
        kernels: &[Kernel],
    ) -> Result<(Self, Vec<(Kernel, Unpacked)>)> {
        servers::ensure(&[
            servers::NGINX,
            servers::WRK,
            servers::CURL,
            servers::NGHTTP2,
            servers::PYTHON,
            servers::GRPCIO,
            servers::GUNICORN,
            servers::REDIS,
            servers::NODE,
            servers::JDK,
            servers::OPENSSL,
            servers::BPFTOOL,
            servers::IPROUTE,
            servers::DNSMASQ,
            servers::DIG,
            servers::MKE2FS,
            servers::XZ,
        ])?;
        emulator::ensure()?;
        let own = lock(&workspace.target.join("vm"))?;
        let target = workspace.target.clone();
        let payload = if options.boot || options.self_test {
            Payload::bare(workspace)?
        } else {
            Payload::full(workspace, &qemu::folder(&target, "payload")?)?
        };
        // Two commands at once would take each other's downloads apart.
        let cache = workspace::cache()?.join("vm");
        let _shared = lock(&cache)?;
        let files = program::files(&java::runtime(&cache)?, &payload.binaries())?;
        let disk = image::image(&cache, &files)?;
        let unpack = |kernel: &Kernel| Ok((*kernel, kernel.unpacked(&cache, options.refresh)?));
        let kernels = kernels.iter().map(unpack).collect::<Result<_>>()?;
        Ok((Self { target, payload, disk, _lock: own }, kernels))
    }

    /// Boots one guest. There is no outcome where a person was at its console.
    fn boot(
        &self,
        options: &Options,
        kernel: Kernel,
        unpacked: &Unpacked,
        job: &Job,
        silence: Duration,
        limit: Duration,
    ) -> Result<Option<Outcome>> {
        let dir = qemu::folder(&self.target, kernel.name())?;
        let initramfs = dir.join("initramfs.cpio");
        self.payload.initramfs(&initramfs, &module::modules(&unpacked.modules)?, job)?;
        let clocked = job.measure.is_some();
        let guest = Guest {
            vmlinuz: &unpacked.vmlinuz,
            initramfs: &initramfs,
            disk: &self.disk,
            accel: options.accel,
            lockdown: options.lockdown,
            memory: options.memory,
            processors: if clocked { 1 } else { 2 },
            clocked,
            silence,
            limit,
            dir: &dir,
        };
        if job.shell {
            guest.shell()?;
            return Ok(None);
        }
        say(format!("kernel {kernel}: booting {}", unpacked.release));
        guest.run(|event| report::progress(kernel, event, options.boot)).map(Some)
    }
}

/// Makes a folder and waits until no other command uses it.
fn lock(dir: &Path) -> Result<File> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let file = File::create(dir.join("lock")).context("cannot create a lock file")?;
    file.lock().with_context(|| format!("cannot lock {}", dir.display()))?;
    Ok(file)
}

/// Tells the person at the terminal what is going on.
fn say(text: impl Display) {
    eprintln!("[vm] {text}");
}
