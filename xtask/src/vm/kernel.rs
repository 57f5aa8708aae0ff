//! The kernels of the matrix: which there are, and how their packages are fetched, kept and unpacked.
//!
//! A kernel's folder in the cache holds its packages, `SHA256SUMS` with the checksums of the signed index, and
//! `root/`, the packages unpacked. The checksums are compared again whenever a kernel is used.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use super::way::Way;
use crate::archive::{self, Archive, Package, source};
use crate::workspace::remove_dir;

/// One kernel of the matrix, named by its series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// The oldest supported: no `bpf_loop`, no BTF of modules, memory limits count BPF maps.
    V5_10,
    /// Amazon Linux 2023 and Bottlerocket of today.
    V6_1,
    /// Amazon Linux 2023 and Bottlerocket to come.
    V6_12,
    /// Whatever is newest in the distribution: what breaks here breaks for customers next year.
    Newest,
}

/// A kernel ready to boot.
#[derive(Debug)]
pub(super) struct Unpacked {
    /// As `uname -r` says it.
    pub(super) release: String,
    /// Version of the package, as the distribution counts.
    pub(super) version: String,
    pub(super) vmlinuz: PathBuf,
    /// The folder that holds `kernel/` with the modules.
    pub(super) modules: PathBuf,
}

impl Kernel {
    pub(crate) const ALL: [Self; 4] = [Self::V5_10, Self::V6_1, Self::V6_12, Self::Newest];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V5_10 => "5.10",
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::Newest => "newest",
        }
    }

    fn suite(self) -> &'static str {
        match self {
            Self::V5_10 => "bullseye",
            Self::V6_1 => "bookworm",
            Self::V6_12 => "trixie",
            Self::Newest => "sid",
        }
    }

    /// The ways of capture that must work on this kernel. A way that stops working fails the run, rather than
    /// silently shrinking it.
    pub(super) fn ways(self) -> &'static [Way] {
        match self {
            // The socket tracepoints came with 6.3.
            Self::V5_10 | Self::V6_1 => &[Way::Fentry, Way::Syscall],
            Self::V6_12 | Self::Newest => &[Way::Fentry, Way::Socket, Way::Syscall],
        }
    }

    /// The kernel from the cache, or else from the mirror; from the mirror in any case when `refresh` is set.
    pub(super) fn unpacked(self, cache: &Path, refresh: bool) -> Result<Unpacked> {
        let dir = cache.join("kernel").join(self.name());
        if refresh || !dir.join("SHA256SUMS").exists() {
            self.fetch(cache, &dir).with_context(|| format!("fetch kernel {self}"))?;
        }
        let packages = verify(&dir).with_context(|| {
            format!("verify the packages of kernel {self}\nhint: fetch it again with `--refresh`")
        })?;
        let root = dir.join("root");
        if !root.exists() {
            let part = dir.join("root.part");
            remove_dir(&part)?;
            for package in &packages {
                archive::unpack(package, &part)?;
            }
            fs::rename(&part, &root)?;
        }
        find(&root, version(&dir)?)
    }

    fn fetch(self, cache: &Path, dir: &Path) -> Result<()> {
        let mirror = source::mirror()?;
        super::say(format!("kernel {self}: fetching from suite {} of the configured mirror", self.suite()));
        let archive = Archive::update(&cache.join("apt").join(self.suite()), &mirror, self.suite())?;
        let packages = packages(&archive)?;
        let part = dir.with_extension("part");
        remove_dir(&part)?;
        fs::create_dir_all(&part)?;
        let mut sums = String::new();
        for package in &packages {
            let file = archive.download(package, &part)?;
            let sum = sha256(&file)?;
            ensure!(
                sum == package.sha256,
                "{} has checksum {sum}, the signed index says {}",
                file.display(),
                package.sha256
            );
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            sums.push_str(&format!("{sum}  {name}\n"));
            super::say(format!("kernel {self}: {} {}", package.name, package.version));
        }
        let version = &packages[0].version;
        fs::write(part.join("SHA256SUMS"), format!("# suite {}\n# version {version}\n{sums}", self.suite()))?;
        remove_dir(dir)?;
        fs::rename(&part, dir)?;
        Ok(())
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Everything the meta package stands for that is needed to boot. Newer suites split the image from its modules.
fn packages(archive: &Archive) -> Result<Vec<Package>> {
    let wanted = |name: &str| {
        let parts = ["linux-image-", "linux-binary-", "linux-modules-", "linux-base-"];
        parts.iter().any(|p| name.starts_with(p)) && name.ends_with("-cloud-amd64")
    };
    let mut packages: Vec<Package> = Vec::new();
    let mut names = archive.show("linux-image-cloud-amd64")?.depends(wanted);
    while let Some(name) = names.pop() {
        if packages.iter().all(|p| p.name != name) {
            let package = archive.show(&name)?;
            names.extend(package.depends(wanted));
            packages.push(package);
        }
    }
    ensure!(!packages.is_empty(), "package linux-image-cloud-amd64 depends on no kernel image");
    Ok(packages)
}

/// Compares each package with its kept checksum and returns the packages.
fn verify(dir: &Path) -> Result<Vec<PathBuf>> {
    let sums = fs::read_to_string(dir.join("SHA256SUMS"))?;
    let mut packages = Vec::new();
    for line in sums.lines().filter(|l| !l.starts_with('#')) {
        let (sum, name) = line.split_once("  ").context("read SHA256SUMS: a line without a file name")?;
        let path = dir.join(name);
        let found = sha256(&path)?;
        ensure!(found == sum, "{} has checksum {found}, {sum} was kept", path.display());
        packages.push(path);
    }
    ensure!(!packages.is_empty(), "SHA256SUMS names no package");
    Ok(packages)
}

fn version(dir: &Path) -> Result<String> {
    let sums = fs::read_to_string(dir.join("SHA256SUMS"))?;
    let version = sums.lines().find_map(|l| l.strip_prefix("# version "));
    Ok(version.context("read SHA256SUMS: no version")?.to_owned())
}

/// Packages of the older suites use `/boot` and `/lib`, those of the newer ones `/usr/lib/modules` for all.
fn find(root: &Path, version: String) -> Result<Unpacked> {
    for folder in ["lib/modules", "usr/lib/modules"] {
        let Ok(mut entries) = fs::read_dir(root.join(folder)) else { continue };
        let Some(Ok(entry)) = entries.next() else { continue };
        let release = entry.file_name().to_string_lossy().into_owned();
        let modules = entry.path();
        let images = [modules.join("vmlinuz"), root.join("boot").join(format!("vmlinuz-{release}"))];
        if let Some(vmlinuz) = images.into_iter().find(|i| i.is_file()) {
            return Ok(Unpacked { release, version, vmlinuz, modules });
        }
    }
    bail!("no kernel image with modules under {}", root.display())
}

/// Lower-case hexadecimal SHA-256 of a file.
pub(super) fn sha256(path: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    io::copy(&mut file, &mut hasher).with_context(|| format!("read {}", path.display()))?;
    Ok(hasher.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("vm-kernel-{name}-{}", std::process::id()));
        remove_dir(&dir).unwrap();
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn a_changed_package_is_refused() {
        let dir = folder("changed");
        fs::write(dir.join("a.deb"), "abc").unwrap();
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        fs::write(dir.join("SHA256SUMS"), format!("# version 1-1\n{sum}  a.deb\n")).unwrap();
        assert_eq!(verify(&dir).unwrap(), [dir.join("a.deb")]);
        assert_eq!(version(&dir).unwrap(), "1-1");
        fs::write(dir.join("a.deb"), "abd").unwrap();
        assert!(verify(&dir).unwrap_err().to_string().contains("was kept"));
        remove_dir(&dir).unwrap();
    }

    #[test]
    fn a_kernel_is_found_in_the_old_and_the_new_places() {
        for (image, modules) in [
            ("boot/vmlinuz-5.10.0", "lib/modules/5.10.0"),
            ("usr/lib/modules/7.2/vmlinuz", "usr/lib/modules/7.2"),
        ] {
            let root = folder(&modules.replace('/', "-"));
            fs::create_dir_all(root.join(modules)).unwrap();
            fs::create_dir_all(root.join("boot")).unwrap();
            assert!(find(&root, "1".into()).is_err());
            fs::write(root.join(image), "").unwrap();
            let found = find(&root, "1".into()).unwrap();
            assert_eq!(found.vmlinuz, root.join(image));
            assert_eq!(found.release, modules.rsplit('/').next().unwrap());
            remove_dir(&root).unwrap();
        }
    }
}
