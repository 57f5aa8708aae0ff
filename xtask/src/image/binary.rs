//! The sensor as a program that needs no other file.
//!
//! It is linked with Debian's static C library: Rust's own musl targets would have to be fetched, and names are
//! looked up by glibc alone: since 2.34 `files` and `dns` are built in, so `getaddrinfo` reads /etc/hosts and
//! /etc/resolv.conf and loads nothing.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::command;
use crate::workspace::Workspace;

/// An architecture that images are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arch {
    X86_64,
    Aarch64,
}

impl Arch {
    /// This machine's.
    pub(crate) const HOST: Self = if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 };

    /// Rust's name of the target.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// The name in image indexes, which is Go's.
    pub(super) fn oci(self) -> oci_spec::image::Arch {
        match self {
            Self::X86_64 => oci_spec::image::Arch::Amd64,
            Self::Aarch64 => oci_spec::image::Arch::ARM64,
        }
    }
}

/// Builds the release profile for `arch` with these eBPF programs in it; where the binary is.
pub(crate) fn build(workspace: &Workspace, arch: Arch, object: &Path) -> Result<PathBuf> {
    let target = arch.target();
    let mut cargo = workspace.cargo();
    cargo
        // Named, so that the flags are for the sensor alone and not for the compiler's plug-ins.
        .args(["build", "--release", "--package", "sensor", "--target", target])
        .env("CARGO_ENCODED_RUSTFLAGS", flags(workspace)?)
        // Function names stay for profiles and backtraces; line tables are several times the program.
        .env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo")
        .env("SENSOR_EBPF_OBJECT", object);
    command::run(&mut cargo).context("cannot build the static binary")?;
    Ok(workspace.target.join(target).join("release/sensor"))
}

fn flags(workspace: &Workspace) -> Result<OsString> {
    let mut flags = OsString::from("-Ctarget-feature=+crt-static");
    for flag in workspace.remapped()? {
        flags.push("\x1f");
        flags.push(flag);
    }
    Ok(flags)
}

/// # Errors
/// It asks for a dynamic linker, which the image has not.
pub(super) fn require_static(binary: &Path) -> Result<()> {
    let bytes = fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    match has_interpreter(&bytes) {
        Some(false) => Ok(()),
        Some(true) => bail!("{} is linked dynamically", binary.display()),
        None => bail!("{} is no 64-bit little-endian ELF program", binary.display()),
    }
}

/// Whether an ELF file has a program header of type `PT_INTERP` (elf(5)); `None` when it is no such file.
fn has_interpreter(elf: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, width: usize| -> Option<usize> {
        let bytes = elf.get(at..at.checked_add(width)?)?;
        bytes.iter().rev().try_fold(0_usize, |sum, byte| Some(sum.checked_mul(256)? + usize::from(*byte)))
    };
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (table, width, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for index in 0..count {
        let kind = number(table.checked_add(index.checked_mul(width)?)?, 4)?;
        if kind == PT_INTERP as usize {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_asks_for_a_linker_is_refused() {
        let shell = fs::read("/bin/sh").unwrap();
        assert_eq!(has_interpreter(&shell), Some(true));
        assert_eq!(has_interpreter(b"#!/bin/sh\n"), None);
        assert_eq!(has_interpreter(b"\x7fELF\x02\x01"), None);
        let error = require_static(Path::new("/bin/sh")).unwrap_err().to_string();
        assert!(error.contains("dynamically"), "{error}");
    }
}
