//! Packages of npm, installed once a machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command;
use crate::workspace::remove_dir;

/// Installs packages of exact versions (`name@version`) below `cache`, if they are not there; the directory that holds them, as
/// `NODE_PATH` wants it.
///
/// # Errors
/// They can't be installed.
pub(crate) fn ensure(cache: &Path, packages: &[&str]) -> Result<PathBuf> {
    let folder = format!("node-{}", packages.join("-").replace(['@', '/', '='], ""));
    // Renamed last: an installation that was cut is not taken for a whole one.
    let (folder, part) = (cache.join(&folder), cache.join(folder + ".part"));
    let modules = folder.join("node_modules");
    if packages.iter().any(|package| !modules.join(name(package)).exists()) {
        eprintln!("[npm] installing {}", packages.join(" "));
        remove_dir(&part)?;
        fs::create_dir_all(&part).with_context(|| format!("cannot make {}", part.display()))?;
        let quiet = ["install", "--silent", "--no-audit", "--no-fund", "--no-save", "--prefix"];
        command::output(Command::new("npm").args(quiet).arg(&part).args(packages))?;
        remove_dir(&folder)?;
        fs::rename(&part, &folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    Ok(modules)
}

/// `@scope/name` of `@scope/name@version`.
fn name(package: &str) -> &str {
    package.rsplit_once('@').map_or(package, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_its_version() {
        assert_eq!(name("@grpc/grpc-js@1.14.1"), "@grpc/grpc-js");
        assert_eq!(name("pino@9.0.0"), "pino");
    }
}
