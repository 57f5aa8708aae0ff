//! Where things are: the repository, its target directory, and the cache that outlives a clone.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::command;

pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Cargo's target directory, absolute, wherever the configuration puts it.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Asks cargo, in the caller's directory, so that `CARGO_TARGET_DIR` and configuration files count.
    pub(crate) fn find() -> Result<Self> {
        let mut cargo = command::cargo();
        cargo.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]);
        cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        let output = cargo.output().context("cannot start cargo metadata")?;
        if !output.status.success() {
            bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let metadata: serde_json::Value =
            serde_json::from_slice(&output.stdout).context("cargo metadata did not print JSON")?;
        let path = |key: &str| -> Result<PathBuf> {
            let value = metadata[key].as_str().with_context(|| format!("cargo metadata has no {key}"))?;
            Ok(PathBuf::from(value))
        };
        Ok(Self { root: path("workspace_root")?, target: path("target_directory")? })
    }

    /// A cargo command in the workspace root that uses the same target directory.
    pub(crate) fn cargo(&self) -> std::process::Command {
        let mut cargo = command::cargo();
        cargo.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        cargo
    }

    /// Where the eBPF programs are compiled: their own directory, so that the two kinds of build never wait
    /// for each other's lock.
    pub(crate) fn ebpf_target(&self) -> PathBuf {
        self.target.join("bpf")
    }

    /// The eBPF object that `sensor/build.rs` embeds.
    pub(crate) fn ebpf_object(&self) -> PathBuf {
        self.ebpf_target().join("sensor-ebpf.o")
    }

    /// The release build of the sensor.
    pub(crate) fn sensor(&self) -> PathBuf {
        self.target.join("release/sensor")
    }
}

/// The directory for tools that are built once a machine, not once a clone.
///
/// # Errors
/// Neither `XDG_CACHE_HOME` nor `HOME` is set.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = match absolute(env::var_os("XDG_CACHE_HOME")) {
        Some(base) => base,
        None => absolute(env::var_os("HOME"))
            .context("neither XDG_CACHE_HOME nor HOME is set\nhint: set HOME")?
            .join(".cache"),
    };
    Ok(base.join("lionpay-sensor"))
}

/// The XDG specification tells programs to ignore relative paths.
fn absolute(value: Option<std::ffi::OsString>) -> Option<PathBuf> {
    value.map(PathBuf::from).filter(|path| Path::is_absolute(path))
}
