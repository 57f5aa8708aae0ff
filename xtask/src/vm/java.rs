//! A Java runtime of only the modules that the tests' servers use: a fifth of a JDK, and it starts faster.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result, ensure};

use super::kernel::remove_dir;

const MODULES: &str = "java.base,java.logging,java.management,java.net.http,jdk.httpserver,jdk.crypto.ec";

/// The runtime from the cache, made where there is none of this JDK's version.
pub(super) fn runtime(cache: &Path) -> Result<PathBuf> {
    let jlink = jlink()?;
    let version = output(Command::new(&jlink).arg("--version"))?;
    let dir = cache.join(format!("java-{}", version.trim()));
    if dir.join("bin/java").exists() {
        return Ok(dir);
    }
    super::say(format!("making a Java {} runtime", version.trim()));
    let part = dir.with_extension("part");
    remove_dir(&part)?;
    let options =
        ["--strip-debug", "--no-header-files", "--no-man-pages", "--add-modules", MODULES, "--output"];
    output(Command::new(&jlink).args(options).arg(&part))?;
    // Classes mapped ready-made from an archive: under emulation this halves the time to start.
    output(Command::new(part.join("bin/java")).arg("-Xshare:dump"))?;
    remove_dir(&dir)?;
    fs::rename(&part, &dir)?;
    Ok(dir)
}

fn jlink() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|p| p.join("jlink")).find(|p| p.is_file());
    found.context("the tests need a JDK\nhint: apt-get install openjdk-17-jdk-headless")
}

fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("start {name}"))?;
    ensure!(output.status.success(), "{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
