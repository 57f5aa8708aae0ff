//! The names of Debian's packages for the eBPF build.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::compiler::{self, Compiler};
use super::linker;
use crate::version::Version;
use crate::{apt, root};

/// A current compiler with its library source; Debian keeps it current for the browsers.
pub(crate) const COMPILER: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// The compiler that the packages brought.
///
/// # Errors
/// The release of Debian has an older compiler than the workspace needs.
pub(crate) fn compiler() -> Result<Compiler> {
    let Some(compiler) = compiler::of_the_system() else {
        bail!(
            "the packages {} are installed, but hold no rustc of at least {} with its library source\n\
             hint: rustup component add rust-src",
            COMPILER.join(" "),
            compiler::MINIMUM
        );
    };
    if !linker::supports(compiler.llvm) {
        bail!(
            "rustc {} has LLVM {}, for which bpf-linker {} cannot be built\nhint: a newer bpf-linker may: see \
             the constants in xtask/src/toolchain/linker.rs",
            compiler.release,
            compiler.llvm,
            linker::VERSION
        );
    }
    Ok(compiler)
}

/// Whether bpf-linker can be built here for this compiler.
pub(crate) fn llvm_can_serve(compiler: &Compiler) -> bool {
    linker::supports(compiler.llvm) && apt::candidate(&llvm_package(compiler.llvm)) >= Some(compiler.llvm)
}

/// What bpf-linker is built with, as far as it is not installed.
pub(crate) fn missing_llvm_packages(compiler: &Compiler) -> Vec<String> {
    let mut packages = llvm_packages(compiler);
    packages.retain(|package| !apt::is_installed(package));
    packages
}

fn llvm_packages(compiler: &Compiler) -> Vec<String> {
    let polly = format!("libpolly-{}-dev", compiler.llvm.major);
    vec![llvm_package(compiler.llvm), polly, String::from("zlib1g-dev"), String::from("libzstd-dev")]
}

/// # Errors
/// The caller is not root. The message has what root is to type, then the set-up goes on without root.
pub(crate) fn require_root(compiler: Option<&Compiler>) -> Result<()> {
    if root::is_root() {
        return Ok(());
    }
    let packages = match compiler {
        Some(compiler) => missing_llvm_packages(compiler),
        None => COMPILER.map(String::from).to_vec(),
    };
    let line = format!("apt-get install --no-install-recommends --no-remove {}", packages.join(" "));
    bail!(
        "the eBPF build needs packages, and their installation needs root\n\
         hint: run this command once as root: {}\n\
         hint: or type: sudo apt-get update && sudo {line}",
        root::sudo("cargo xtask build-ebpf")
    );
}

/// Where the package puts LLVM.
pub(crate) fn llvm_prefix(compiler: &Compiler) -> PathBuf {
    PathBuf::from(format!("/usr/lib/llvm-{}", compiler.llvm.major))
}

fn llvm_package(llvm: Version) -> String {
    format!("llvm-{}-dev", llvm.major)
}
