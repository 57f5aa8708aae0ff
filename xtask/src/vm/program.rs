//! The programs that the tests in the guest run: found on this machine, with every library they need.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

/// Servers, clients and tools of the tests.
const PROGRAMS: &[&str] = &[
    "nginx",
    "wrk",
    "curl",
    "nghttpd",
    "nghttpx",
    "nghttp",
    "h2load",
    "python3",
    "node",
    "openssl",
    "bpftool",
    "bash",
    "ip",
    "ss",
    "unshare",
    "nsenter",
    "dnsmasq",
    "dig",
    "getent",
    "nft",
    "setpriv",
    "gunicorn",
    "redis-server",
    "redis-cli",
];

/// Where Debian's packages add to Python, and how the names of what the tests need of it begin.
const PYTHON_PACKAGES: (&str, [&str; 3]) =
    ("/usr/lib/python3/dist-packages", ["grpc", "gunicorn", "pkg_resources"]);

/// What scripts take for granted.
const BASICS: &[&str] = &[
    "sh", "awk", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "df", "dmesg", "env", "false", "find",
    "grep", "head", "hostname", "id", "kill", "ln", "ls", "mkdir", "mkfifo", "mktemp", "mount", "mv",
    "nproc", "ps", "pwd", "readlink", "rm", "rmdir", "sed", "seq", "setsid", "sleep", "sort", "stat", "stty",
    "sync", "tail", "taskset", "tee", "test", "timeout", "touch", "tr", "true", "umount", "uname", "uniq",
    "wc", "which", "xargs", "yes",
];

/// Configuration that the programs read, where it is there.
const FILES: &[&str] = &[
    "/etc/group",
    "/etc/host.conf",
    "/etc/mime.types",
    "/etc/nginx",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/openssl.cnf",
    "/usr/lib/ssl",
];

/// The places of a Debian system, before what a developer has put in `PATH`: wrappers of version managers do not
/// work without the home directory.
const PLACES: [&str; 3] = ["/usr/sbin", "/usr/bin", "/usr/local/bin"];

/// Files of the guest's disk: path in the guest → file here.
pub(super) type Files = BTreeMap<PathBuf, PathBuf>;

/// The programs, their libraries and their data; `also` are further binaries whose libraries must be there.
pub(super) fn files(java: &Path, also: &[PathBuf]) -> Result<Files> {
    let mut files = Files::new();
    for name in PROGRAMS.iter().chain(BASICS) {
        let path =
            find(name).with_context(|| format!("the tests need the program {name}, which is not here"))?;
        add(&mut files, &Path::new("/usr/bin").join(name), &path)?;
    }
    for path in FILES.iter().map(Path::new).filter(|p| p.exists()) {
        tree(&mut files, path, path)?;
    }
    tree(&mut files, Path::new("/opt/java"), java)?;
    let stdlib = python_library()?;
    tree(&mut files, &stdlib, &stdlib)?;
    let (packages, needed) = PYTHON_PACKAGES;
    for entry in fs::read_dir(packages).with_context(|| format!("read {packages}"))? {
        let entry = entry?;
        if needed.iter().any(|start| entry.file_name().to_string_lossy().starts_with(start)) {
            tree(&mut files, &entry.path(), &entry.path())?;
        }
    }
    libraries(&mut files, also)?;
    Ok(files)
}

fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = PLACES.iter().map(PathBuf::from).chain(env::split_paths(&path));
    places.map(|p| p.join(name)).find(|p| p.is_file())
}

fn add(files: &mut Files, guest: &Path, here: &Path) -> Result<()> {
    let here = here.canonicalize().with_context(|| format!("find {}", here.display()))?;
    files.insert(guest.to_owned(), here);
    Ok(())
}

