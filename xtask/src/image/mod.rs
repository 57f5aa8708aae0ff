//! The container image: one static binary, the CA certificates, nothing else.
//!
//! An OCI image layout in a tar file (image-spec 1.1). It is the same, byte for byte, where the sources, the compiler,
//! Debian's C library and `SOURCE_DATE_EPOCH` are: entries are in order, belong to root and are of that time
//! (default 0, 1970), and the binary holds no path of the machine that built it.

mod binary;
mod files;
mod layout;

use std::env;
use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;

use self::files::Files;
use crate::run;
use crate::workspace::Workspace;

pub(crate) use self::binary::release_build;

#[derive(Args)]
pub(crate) struct Options {
    /// Where the archive goes; otherwise target/image/lionpay-sensor.tar.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Writes the image's files below this directory and makes no archive: for deploy/Dockerfile.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "output")]
    files: Option<PathBuf>,
}

/// Builds, writes and prints the digest of the image's index, `sha256:…`, on standard output.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    run::build(workspace)?;
    if let Some(directory) = &options.files {
        return files(workspace)?.write_below(directory);
    }
    let output = options.output.clone().unwrap_or_else(|| archive(workspace));
    let digest = layout::write(&output, &files(workspace)?, created()?)?;
    eprintln!("[image] {}", output.display());
    writeln!(io::stdout().lock(), "{digest}").context("cannot write to standard output")
}

/// Makes the archive of a release build that is there, where tests look for it.
pub(crate) fn pack(workspace: &Workspace) -> Result<()> {
    layout::write(&archive(workspace), &files(workspace)?, created()?).map(drop)
}

/// Where the archive is unless another place is named.
pub(crate) fn archive(workspace: &Workspace) -> PathBuf {
    workspace.target.join("image/lionpay-sensor.tar")
}

fn files(workspace: &Workspace) -> Result<Files> {
    let copy = workspace.target.join("image/sensor");
    binary::stripped(&workspace.sensor(), &copy)?;
    binary::require_static(&copy)?;
    Files::of(&copy)
}

/// Seconds of the Unix epoch that all times in the image are, by the convention of reproducible builds.
fn created() -> Result<u64> {
    match env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => {
            text.parse().with_context(|| format!("SOURCE_DATE_EPOCH is no number of seconds: {text:?}"))
        }
        Err(_) => Ok(0),
    }
}
