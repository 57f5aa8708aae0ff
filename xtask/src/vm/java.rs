//! A Java runtime of only the modules that the tests' servers use: a fifth of a JDK, and it starts faster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::command;
use crate::workspace::remove_dir;

const MODULES: &str = "java.base,java.logging,java.management,java.net.http,jdk.httpserver,jdk.crypto.ec";

/// The runtime from the cache, made where there is none of this JDK's version.
pub(super) fn runtime(cache: &Path) -> Result<PathBuf> {
    let version = command::output(Command::new("jlink").arg("--version"))?;
    let dir = cache.join(format!("java-{}", version.trim()));
    if dir.join("bin/java").exists() {
        return Ok(dir);
    }
    super::say(format!("making a Java {} runtime", version.trim()));
    let part = dir.with_extension("part");
    remove_dir(&part)?;
    let options =
        ["--strip-debug", "--no-header-files", "--no-man-pages", "--add-modules", MODULES, "--output"];
    command::output(Command::new("jlink").args(options).arg(&part))?;
    // Classes mapped ready-made from an archive: under emulation this halves the time to start.
    command::output(Command::new(part.join("bin/java")).arg("-Xshare:dump"))?;
    remove_dir(&dir)?;
    fs::rename(&part, &dir)?;
    Ok(dir)
}
