//! Packages of PyPI, installed once a machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command;

/// Installs packages of exact versions (`name==version`) below `cache`, if they are not there, with these options of pip; the
/// virtual environment that holds them.
///
/// # Errors
/// They can't be installed.
pub(crate) fn ensure(cache: &Path, packages: &[&str], options: &[&str]) -> Result<PathBuf> {
    let folder = cache.join(format!("python-{}", packages.join("-").replace('=', "")));
    // Written last: without it an installation was cut.
    let whole = folder.join("installed");
    if !whole.exists() {
        eprintln!("[pip] installing {}", packages.join(" "));
        command::output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        let quiet = ["install", "--quiet", "--disable-pip-version-check"];
        let pip = folder.join("bin/pip");
        command::output(Command::new(pip).args(quiet).args(options).args(packages))?;
        fs::write(&whole, "").with_context(|| format!("cannot write {}", whole.display()))?;
    }
    Ok(folder)
}

/// Where a virtual environment has its packages.
///
/// # Errors
/// It is none.
pub(crate) fn modules(environment: &Path) -> Result<PathBuf> {
    let script = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let path = command::output(Command::new(environment.join("bin/python")).args(["-c", script]))?;
    Ok(PathBuf::from(path.trim()))
}
