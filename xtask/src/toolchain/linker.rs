//! bpf-linker: where it may be, whether it works with a compiler, and how it is built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::bitcode;
use super::compiler::Compiler;
use crate::command::{self, Show};
use crate::version::Version;
use crate::workspace;

/// The bpf-linker that is built where none is found.
pub(crate) const VERSION: &str = "0.13.0";
/// The LLVM majors for which that version has a feature.
const LLVM_MAJORS: std::ops::RangeInclusive<u32> = 21..=23;

/// A crate that needs nothing, so that it compiles without a library for the BPF target.
const PROBE: &str = "#![no_std]\n#[unsafe(no_mangle)]\npub extern \"C\" fn probe() -> u32 { 0 }\n";

pub(crate) fn supports(llvm: Version) -> bool {
    LLVM_MAJORS.contains(&llvm.major)
}

/// The linkers to try for a compiler: those on `PATH`, then the one of the cache.
pub(crate) fn candidates(compiler: &Compiler) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let cached = Some(cache_root(compiler)?.join("bin/bpf-linker")).filter(|path| path.exists());
    // A directory may be on PATH twice.
    for linker in which::which_all("bpf-linker").into_iter().flatten().chain(cached) {
        if !found.contains(&linker) {
            found.push(linker);
        }
    }
    Ok(found)
}

/// Links a tiny program of this compiler, and compares the versions of LLVM: an older one reads most bitcode of
/// a newer one, until it meets what it does not know.
///
/// # Errors
/// Why this linker must not be used with this compiler.
pub(crate) fn probe(compiler: &Compiler, linker: &Path) -> Result<()> {
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let (source, input, linked) = (
        directory.path().join("probe.rs"),
        directory.path().join("probe.bc"),
        directory.path().join("linked.bc"),
    );
    fs::write(&source, PROBE).with_context(|| format!("cannot write {}", source.display()))?;

    let mut rustc = Command::new(&compiler.rustc);
    command::clean(&mut rustc);
    rustc.args(["--crate-type=lib", "--emit=llvm-bc", "-Cpanic=abort", "-Cdebuginfo=2", "-o"]);
    command::output(rustc.arg(&input).arg(&source))?;

    let mut link = Command::new(linker);
    command::clean(&mut link);
    link.args(["--target=bpfel", "--export=probe", "--btf", "--emit=llvm-bc", "-o"]);
    command::output(link.arg(&linked).arg(&input))?;

    let bytes = fs::read(&linked).with_context(|| format!("cannot read {}", linked.display()))?;
    let Some(producer) = bitcode::producer(&bytes) else {
        bail!("its output does not say which LLVM it has");
    };
    let version = producer.strip_prefix("LLVM").and_then(Version::parse);
    match version {
        Some(version) if version >= compiler.llvm => Ok(()),
        _ => bail!("it has {producer}, older than the LLVM {} of rustc {}", compiler.llvm, compiler.release),
    }
}

/// Builds bpf-linker against the LLVM of `prefix` into the cache.
///
/// # Errors
/// No such LLVM, or cargo install failed.
pub(crate) fn install(compiler: &Compiler, prefix: &Path) -> Result<()> {
    let major = compiler.llvm.major;
    if !supports(compiler.llvm) {
        bail!(
            "bpf-linker {VERSION} cannot be built for LLVM {major}, only for {} to {}",
            LLVM_MAJORS.start(),
            LLVM_MAJORS.end()
        );
    }
    if !prefix.join("bin/llvm-config").exists() {
        bail!(
            "{} holds no bin/llvm-config\nhint: set LLVM_PREFIX to where LLVM {major} is",
            prefix.display()
        );
    }
    let feature = format!("llvm-{major}");
    let mut cargo = command::cargo();
    cargo
        .env("LLVM_PREFIX", prefix)
        // The flags and the directory of the caller's own builds are not meant for a tool.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_TARGET_DIR")
        .args(["install", "bpf-linker", "--locked", "--force", "--version", VERSION])
        .args(["--no-default-features", "--features", &feature, "--root"])
        .arg(cache_root(compiler)?);
    command::watched(cargo, Show::Lines)
}

fn cache_root(compiler: &Compiler) -> Result<PathBuf> {
    Ok(workspace::cache()?.join(format!("bpf-linker-{VERSION}-llvm-{}", compiler.llvm.major)))
}
