//! The end-to-end tests on real kernels in virtual machines.
//!
//! Each guest is a distribution's own kernel under qemu, with an initramfs of what is under test and a disk of
//! the programs that the tests use. Init runs every test once for each way of capture, reports on a serial port of
//! its own, and powers off. Nothing of the guest is a secret of xtask: `--shell` gives a person its console.

mod apt;
mod cpio;
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
mod source;
mod way;

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use self::job::{Job, Provoke};
use self::kernel::{Kernel, Unpacked};
use self::payload::Payload;
use self::qemu::{Accel, End, Guest, Outcome};
use self::report::Report;

/// How long a guest may be quiet. A single test may be quiet for as long as it may take.
const SILENCE: Duration = Duration::from_secs(300);

#[derive(Debug, Args)]
pub(crate) struct VmArgs {
    /// Which kernel to boot
    #[arg(long, value_enum, default_value = "all")]
    kernel: Choice,
    /// Only tests whose name contains this
    #[arg(long, value_name = "TEST")]
    filter: Option<String>,
    /// What runs the guest's processor
    #[arg(long, value_enum, default_value = "tcg")]
    accel: Accel,
    /// Memory of the guest in MiB
    #[arg(long, default_value_t = 2048)]
    memory: u32,
    /// The longest a guest may run, in minutes
    #[arg(long, default_value_t = 90)]
    limit: u64,
    /// How long the tests at full speed run, in seconds
    #[arg(long, default_value_t = 10)]
    load_seconds: u32,
    /// Fetch the newest packages of each kernel even where some are cached
    #[arg(long)]
    refresh: bool,
    /// Only boot and tell what the kernel has: no sensor is built and no test run
    #[arg(long)]
    boot: bool,
    /// A shell on the console instead of tests; with --boot, the guest has no sensor
    #[arg(long)]
    shell: bool,
    /// Provoke each kind of disaster in a guest and see that it is noticed
    #[arg(long, conflicts_with_all = ["boot", "shell", "filter"])]
    self_test: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Choice {
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

/// Runs what the arguments say.
///
/// # Errors
/// A test failed on some kernel, a guest came to grief, or something needed is missing.
pub(crate) fn run(args: VmArgs) -> Result<()> {
    let kernels = args.kernel.kernels();
    if args.self_test {
        return self_test(&args, kernels[0]);
    }
    let bare = args.boot;
    let whole = args.kernel == Choice::All && args.filter.is_none() && !bare && !args.shell;
    let reports = matrix(&args, &kernels)?;
    report::print(&reports)?;
    if whole {
        report::write_document(&root().join("docs/kernels.md"), &reports)?;
    }
    match reports.iter().filter(|r| !r.ok()).count() {
        0 => Ok(()),
        failed => bail!("{failed} of {} kernels failed", reports.len()),
    }
}

/// The part of the matrix that `cargo xtask test` runs: what customers have today, and what they get next.
#[expect(dead_code, reason = "`cargo xtask test` calls it")]
pub(crate) fn test_matrix() -> Result<()> {
    let args = VmArgs {
        kernel: Choice::All,
        filter: None,
        accel: Accel::Tcg,
        memory: 2048,
        limit: 90,
        load_seconds: 5,
        refresh: false,
        boot: false,
        shell: false,
        self_test: false,
    };
    let reports = matrix(&args, &[Kernel::V6_1, Kernel::Newest])?;
    report::print(&reports)?;
    match reports.iter().filter(|r| !r.ok()).count() {
        0 => Ok(()),
        failed => bail!("{failed} of {} kernels failed", reports.len()),
    }
}

fn matrix(args: &VmArgs, kernels: &[Kernel]) -> Result<Vec<Report>> {
    let lab = Lab::new(args.boot)?;
    let mut reports = Vec::new();
    for kernel in kernels {
        let unpacked = kernel.unpacked(&lab.cache, args.refresh)?;
        let job = Job {
            test_seconds: SILENCE.as_secs() - 30,
            patience: if args.accel == Accel::Tcg { 5 } else { 1 },
            load_seconds: args.load_seconds,
            filter: args.filter.clone(),
            provoke: None,
            shell: args.shell,
        };
        let limit = Duration::from_secs(args.limit * 60);
        if let Some(outcome) = lab.boot(args, *kernel, &unpacked, &job, SILENCE, limit)? {
            reports.push(Report::new(*kernel, unpacked, outcome, args.boot));
        }
    }
    Ok(reports)
}

/// Sees to it that no disaster passes for a success.
fn self_test(args: &VmArgs, kernel: Kernel) -> Result<()> {
    let lab = Lab::new(true)?;
    let unpacked = kernel.unpacked(&lab.cache, args.refresh)?;
    let (silence, limit) = (Duration::from_secs(20), Duration::from_secs(40));
    for (provoke, expected) in [
        (Provoke::Panic, End::Trouble("the kernel panicked")),
        (Provoke::Death, End::Trouble("the kernel panicked")),
        (Provoke::Silence, End::Silent(silence)),
        (Provoke::Chatter, End::TooLong(limit)),
        (Provoke::Failure, End::Verdict { ok: false }),
    ] {
        let job = Job { provoke: Some(provoke), test_seconds: 1, ..Job::default() };
        let outcome = lab.boot(args, kernel, &unpacked, &job, silence, limit)?;
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
    cache: PathBuf,
    /// One folder a guest is made here.
    target: PathBuf,
    payload: Payload,
    disk: PathBuf,
}

impl Lab {
    fn new(bare: bool) -> Result<Self> {
        let cache = cache()?;
        let target = root().join("target");
        fs::create_dir_all(&cache)?;
        // Two commands at once would take each other's downloads apart.
        let lock = fs::File::create(cache.join("lock"))?;
        lock.lock().context("lock the cache")?;
        let payload = if bare {
            Payload::bare(&root())?
        } else {
            Payload::full(&root(), &qemu::folder(&target, "payload")?)?
        };
        let files = program::files(&java::runtime(&cache)?, &payload.binaries())?;
        let disk = image::image(&cache, &files)?;
        Ok(Self { cache, target, payload, disk })
    }

    /// Boots one guest. There is no outcome where a person was at its console.
    fn boot(
        &self,
        args: &VmArgs,
        kernel: Kernel,
        unpacked: &Unpacked,
        job: &Job,
        silence: Duration,
        limit: Duration,
    ) -> Result<Option<Outcome>> {
        let dir = qemu::folder(&self.target, kernel.name())?;
        let initramfs = dir.join("initramfs.cpio");
        self.payload.initramfs(&initramfs, &module::modules(&unpacked.modules)?, job)?;
        let guest = Guest {
            vmlinuz: &unpacked.vmlinuz,
            initramfs: &initramfs,
            disk: &self.disk,
            accel: args.accel,
            memory: args.memory,
            processors: 2,
            silence,
            limit,
            dir: &dir,
        };
        if job.shell {
            guest.shell()?;
            return Ok(None);
        }
        say(format!("kernel {kernel}: booting {}", unpacked.release));
        guest.run(|event| report::progress(kernel, event, args.boot)).map(Some)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}

fn cache() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let base = base.or_else(home).context("neither XDG_CACHE_HOME nor HOME is set\nhint: set HOME")?;
    Ok(base.join("lionpay-sensor/vm"))
}

/// Tells the person at the terminal what is going on.
fn say(text: impl Display) {
    eprintln!("[vm] {text}");
}
