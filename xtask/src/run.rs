//! Sets up, builds and becomes the sensor.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::workspace::Workspace;
use crate::{build_ebpf, command, image, mounts, root, toolchain};

#[derive(Args)]
pub(crate) struct Options {
    /// What the sensor gets: `check …`, or the options of `run`.
    #[arg(last = true, allow_hyphen_values = true, value_name = "SENSOR ARGUMENTS")]
    arguments: Vec<OsString>,
}

pub(crate) fn run(workspace: &Workspace, options: Options) -> Result<()> {
    root::require("the sensor loads eBPF programs, which", "xtask run")?;
    mounts::ensure()?;
    build(workspace)?;
    let mut sensor = Command::new(workspace.sensor());
    command::clean(&mut sensor);
    sensor.env_remove("CARGO").args(sensor_arguments(options.arguments));
    // The sensor takes this process's place: signals reach it without a go-between.
    Err(sensor.exec()).with_context(|| format!("cannot start {}", workspace.sensor().display()))
}

/// Builds the eBPF object and the release build of the sensor that embeds it.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    build_ebpf::build(workspace, &toolchain::ensure()?)?;
    let mut cargo = image::release_build(workspace);
    command::run(&mut cargo).context("cannot build the sensor")
}

/// `run` is what is meant when no command of the sensor is named.
fn sensor_arguments(given: Vec<OsString>) -> Vec<OsString> {
    let named = given
        .first()
        .is_some_and(|first| ["run", "check", "flows", "mask"].iter().any(|name| first == OsStr::new(name)));
    if named { given } else { [OsString::from("run")].into_iter().chain(given).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(given: &[&str]) -> Vec<OsString> {
        sensor_arguments(given.iter().map(OsString::from).collect())
    }

    #[test]
    fn run_is_the_command_when_none_is_named() {
        assert_eq!(arguments(&[]), ["run"]);
        assert_eq!(arguments(&["--duration", "5s"]), ["run", "--duration", "5s"]);
        assert_eq!(arguments(&["run", "--print", "spans"]), ["run", "--print", "spans"]);
        assert_eq!(arguments(&["check", "--config", "f"]), ["check", "--config", "f"]);
        assert_eq!(arguments(&["flows"]), ["flows"]);
    }
}
