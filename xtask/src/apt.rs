//! Debian packages: which are missing, which could be had, and their installation without a question asked.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, bail};

use crate::command::{self, Show};
use crate::root;
use crate::version::Version;

/// Whether packages can be installed here at all.
pub(crate) fn available() -> bool {
    Path::new("/etc/debian_version").exists() && which::which("apt-get").is_ok()
}

pub(crate) fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Abbrev}", package]);
    command::output(&mut query).is_ok_and(|status| status.starts_with("ii"))
}

/// The version that an installation would bring, if there is one.
pub(crate) fn candidate(package: &str) -> Option<Version> {
    let mut policy = Command::new("apt-cache");
    policy.env("LC_ALL", "C").args(["policy", package]);
    parse_candidate(&command::output(&mut policy).ok()?)
}

fn parse_candidate(policy: &str) -> Option<Version> {
    policy.lines().find_map(|line| line.trim().strip_prefix("Candidate:")).and_then(Version::parse)
}

/// Brings the package lists up to date, once a run.
///
/// # Errors
/// Not root, or apt-get failed (no network, another apt-get at work).
pub(crate) fn update() -> Result<()> {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.load(Ordering::Relaxed) {
        return Ok(());
    }
    if !root::is_root() {
        bail!("apt-get update needs root\nhint: {}", root::sudo("apt-get update"));
    }
    command::watched(apt_get(&["update"], &[]), Show::Lines)?;
    DONE.store(true, Ordering::Relaxed);
    Ok(())
}

/// Installs packages. Nothing is removed for them, and no service of theirs is started.
///
/// # Errors
/// Not root (the message has the line to type), or apt-get failed.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    install_with(packages, &[])
}

/// The same with further options of apt-get.
///
/// # Errors
/// As above.
pub(crate) fn install_with(packages: &[&str], options: &[String]) -> Result<()> {
    let arguments = ["install", "--yes", "--no-install-recommends", "--no-remove"];
    if !root::is_root() {
        let names = packages.join(" ");
        let line = root::sudo(&format!("apt-get install --no-install-recommends {names}"));
        bail!("packages are missing and their installation needs root: {names}\nhint: {line}");
    }
    let stubs = tempfile::tempdir().context("cannot make a temporary directory")?;
    keep_services_stopped(stubs.path())?;
    let path = format!("DPkg::Path={}:/usr/sbin:/usr/bin:/sbin:/bin", stubs.path().display());
    let mut apt_get = apt_get(&arguments, packages);
    apt_get.args(["-o", &path]).args(options);
    command::watched(apt_get, Show::Lines)
        .with_context(|| format!("cannot install the packages {}", packages.join(" ")))
}

/// Brings lists of other sources up to date.
///
/// # Errors
/// apt-get failed.
pub(crate) fn update_with(options: &[String]) -> Result<()> {
    let mut apt_get = apt_get(&["update"], &[]);
    apt_get.args(options);
    command::watched(apt_get, Show::Lines)
}

fn apt_get(arguments: &[&str], packages: &[&str]) -> Command {
    let mut apt_get = Command::new("apt-get");
    command::clean(&mut apt_get);
    apt_get
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("NEEDRESTART_SUSPEND", "1")
        .env("LC_ALL", "C")
        // Wait for another apt-get, such as the nightly one, instead of failing at once.
        .args(["-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"])
        .args(arguments)
        .args(packages.iter().map(OsStr::new));
    apt_get
}

/// Packages start their services through these programs, found by `PATH`. Stand-ins in front of them leave no
/// trace on the system, where a policy-rc.d would stay behind if this program is killed.
fn keep_services_stopped(directory: &Path) -> Result<()> {
    // Asked for the status of a service, the answer is 3, "not running"; any other order is left undone.
    const STUB: &str = "#!/bin/sh\nfor word; do [ \"$word\" = status ] && exit 3; done\nexit 0\n";
    for name in ["invoke-rc.d", "deb-systemd-invoke"] {
        let path = directory.join(name);
        fs::write(&path, STUB)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_candidate_is_read_from_the_policy() {
        let policy = "llvm-22-dev:\n  Installed: (none)\n  Candidate: 1:22.1.8-1~deb12u1\n  Version table:\n";
        assert_eq!(parse_candidate(policy), Version::parse("22.1.8"));
        assert_eq!(parse_candidate("gone:\n  Installed: (none)\n  Candidate: (none)\n"), None);
        assert_eq!(parse_candidate(""), None);
    }

    #[test]
    fn a_stand_in_reports_stopped_and_starts_nothing() {
        let directory = tempfile::tempdir().unwrap();
        keep_services_stopped(directory.path()).unwrap();
        let stub = directory.path().join("invoke-rc.d");
        let code = |arguments: &[&str]| Command::new(&stub).args(arguments).status().unwrap().code();
        assert_eq!(code(&["--quiet", "nginx", "status"]), Some(3));
        assert_eq!(code(&["nginx", "start"]), Some(0));
    }
}
