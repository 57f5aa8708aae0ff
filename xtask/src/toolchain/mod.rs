//! What the eBPF build needs: a rustc with its own library source (core is built for the BPF target), the cargo
//! beside it, and a bpf-linker whose LLVM is not older than that rustc's.
//!
//! Two routes lead there. A rustup toolchain with the `rust-src` component is taken where there is one. On
//! Debian the packages of [`debian`] bring a compiler with its source; bpf-linker is then built once a machine
//! against the packaged LLVM. Nothing that is found is installed again.

mod bitcode;
mod compiler;
mod debian;
mod linker;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};

pub(crate) use self::compiler::Compiler;
use crate::apt;
use crate::steps::Steps;

pub(crate) struct Toolchain {
    pub(crate) compiler: Compiler,
    pub(crate) linker: PathBuf,
}

/// Finds a toolchain that works, or sets one up, telling each step.
///
/// # Errors
/// Something is missing that this program cannot install; the message says what to do.
pub(crate) fn ensure() -> Result<Toolchain> {
    let mut refusals = Vec::new();
    let compilers = compiler::with_sources();
    if let Some(found) = find(&compilers, &mut refusals)? {
        return Ok(found);
    }
    for refusal in refusals {
        eprintln!("[setup] passed over: {refusal}");
    }
    if apt::available() { set_up_on_debian(&compilers) } else { set_up_elsewhere(compilers) }
}

/// The first compiler that has a linker to go with it. Each reason against a linker is kept to be told.
fn find(compilers: &[Compiler], refusals: &mut Vec<String>) -> Result<Option<Toolchain>> {
    for compiler in compilers {
        for linker in linker::candidates(compiler)? {
            match linker::probe(compiler, &linker) {
                Ok(()) => return Ok(Some(Toolchain { compiler: compiler.clone(), linker })),
                Err(reason) => refusals.push(format!("{}: {reason:#}", linker.display())),
            }
        }
    }
    Ok(None)
}

fn set_up_on_debian(compilers: &[Compiler]) -> Result<Toolchain> {
    let usable = |compiler: &&Compiler| debian::llvm_can_serve(compiler);
    // With all packages there, neither root nor the network's package lists are asked for.
    if let Some(compiler) = compilers.iter().find(usable)
        && debian::missing_llvm_packages(compiler).is_empty()
    {
        return build_linker(compiler, &debian::llvm_prefix(compiler), &mut Steps::new("setup", 1));
    }
    debian::require_root(compilers.first())?;

    let mut steps = Steps::new("setup", 4);
    steps.step("bringing the package lists up to date", apt::update)?;
    let compiler = if let Some(compiler) = compilers.iter().find(usable) {
        steps.skip(&format!("rustc {} with its library source is there", compiler.release));
        compiler.clone()
    } else {
        let text = format!("installing {}", debian::COMPILER.join(" "));
        steps.step(&text, || apt::install(&debian::COMPILER)).map_err(|error| {
            anyhow!("{error:#}\nhint: with rustup, `rustup component add rust-src` is another way")
        })?;
        debian::compiler()?
    };

    let missing = debian::missing_llvm_packages(&compiler);
    if missing.is_empty() {
        steps.skip(&format!("LLVM {} is there", compiler.llvm.major));
    } else {
        let missing: Vec<&str> = missing.iter().map(String::as_str).collect();
        steps.step(&format!("installing {}", missing.join(" ")), || apt::install(&missing))?;
    }

    // A linker may have been there all the time, without a compiler to go with it.
    if let Some(found) = find(std::slice::from_ref(&compiler), &mut Vec::new())? {
        steps.skip(&format!("{} works", found.linker.display()));
        return Ok(found);
    }
    build_linker(&compiler, &debian::llvm_prefix(&compiler), &mut steps)
}

/// Without Debian's packages the compiler must be there; LLVM's development files are named by `LLVM_PREFIX`.
fn set_up_elsewhere(compilers: Vec<Compiler>) -> Result<Toolchain> {
    let Some(compiler) = compilers.into_iter().next() else {
        bail!(
            "no rustc (at least {}) with its library source was found, and there is no apt-get to install one\n\
             hint: rustup component add rust-src",
            compiler::MINIMUM
        );
    };
    let Some(prefix) = std::env::var_os("LLVM_PREFIX").map(PathBuf::from) else {
        bail!(
            "no bpf-linker for LLVM {llvm} was found, which rustc {release} needs\n\
             hint: install the development files of LLVM {major}, not older than {llvm}, and set LLVM_PREFIX to \
             their directory (it holds bin/llvm-config); bpf-linker is then built here",
            llvm = compiler.llvm,
            release = compiler.release,
            major = compiler.llvm.major,
        );
    };
    build_linker(&compiler, &prefix, &mut Steps::new("setup", 1))
}

/// Builds bpf-linker, and makes sure that it works.
fn build_linker(compiler: &Compiler, prefix: &Path, steps: &mut Steps) -> Result<Toolchain> {
    let text = format!("building bpf-linker {} (takes a minute or more, once a machine)", linker::VERSION);
    steps.step(&text, || linker::install(compiler, prefix))?;
    let mut refusals = Vec::new();
    find(std::slice::from_ref(compiler), &mut refusals)?.with_context(|| {
        format!("the set-up is done, and yet no bpf-linker works with it: {}", refusals.join("; "))
    })
}
