//! Debian packages of any suite, through apt with a state directory of its own.
//!
//! The machine's own package state is neither read nor changed. Signatures of the index and checksums of the
//! packages are apt's work; what is not signed by a key this machine trusts is refused.

pub(crate) mod source;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use self::source::Mirror;
use crate::command;

/// One package as the signed index describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Of the .deb file, lower-case hexadecimal.
    pub(crate) sha256: String,
    depends: Vec<String>,
}

/// apt for one suite of one mirror, its state under one directory.
pub(crate) struct Archive {
    dir: PathBuf,
}

impl Archive {
    /// Fetches and verifies the suite's index.
    pub(crate) fn update(dir: &Path, mirror: &Mirror, suite: &str) -> Result<Self> {
        fs::create_dir_all(dir.join("lists/partial"))?;
        fs::create_dir_all(dir.join("cache/archives/partial"))?;
        fs::write(dir.join("mirror.sources"), mirror.source(suite))?;
        fs::write(dir.join("status"), "")?;
        let archive = Self { dir: dir.to_owned() };
        command::output(archive.command("apt-get").arg("update")).with_context(|| {
            format!(
                "read the index of suite {suite} from the configured mirror\n\
                 hint: if its signature is by a key unknown here, upgrade the package debian-archive-keyring; \
                 if the suite is gone, it has moved to an archive mirror"
            )
        })?;
        Ok(archive)
    }

    /// What the index says of a package; the newest version where there are several.
    pub(crate) fn show(&self, name: &str) -> Result<Package> {
        let text = command::output(self.command("apt-cache").args(["show", "--no-all-versions", name]))?;
        Package::parse(&text).with_context(|| format!("read the index entry of package {name}"))
    }

    /// Downloads one package into a directory and returns its path. apt compares the checksum with the index.
    pub(crate) fn download(&self, package: &Package, into: &Path) -> Result<PathBuf> {
        let wanted = format!("{}={}", package.name, package.version);
        command::output(self.command("apt-get").args(["download", &wanted]).current_dir(into))?;
        // The version in the name is escaped by apt's own rules, so only the package's name is compared.
        let prefix = format!("{}_", package.name);
        let file = fs::read_dir(into)?
            .filter_map(|e| Some(e.ok()?.path()))
            .find(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&prefix)));
        file.with_context(|| format!("find the file of package {wanted} in {}", into.display()))
    }

    fn command(&self, program: &str) -> Command {
        let dir = self.dir.display();
        let mut command = Command::new(program);
        for option in [
            format!("Dir::Etc::sourcelist={dir}/mirror.sources"),
            "Dir::Etc::sourceparts=/dev/null".into(),
            "Dir::Etc::preferences=/dev/null".into(),
            "Dir::Etc::preferencesparts=/dev/null".into(),
            format!("Dir::State::lists={dir}/lists"),
            format!("Dir::State::status={dir}/status"),
            format!("Dir::Cache={dir}/cache"),
            "APT::Architecture=amd64".into(),
            "APT::Update::Error-Mode=any".into(),
            "APT::Get::AllowUnauthenticated=false".into(),
            "Acquire::AllowInsecureRepositories=false".into(),
            "Acquire::Languages=none".into(),
            // apt's own unprivileged user cannot enter a home directory.
            "APT::Sandbox::User=root".into(),
        ] {
            command.args(["-o", &option]);
        }
        command.env("LC_ALL", "C").arg("-q");
        command
    }
}

impl Package {
    /// The packages it depends on, first alternative of each, whose name passes.
    pub(crate) fn depends(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        self.depends.iter().filter(|d| wanted(d)).cloned().collect()
    }

    fn parse(text: &str) -> Option<Self> {
        let stanza = text.split("\n\n").next()?;
        let field = |name: &str| {
            let line = stanza.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": "));
            line.map(str::to_owned)
        };
        Some(Self {
            name: field("Package")?,
            version: field("Version")?,
            sha256: field("SHA256")?,
            depends: field("Depends").unwrap_or_default().split(',').filter_map(first_name).collect(),
        })
    }
}

/// Unpacks a package's file.
///
/// # Errors
/// It is none, or there is no room.
pub(crate) fn unpack(file: &Path, into: &Path) -> Result<()> {
    command::output(Command::new("dpkg-deb").arg("-x").args([file, into])).map(drop)
}

/// `a (>= 1) | b` is `a`.
fn first_name(dependency: &str) -> Option<String> {
    let name = dependency.split('|').next()?.split_whitespace().next()?;
    Some(name.split(':').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = "Package: linux-image-cloud-amd64\nVersion: 7.2.13-1\n\
        Depends: linux-base-cloud-amd64 (= 7.2.13-1), linux-image-7.2.13-cloud-amd64 (= 7.2.13-1), a | b\n\
        SHA256: 00ff\n\nPackage: other\n";

    #[test]
    fn an_index_entry_is_read() {
        let package = Package::parse(ENTRY).unwrap();
        assert_eq!(package.version, "7.2.13-1");
        assert_eq!(package.sha256, "00ff");
        assert_eq!(package.depends(|d| d.starts_with("linux-image")), ["linux-image-7.2.13-cloud-amd64"]);
        assert_eq!(package.depends(|d| d == "a").len(), 1);
    }

    #[test]
    fn an_entry_without_a_checksum_is_no_package() {
        assert_eq!(Package::parse("Package: a\nVersion: 1\n"), None);
    }
}
