//! The guest's disk: a file system with the programs of the tests, made without root and kept by its content.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use super::kernel::sha256;
use super::program::Files;
use crate::workspace::remove_dir;

/// Room on the disk for what tests write, beside the programs. In bytes; the image is sparse.
const ROOM: u64 = 1 << 30;
/// Changes with the layout of the disk, so that a disk of an older xtask is not used.
const LAYOUT: &str = "2";
/// Folders that init mounts over, or programs expect.
const FOLDERS: [&str; 12] = [
    "dev",
    "proc",
    "sys",
    "run",
    "tmp",
    "root",
    "payload",
    "var/log/nginx",
    "var/lib/nginx/body",
    "var/cache",
    "var/tmp",
    "etc",
];
/// A merged /usr, as Debian has it: libraries and scripts are named by either path.
const LINKS: [(&str, &str); 7] = [
    ("bin", "usr/bin"),
    ("sbin", "usr/bin"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
    ("usr/sbin", "bin"),
    ("var/run", "/run"),
    ("etc/mtab", "/proc/mounts"),
];

/// The disk with these files, from the cache where there is one with the same content.
pub(super) fn image(cache: &Path, files: &Files) -> Result<PathBuf> {
    let dir = cache.join("disk");
    fs::create_dir_all(&dir)?;
    let image = dir.join(format!("{}.ext4", content(files)?));
    if image.exists() {
        return Ok(image);
    }
    super::say(format!("making the guest's disk of {} files", files.len()));
    let root = dir.join("root.part");
    remove_dir(&root)?;
    let size = stage(&root, files)?;
    let part = image.with_extension("part");
    make(&root, &part, size + size / 4 + ROOM)?;
    remove_dir(&root)?;
    for entry in fs::read_dir(&dir)? {
        let old = entry?.path();
        if old != part {
            fs::remove_file(&old).with_context(|| format!("remove {}", old.display()))?;
        }
    }
    fs::rename(&part, &image)?;
    Ok(image)
}

/// A name for the content: every path with the checksum of what is in it.
fn content(files: &Files) -> Result<String> {
    let mut hasher = Sha256::new();
    hasher.update(LAYOUT);
    for (guest, here) in files {
        hasher.update(format!("{} {}\n", sha256(here)?, guest.display()));
    }
    Ok(hasher.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect())
}

/// Copies the files under a folder and returns their size in bytes.
fn stage(root: &Path, files: &Files) -> Result<u64> {
    for folder in FOLDERS.iter().chain(&["usr/bin", "usr/lib", "usr/lib64"]) {
        fs::create_dir_all(root.join(folder))?;
    }
    for (link, target) in LINKS {
        std::os::unix::fs::symlink(target, root.join(link))?;
    }
    let mut size = 0;
    for (guest, here) in files {
        let to = root.join(guest.strip_prefix("/").unwrap_or(guest));
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        }
        size += fs::copy(here, &to).with_context(|| format!("copy {}", here.display()))?;
    }
    fs::write(root.join("etc/hostname"), "guest\n")?;
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost guest\n::1 localhost\n")?;
    Ok(size)
}

fn make(root: &Path, image: &Path, size: u64) -> Result<()> {
    let file = fs::File::create(image)?;
    file.set_len(size)?;
    // Without a journal and checksums: the disk is thrown away after each run.
    let output = Command::new("mke2fs")
        .args([
            "-q",
            "-F",
            "-t",
            "ext4",
            "-O",
            "^has_journal,^metadata_csum",
            "-E",
            "root_owner=0:0",
            "-m",
            "0",
        ])
        .arg("-d")
        .args([root, image])
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .output()
        .context("start mke2fs\nhint: apt-get install e2fsprogs")?;
    ensure!(output.status.success(), "mke2fs failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_follows_content_and_place() {
        let dir = std::env::temp_dir().join(format!("vm-image-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join("a");
        let name = |text: &str, guest: &str| {
            fs::write(&file, text).unwrap();
            content(&Files::from([(PathBuf::from(guest), file.clone())])).unwrap()
        };
        let first = name("one", "/usr/bin/a");
        assert_eq!(first, name("one", "/usr/bin/a"));
        assert_ne!(first, name("two", "/usr/bin/a"));
        assert_ne!(first, name("one", "/usr/bin/b"));
        fs::remove_dir_all(&dir).unwrap();
    }
}
