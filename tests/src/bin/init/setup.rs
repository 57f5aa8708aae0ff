//! From a bare kernel to something like a node.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::unistd;

/// Where the disk with the programs is put before it becomes the root.
const ROOT: &str = "/root";
const DISK: &str = "/dev/vda";
/// Devices appear some time after their driver is loaded.
const DISK_WAIT: Duration = Duration::from_secs(20);

/// File systems of a node with cgroup v2 alone: source and type, place, and options.
/// `/tmp` is on the disk: the kernel fills holes of a tmpfs file when it sends them (before 6.5), and memory is short.
const MOUNTS: [(&str, &str, &str); 11] = [
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", ""),
    ("devpts", "/dev/pts", "ptmxmode=0666"),
    ("tmpfs", "/dev/shm", ""),
    ("tmpfs", "/run", ""),
    ("cgroup2", "/sys/fs/cgroup", ""),
    ("securityfs", "/sys/kernel/security", ""),
    ("debugfs", "/sys/kernel/debug", ""),
    ("tracefs", "/sys/kernel/tracing", ""),
    ("bpf", "/sys/fs/bpf", ""),
];

/// Device files, and the console as standard input and output.
pub(crate) fn console() -> Result<()> {
    mount_one("devtmpfs", "/dev", "")?;
    let console = File::options().read(true).write(true).open("/dev/ttyS0").context("open /dev/ttyS0")?;
    for number in 0..3 {
        dup(&console, number)?;
    }
    Ok(())
}

fn dup(file: &File, number: i32) -> Result<()> {
    use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};
    if file.as_raw_fd() == number {
        return Ok(());
    }
    match number {
        0 => dup2_stdin(file),
        1 => dup2_stdout(file),
        _ => dup2_stderr(file),
    }
    .with_context(|| format!("make the console file descriptor {number}"))
}

/// Loads the modules in the order of their names.
pub(crate) fn modules() -> Result<()> {
    let mut paths = fs::read_dir("/module")?.map(|e| Ok(e?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        match finit_module(&file, c"", ModuleInitFlags::empty()) {
            Ok(()) | Err(nix::Error::EEXIST) => {}
            Err(error) => return Err(error).with_context(|| format!("load {}", path.display())),
        }
    }
    Ok(())
}

/// Makes the disk the root, with what came in the initramfs under `/payload`.
pub(crate) fn root() -> Result<()> {
    let started = Instant::now();
    while !Path::new(DISK).exists() {
        ensure!(started.elapsed() < DISK_WAIT, "{DISK} did not appear");
        thread::sleep(Duration::from_millis(5));
    }
    mount(Some(DISK), ROOT, Some("ext4"), MsFlags::MS_NOATIME, None::<&str>).context("mount the disk")?;
    bind("/payload", "/root/payload")?;
    bind("/dev", "/root/dev")?;
    unistd::chdir(ROOT)?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>).context("move the root")?;
    unistd::chroot(".").context("change the root")?;
    unistd::chdir("/")?;
    Ok(())
}

fn bind(from: &str, to: &str) -> Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("bind {from} to {to}"))
}

/// Mounts everything else. What a kernel has not is left out: facts tell.
pub(crate) fn mounts() -> Result<()> {
    for (kind, place, options) in MOUNTS {
        if kind == "devtmpfs" {
            continue;
        }
        if !Path::new(place).is_dir() && fs::create_dir(place).is_err() {
            continue;
        }
        mount_one(kind, place, options)?;
    }
    Ok(())
}

fn mount_one(kind: &str, place: &str, options: &str) -> Result<()> {
    let options = (!options.is_empty()).then_some(options);
    match mount(Some(kind), place, Some(kind), MsFlags::empty(), options) {
        // The kernel mounts device files by itself before init.
        Err(nix::Error::EBUSY) => Ok(()),
        result => result.with_context(|| format!("mount {kind} on {place}")),
    }
}

/// The host's name, the loopback device, and standard names for file descriptors.
pub(crate) fn environment() -> Result<()> {
    unistd::sethostname("guest").context("set the host's name")?;
    for (link, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        let link = Path::new("/dev").join(link);
        if !link.exists() {
            std::os::unix::fs::symlink(target, &link).with_context(|| format!("link {}", link.display()))?;
        }
    }
    let status = command("ip").args(["link", "set", "lo", "up"]).status().context("start ip")?;
    if !status.success() {
        bail!("the loopback device did not come up ({status})");
    }
    Ok(())
}

/// A command with the environment of a root shell, in a process group of its own.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().process_group(0).current_dir("/root");
    for (name, value) in [
        ("PATH", "/usr/bin:/opt/java/bin"),
        ("HOME", "/root"),
        ("LANG", "C.UTF-8"),
        ("TERM", "dumb"),
        ("RUST_BACKTRACE", "1"),
    ] {
        command.env(name, value);
    }
    command
}
