//! `cargo deny`: licences, sources, duplicate crates, and known vulnerabilities where their list can be had.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::suite::Suite;
use crate::command::{self, Show};
use crate::workspace::{self, Workspace};

/// The version that is built where none is found.
const VERSION: &str = "0.20.2";
/// How long the fetch of the advisory database may take: some networks drop it without an answer.
const FETCH_SECONDS: &str = "60";

pub(super) fn run(workspace: &Workspace, suite: &mut Suite) {
    const RULES: &str = "cargo deny";
    const ADVISORIES: &str = "cargo deny, advisories";
    let mut program = None;
    let found = suite.work("cargo-deny", || {
        program = Some(ensure()?);
        Ok(())
    });
    let Some(program) = program.filter(|_| found) else {
        suite.skip(RULES, "there is no cargo-deny");
        suite.skip(ADVISORIES, "there is no cargo-deny");
        return;
    };
    let deny = |arguments: &[&str]| {
        let mut deny = Command::new(&program);
        command::clean(&mut deny);
        deny.current_dir(&workspace.root).args(arguments);
        deny
    };
    suite.check(RULES, &mut deny(&["check", "bans", "licenses", "sources"]));

    let mut fetch = Command::new("timeout");
    command::clean(&mut fetch);
    fetch.current_dir(&workspace.root).arg(FETCH_SECONDS).arg(&program).args(["fetch", "db"]);
    match command::output(&mut fetch) {
        Ok(_) => drop(suite.check(ADVISORIES, &mut deny(&["check", "--disable-fetch", "advisories"]))),
        Err(_) => suite.skip(ADVISORIES, "the advisory database cannot be fetched from here"),
    }
}

/// Finds cargo-deny, or builds it once a machine.
fn ensure() -> Result<PathBuf> {
    if let Ok(program) = which::which("cargo-deny") {
        return Ok(program);
    }
    let root = workspace::cache()?.join(format!("cargo-deny-{VERSION}"));
    let program = root.join("bin/cargo-deny");
    if !program.exists() {
        eprintln!("[test] building cargo-deny {VERSION} (takes minutes, once a machine)");
        let mut cargo = command::cargo();
        cargo
            .env_remove("CARGO_TARGET_DIR")
            .args(["install", "cargo-deny", "--locked", "--version", VERSION, "--root"])
            .arg(&root);
        command::watched(cargo, Show::Lines)?;
    }
    Ok(program)
}
