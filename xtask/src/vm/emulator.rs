//! The emulator's package.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::archive::source;
use crate::steps::Steps;
use crate::{apt, root, servers};

const PACKAGE: &str = "qemu-system-x86";

/// Installs the emulator where there is none.
///
/// A machine that has another part of qemu from its release's backports can take this one from there only: the release's own
/// would have to remove that part.
///
/// # Errors
/// It cannot be installed from the release, nor from its backports.
pub(super) fn ensure() -> Result<()> {
    let Err(error) = servers::ensure(&[servers::QEMU]) else { return Ok(()) };
    if !apt::available() || !root::is_root() {
        return Err(error);
    }
    eprintln!("[vm] not from the release itself: {error:#}");
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let suite = source::backports()?;
    let options = options(directory.path(), &suite)?;
    let mut steps = Steps::new("vm", 2);
    steps.step(&format!("reading the package lists of {suite}"), || apt::update_with(&options))?;
    steps.step(&format!("installing {PACKAGE} from {suite}"), || apt::install_with(&[PACKAGE], &options))
}

/// The machine's own sources and one suite more, for one call of apt-get: the machine's configuration stays as it is.
fn options(directory: &Path, suite: &str) -> Result<Vec<String>> {
    let parts = directory.join("parts");
    fs::create_dir_all(&parts).and_then(|()| fs::create_dir_all(directory.join("lists/partial")))?;
    for (index, path) in source::source_files()?.iter().filter(|path| path.exists()).enumerate() {
        let form = path.extension().unwrap_or_default().to_string_lossy();
        let copy = parts.join(format!("{index}.{form}"));
        fs::copy(path, &copy).with_context(|| format!("copy {}", path.display()))?;
    }
    fs::write(parts.join("backports.sources"), source::mirror()?.source(suite))?;
    let settings = [
        "Dir::Etc::sourcelist=/dev/null".to_owned(),
        format!("Dir::Etc::sourceparts={}", parts.display()),
        format!("Dir::State::lists={}", directory.join("lists").display()),
        "Dir::Cache::pkgcache=".to_owned(),
        "Dir::Cache::srcpkgcache=".to_owned(),
        // apt's own unprivileged user cannot enter the directory.
        "APT::Sandbox::User=root".to_owned(),
        format!("APT::Default-Release={suite}"),
    ];
    Ok(settings.into_iter().flat_map(|setting| ["-o".to_owned(), setting]).collect())
}
