//! Where things are: the repository, its target directory, and the cache that outlives a clone.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use anyhow::{Context as _, Result, bail};

use crate::command;

/// Rust's name of what the sensor is built for: this machine.
pub(crate) const TARGET: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };

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

    /// Flags of rustc that keep the paths of this machine out of what it makes.
    pub(crate) fn remapped(&self) -> Vec<OsString> {
        self.renamed("--remap-path-prefix=").collect()
    }

    /// The same for the C compiler, which some dependencies call: `CFLAGS`.
    pub(crate) fn remapped_c(&self) -> OsString {
        self.renamed("-ffile-prefix-map=").collect::<Vec<_>>().join(OsStr::new(" "))
    }

    /// Flags that give directories of this machine names of their own.
    fn renamed(&self, option: &'static str) -> impl Iterator<Item = OsString> {
        let home = |name: &str, default: &str| {
            let named = env::var_os(name).map(PathBuf::from);
            named.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(default)))
        };
        // The last that fits is taken.
        let named = [
            (home("RUSTUP_HOME", ".rustup"), "/rustup"),
            (home("CARGO_HOME", ".cargo"), "/cargo"),
            (Some(self.root.clone()), "/sensor"),
        ];
        named.into_iter().filter_map(move |(path, name): (Option<PathBuf>, &str)| {
            let mut flag = OsString::from(option);
            flag.push(path?);
            flag.push("=");
            flag.push(name);
            Some(flag)
        })
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
        self.target.join(TARGET).join("release/sensor")
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

/// Removes a folder that may not be there.
///
/// # Errors
/// It is there, and stays.
pub(crate) fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The XDG specification tells programs to ignore relative paths.
fn absolute(value: Option<std::ffi::OsString>) -> Option<PathBuf> {
    value.map(PathBuf::from).filter(|path| Path::is_absolute(path))
}
