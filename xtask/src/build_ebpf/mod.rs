//! Builds the eBPF object and puts it where `sensor/build.rs` looks for it.

mod dwarf;

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::command;
use crate::toolchain::{self, Toolchain};
use crate::workspace::Workspace;

const PACKAGE: &str = "sensor-ebpf";
const TARGET: &str = "bpfel-unknown-none";
const PROFILE: &str = "bpf";

/// Builds, and prints the object's path on standard output.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let object = build(workspace, &toolchain::ensure()?)?;
    writeln!(io::stdout().lock(), "{}", object.display()).context("cannot write to standard output")
}

/// Compiles the programs and returns the object's path. The file is written only when its bytes changed, so that
/// cargo does not build the sensor again for nothing.
pub(crate) fn build(workspace: &Workspace, toolchain: &Toolchain) -> Result<PathBuf> {
    let object = workspace.ebpf_object();
    build_with(workspace, toolchain, &[], &object)?;
    Ok(object)
}

/// Compiles what `cargo xtask bench mask` measures, which no sensor embeds, and returns the object's path.
pub(crate) fn build_for_bench(workspace: &Workspace, toolchain: &Toolchain) -> Result<PathBuf> {
    let object = workspace.ebpf_target().join("sensor-ebpf-bench.o");
    build_with(workspace, toolchain, &["--features", "bench"], &object)?;
    Ok(object)
}

fn build_with(workspace: &Workspace, toolchain: &Toolchain, features: &[&str], object: &Path) -> Result<()> {
    let target = workspace.ebpf_target();
    let mut flags = rustflags(&toolchain.linker).to_vec();
    flags.extend(workspace.remapped());
    let mut cargo = std::process::Command::new(&toolchain.compiler.cargo);
    command::clean(&mut cargo);
    for name in
        ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "CARGO_TARGET_DIR"]
    {
        cargo.env_remove(name);
    }
    cargo
        .current_dir(&workspace.root)
        .env("RUSTC", &toolchain.compiler.rustc)
        // `-Z build-std` is refused by a stable compiler otherwise.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join(OsStr::new("\x1f")))
        .args(["build", "--package", PACKAGE, "--bins", "-Z", "build-std=core"])
        .args(["--target", TARGET, "--profile", PROFILE, "--target-dir"])
        .arg(&target)
        .args(features);
    command::run(&mut cargo).context("cannot build the eBPF programs")?;

    let built = target.join(TARGET).join(PROFILE).join(PACKAGE);
    let bytes = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    let bytes = dwarf::without(&bytes).with_context(|| format!("{} is no object file", built.display()))?;
    install(&bytes, object)
}

/// The flags of every crate, core included: BTF needs each one's debug information.
fn rustflags(linker: &Path) -> [std::ffi::OsString; 4] {
    let mut with_linker = std::ffi::OsString::from("-Clinker=");
    with_linker.push(linker);
    // aya-ebpf lays out the registers by the architecture of the kernel, not by the BPF target's.
    let architecture = format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH);
    [architecture.into(), "-Cdebuginfo=2".into(), "-Clink-arg=--btf".into(), with_linker]
}

/// Writes atomically, and not at all when the bytes are the same.
fn install(bytes: &[u8], to: &Path) -> Result<()> {
    if fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let directory = to.parent().unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(bytes)?;
        // Temporary files are the owner's alone; this one is for whoever builds next.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(mode)?;
        file.persist(to).map_err(|error| error.error)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_leave_the_file_alone() {
        let directory = tempfile::tempdir().unwrap();
        let to = directory.path().join("to");
        install(b"one", &to).unwrap();
        let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        fs::File::options().write(true).open(&to).unwrap().set_modified(long_ago).unwrap();

        install(b"one", &to).unwrap();
        assert_eq!(fs::metadata(&to).unwrap().modified().unwrap(), long_ago);

        install(b"two", &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"two");
        assert_ne!(fs::metadata(&to).unwrap().modified().unwrap(), long_ago);
    }
}
