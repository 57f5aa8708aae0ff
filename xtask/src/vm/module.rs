//! Kernel modules the guest needs: found by name, unpacked, and ordered so that each comes after what it uses.
//!
//! Packages carry no `modules.dep` (it is made at installation), so dependencies are read from the module itself,
//! from the `depends=` line of its `.modinfo` section.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

/// Without these the guest finds no disk, unless the kernel has them built in.
const NEEDED: [&str; 3] = ["virtio_pci", "virtio_blk", "ext4"];
/// What tests use where the kernel has it: network devices, socket diagnosis, container file systems, translated addresses.
const WANTED: [&str; 17] = [
    "veth",
    "tun",
    "bridge",
    "dummy",
    "inet_diag",
    "tcp_diag",
    "udp_diag",
    "unix_diag",
    "overlay",
    "loop",
    "nf_conntrack",
    "nf_conntrack_netlink",
    "nf_tables",
    "nft_chain_nat",
    "nft_ct",
    "nft_masq",
    "nft_nat",
];

/// A module ready to be given to the kernel.
pub(super) struct Module {
    pub(super) name: String,
    pub(super) data: Vec<u8>,
}

/// The modules for a guest, in the order in which to load them.
pub(super) fn modules(dir: &Path) -> Result<Vec<Module>> {
    let files = index(dir)?;
    let builtin = fs::read_to_string(dir.join("modules.builtin"))
        .with_context(|| format!("read modules.builtin in {}", dir.display()))?;
    let is_builtin = |name: &str| builtin.lines().any(|l| module_name(Path::new(l)).as_deref() == Some(name));
    let mut loaded = Vec::new();
    for name in NEEDED {
        if !files.contains_key(name) {
            ensure!(is_builtin(name), "this kernel has no module {name}");
        }
    }
    for name in NEEDED.into_iter().chain(WANTED) {
        if files.contains_key(name) {
            add(name, &files, &is_builtin, &mut loaded)?;
        }
    }
    Ok(loaded)
}

fn add(
    name: &str,
    files: &HashMap<String, PathBuf>,
    is_builtin: &impl Fn(&str) -> bool,
    loaded: &mut Vec<Module>,
) -> Result<()> {
    if loaded.iter().any(|m| m.name == name) || is_builtin(name) {
        return Ok(());
    }
    let path = files.get(name).with_context(|| format!("find module {name}"))?;
    let data = unpacked(path)?;
    for dependency in depends(&data) {
        add(&dependency, files, is_builtin, loaded)?;
    }
    loaded.push(Module { name: name.to_owned(), data });
    Ok(())
}

fn index(dir: &Path) -> Result<HashMap<String, PathBuf>> {
    let mut files = HashMap::new();
    let mut folders = vec![dir.join("kernel")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Some(name) = module_name(&path) {
                files.insert(name, path);
            }
        }
    }
    Ok(files)
}

/// The kernel treats a dash in a file's name as an underscore.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    Some(file.split_once(".ko")?.0.replace('-', "_"))
}

fn unpacked(path: &Path) -> Result<Vec<u8>> {
    let program = match path.extension().and_then(|e| e.to_str()) {
        Some("ko") => return fs::read(path).with_context(|| format!("read {}", path.display())),
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => bail!("{} is compressed in an unknown way", path.display()),
    };
    let output = Command::new(program).arg("-dc").arg(path).output();
    let output =
        output.with_context(|| format!("start {program}\nhint: install the package of {program}"))?;
    ensure!(output.status.success(), "{program} -dc {} failed ({})", path.display(), output.status);
    Ok(output.stdout)
}

/// The names after `depends=`, which stands between NUL bytes.
fn depends(data: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = data.windows(KEY.len()).position(|w| w == KEY) else { return Vec::new() };
    let list = data[at + KEY.len()..].split(|b| *b == 0).next().unwrap_or_default();
    let list = String::from_utf8_lossy(list).into_owned();
    list.split(',').filter(|n| !n.is_empty()).map(|n| n.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_come_first_and_only_once() {
        let dir = std::env::temp_dir().join(format!("vm-module-{}", std::process::id()));
        let kernel = dir.join("kernel/drivers");
        fs::create_dir_all(&kernel).unwrap();
        fs::write(dir.join("modules.builtin"), "kernel/fs/ext4/ext4.ko\nkernel/lib/crc32c.ko\n").unwrap();
        let module = |depends: &str| format!("ELF\0license=GPL\0depends={depends}\0name=x\0");
        for (file, depends) in [
            ("virtio.ko", ""),
            ("virtio_ring.ko", "virtio"),
            ("virtio_pci.ko", "virtio_ring,virtio"),
            ("virtio_blk.ko", "virtio_ring,virtio,crc32c"),
            ("unrelated.ko", ""),
        ] {
            fs::write(kernel.join(file), module(depends)).unwrap();
        }
        let names: Vec<_> = modules(&dir).unwrap().into_iter().map(|m| m.name).collect();
        assert_eq!(names, ["virtio", "virtio_ring", "virtio_pci", "virtio_blk"]);
        fs::remove_file(kernel.join("virtio_blk.ko")).unwrap();
        assert!(modules(&dir).is_err_and(|e| e.to_string().contains("virtio_blk")));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn names_are_compared_with_underscores() {
        assert_eq!(module_name(Path::new("kernel/x/virtio-mem.ko.xz")).as_deref(), Some("virtio_mem"));
        assert_eq!(module_name(Path::new("modules.order")), None);
        assert_eq!(depends(b"\0depends=crc32c-intel,libcrc32c\0"), ["crc32c_intel", "libcrc32c"]);
    }
}
