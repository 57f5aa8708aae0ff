//! Builds the eBPF object and puts it where `sensor/build.rs` looks for it.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use object::build::elf::{Builder, SectionData};

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
    let bytes = without_dwarf(&bytes).with_context(|| format!("{} is no object file", built.display()))?;
    install(&bytes, object)
}

/// The object without DWARF, which is three quarters of it and would be in the sensor's memory: the kernel and the daemon
/// read BTF. Cargo's own output keeps it.
fn without_dwarf(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object)?;
    for section in &mut builder.sections {
        section.delete |= section.name.starts_with(b".debug_") || section.name.starts_with(b".rel.debug_");
    }
    builder.delete_orphans();
    // LLVM puts the names of sections among those of symbols.
    if !builder.sections.iter().any(|section| matches!(section.data, SectionData::SectionString)) {
        let section = builder.sections.add();
        section.name = b".shstrtab".as_slice().into();
        section.sh_type = object::elf::SHT_STRTAB;
        section.sh_addralign = 1;
        section.data = SectionData::SectionString;
    }
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
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
    #[test]
    fn dwarf_is_left_out_and_btf_is_not() {
        use object::write::{Object, Relocation, SymbolSection};
        use object::{Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind};

        let mut whole = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
        for name in [".text", ".BTF", ".debug_info"] {
            let kind = if name == ".text" { SectionKind::Text } else { SectionKind::Debug };
            let id = whole.add_section(Vec::new(), name.into(), kind);
            whole.append_section_data(id, name.as_bytes().repeat(8).as_slice(), 8);
            let symbol = whole.section_symbol(id);
            assert_eq!(whole.symbol(symbol).section, SymbolSection::Section(id));
            let flags = RelocationFlags::Elf { r_type: object::elf::R_BPF_64_64 };
            whole.add_relocation(id, Relocation { offset: 0, symbol, addend: 0, flags }).unwrap();
        }
        let stripped = without_dwarf(&whole.write().unwrap()).unwrap();
        let kept = Builder::read(stripped.as_slice()).unwrap();
        let names: Vec<_> = kept.sections.iter().map(|section| section.name.to_string()).collect();
        for name in [".text", ".BTF", ".rel.text", ".rel.BTF"] {
            assert!(names.iter().any(|kept| kept == name), "{names:?} without {name}");
        }
        assert!(!names.iter().any(|kept| kept.contains("debug")), "{names:?}");
    }
}
