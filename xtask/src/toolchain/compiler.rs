//! The compilers of this machine that have their own library source.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::command;
use crate::version::Version;

/// The oldest compiler that builds this workspace, from its manifest.
pub(crate) const MINIMUM: &str = env!("CARGO_PKG_RUST_VERSION");

/// Where a distribution's package puts its compiler.
const SYSTEM_SYSROOT: &str = "/usr";

#[derive(Clone, Debug)]
pub(crate) struct Compiler {
    pub(crate) rustc: PathBuf,
    pub(crate) cargo: PathBuf,
    pub(crate) release: Version,
    /// The LLVM that writes this compiler's bitcode.
    pub(crate) llvm: Version,
}

/// In order of preference: the toolchain in use, rustup's nightly, its others, the distribution's.
pub(crate) fn with_sources() -> Vec<Compiler> {
    let mut sysroots: Vec<PathBuf> = active_sysroot().into_iter().collect();
    for sysroot in rustup_toolchains().into_iter().chain([PathBuf::from(SYSTEM_SYSROOT)]) {
        if !sysroots.contains(&sysroot) {
            sysroots.push(sysroot);
        }
    }
    sysroots.iter().filter_map(|sysroot| at(sysroot)).collect()
}

/// The distribution's compiler, if it has its source.
pub(crate) fn of_the_system() -> Option<Compiler> {
    at(Path::new(SYSTEM_SYSROOT))
}

fn active_sysroot() -> Option<PathBuf> {
    let sysroot = command::output(Command::new("rustc").args(["--print", "sysroot"])).ok()?;
    Some(PathBuf::from(sysroot.trim()))
}

fn rustup_toolchains() -> Vec<PathBuf> {
    let home = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".rustup")));
    let Some(entries) = home.and_then(|home| fs::read_dir(home.join("toolchains")).ok()) else {
        return Vec::new();
    };
    let mut toolchains: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    toolchains.sort_by_key(|path| {
        let nightly = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nightly"));
        (!nightly, path.clone())
    });
    toolchains
}

/// The compiler of a sysroot, if it is whole, new enough and has the source of its own version.
fn at(sysroot: &Path) -> Option<Compiler> {
    let source = fs::canonicalize(sysroot.join("lib/rustlib/src/rust")).ok()?;
    if !source.join("library/core/src/lib.rs").exists() {
        return None;
    }
    let (rustc, cargo) = (sysroot.join("bin/rustc"), sysroot.join("bin/cargo"));
    if !cargo.exists() {
        return None;
    }
    let mut ask = Command::new(&rustc);
    command::clean(&mut ask);
    let (release, llvm) = parse_versions(&command::output(ask.arg("-vV")).ok()?)?;
    let minimum = Version::parse(MINIMUM)?;
    (release >= minimum && is_source_of(&source, release)).then_some(Compiler { rustc, cargo, release, llvm })
}

/// Debian's source directory carries its version, and the packages can be apart. Source of another version does
/// not compile.
fn is_source_of(source: &Path, release: Version) -> bool {
    let name = source.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.strip_prefix("rustc-").and_then(Version::parse).is_none_or(|version| version == release)
}

/// Reads the release and the LLVM version from `rustc -vV`.
fn parse_versions(text: &str) -> Option<(Version, Version)> {
    let field = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).and_then(Version::parse)
    };
    Some((field("release")?, field("LLVM version")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERBOSE: &str = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\n\
                           binary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.96.0\nLLVM version: 22.1.8\n";

    #[test]
    fn release_and_llvm_are_read() {
        let (release, llvm) = parse_versions(VERBOSE).unwrap();
        assert_eq!((release.to_string(), llvm.to_string()), ("1.96.0".into(), "22.1.8".into()));
    }

    #[test]
    fn a_compiler_without_llvm_is_none() {
        assert!(parse_versions("release: 1.96.0\n").is_none());
    }

    #[test]
    fn debian_source_must_be_of_the_same_version() {
        let release = Version::parse("1.96.0").unwrap();
        assert!(is_source_of(Path::new("/usr/src/rustc-1.96.0"), release));
        assert!(!is_source_of(Path::new("/usr/src/rustc-1.85.0"), release));
        // A rustup component is always of its toolchain's version, and its directory has none in its name.
        assert!(is_source_of(Path::new("/x/toolchains/nightly/lib/rustlib/src/rust"), release));
    }

    #[test]
    fn a_directory_without_source_is_passed_over() {
        let empty = tempfile::tempdir().unwrap();
        assert!(at(empty.path()).is_none());
    }
}
