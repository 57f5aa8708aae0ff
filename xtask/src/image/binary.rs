//! The sensor as a program that needs no other file: what is run, tested, measured and shipped is the same build.
//!
//! It is linked with Debian's static C library: Rust's own musl targets would have to be fetched. Names are looked up by
//! glibc alone: since 2.34 `files` and `dns` are built in, so `getaddrinfo` reads /etc/hosts and /etc/resolv.conf and
//! loads nothing.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command;
use crate::workspace::{TARGET, Workspace};

/// The cargo command of the release build.
pub(crate) fn release_build(workspace: &Workspace) -> Command {
    let mut flags = OsString::from("-Ctarget-feature=+crt-static");
    for flag in workspace.remapped() {
        flags.push("\x1f");
        flags.push(flag);
    }
    let mut cargo = workspace.cargo();
    cargo
        // The target is named, so that the flags are for the sensor and not for the compiler's plug-ins.
        .args(["build", "--release", "--package", "sensor", "--target", TARGET])
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env("CFLAGS", workspace.remapped_c())
        .env("SENSOR_EBPF_OBJECT", workspace.ebpf_object());
    cargo
}

/// A copy without line tables, which are several times the program. Function names stay, for profiles and backtraces.
pub(super) fn stripped(binary: &Path, copy: &Path) -> Result<()> {
    if let Some(directory) = copy.parent() {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    command::output(Command::new("strip").arg("--strip-debug").arg("-o").args([copy, binary])).map(drop)
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