/// Adds a folder with all in it. Compiled Python and Python's own tests are left out: half of the size.
fn tree(files: &mut Files, guest: &Path, here: &Path) -> Result<()> {
    const LEFT_OUT: [&str; 6] = ["test", "idlelib", "lib2to3", "tkinter", "ensurepip", "dist-packages"];
    if !here.is_dir() {
        // A link to nowhere is not worth a failure: package configuration has some.
        return if here.exists() { add(files, guest, here) } else { Ok(()) };
    }
    for entry in fs::read_dir(here).with_context(|| format!("read {}", here.display()))? {
        let name = entry?.file_name();
        if LEFT_OUT.iter().all(|l| name != *l) {
            tree(files, &guest.join(&name), &here.join(&name))?;
        }
    }
    Ok(())
}

fn python_library() -> Result<PathBuf> {
    let python = find("python3").context("find program python3")?;
    let script = "import sysconfig; print(sysconfig.get_path('stdlib'))";
    let output = Command::new(&python).args(["-c", script]).output().context("start python3")?;
    ensure!(output.status.success(), "python3 could not tell where its library is ({})", output.status);
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// What the dynamic linker loads for one program.
pub(super) fn libraries_of(program: &Path) -> Result<Files> {
    let mut files = Files::new();
    libraries(&mut files, &[program.to_owned()])?;
    Ok(files)
}

/// Adds what the dynamic linker would load for every binary of the set.
fn libraries(files: &mut Files, also: &[PathBuf]) -> Result<()> {
    let mut binaries = Vec::new();
    for path in files.values().chain(also) {
        if is_elf(path)? {
            binaries.push(path.clone());
        }
    }
    binaries.sort();
    binaries.dedup();
    let in_set: BTreeSet<_> = files.keys().filter_map(|f| f.file_name()).map(OsStr::to_owned).collect();
    let mut found: BTreeSet<PathBuf> = BTreeSet::new();
    for some in binaries.chunks(64) {
        // ldd fails when one of the files is static; what it prints of the others is right all the same.
        let output = Command::new("ldd").args(some).env("LC_ALL", "C").output().context("start ldd")?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            // Libraries of Java find one another when its launcher has loaded the first.
            if let Some((name, "not found")) = line.trim().split_once(" => ")
                && !in_set.contains(OsStr::new(name))
            {
                bail!("a program of the tests needs {name}, which this machine lacks");
            }
            found.extend(library(line));
        }
    }
    let here: BTreeSet<PathBuf> = files.values().cloned().collect();
    for path in found {
        // Java's own are in the set already, at another place.
        if !path.canonicalize().is_ok_and(|p| here.contains(&p)) {
            add(files, &path, &path)?;
        }
    }
    Ok(())
}

/// The path in `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f...)` or `/lib64/ld-linux-x86-64.so.2 (0x7f...)`,
/// each after a tab.
fn library(line: &str) -> Option<PathBuf> {
    let line = line.strip_prefix('\t')?;
    let path = line.split_once(" => ").map_or(line, |(_, path)| path).split(" (0x").next()?;
    path.starts_with('/').then(|| PathBuf::from(path))
}

fn is_elf(path: &Path) -> Result<bool> {
    use std::io::Read as _;
    let mut magic = [0; 4];
    let mut file = fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
    Ok(file.read_exact(&mut magic).is_ok() && magic == *b"\x7fELF")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_with_a_path_name_a_library() {
        let path = |line| library(line).map(|p| p.display().to_string());
        let libc = "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f00)";
        assert_eq!(path(libc).as_deref(), Some("/lib/x86_64-linux-gnu/libc.so.6"));
        assert_eq!(
            path("\t/lib64/ld-linux-x86-64.so.2 (0x00007f00)").as_deref(),
            Some("/lib64/ld-linux-x86-64.so.2")
        );
        for line in ["/usr/bin/curl:", "\tlinux-vdso.so.1 (0x00007ffc)", "\tnot a dynamic executable"] {
            assert_eq!(path(line), None, "{line}");
        }
    }
}
