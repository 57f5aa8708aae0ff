//! The kernel's file systems that the sensor reads, mounted where they are missing.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::mount::{MountFlags, mount};

/// File system type and the place where everybody expects it.
const WANTED: [(&str, &str); 3] =
    [("tracefs", "/sys/kernel/tracing"), ("debugfs", "/sys/kernel/debug"), ("bpf", "/sys/fs/bpf")];

/// Mounts what is missing and says so. What the kernel does not offer is said too and is no error here:
/// `sensor check` knows what the sensor can do without.
pub(crate) fn ensure() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    for (kind, place) in WANTED {
        if is_mounted(&mounts, kind, place) {
            continue;
        }
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let mounted = if Path::new(place).is_dir() {
            mount(kind, place, kind, flags, None::<&std::ffi::CStr>).map_err(|errno| errno.to_string())
        } else {
            Err(String::from("this kernel has no such directory"))
        };
        match mounted {
            Ok(()) => eprintln!("[mount] {kind} on {place}"),
            Err(reason) => eprintln!("[mount] {kind} on {place} is not possible: {reason}"),
        }
    }
    Ok(())
}

/// Looks for the pair in the text of `/proc/self/mounts`: device, place, type, options.
fn is_mounted(mounts: &str, kind: &str, place: &str) -> bool {
    mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some(place) && fields.next() == Some(kind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_and_place_must_both_match() {
        let mounts = "sysfs /sys sysfs rw 0 0\ntracefs /sys/kernel/tracing tracefs rw,nosuid 0 0\n";
        assert!(is_mounted(mounts, "tracefs", "/sys/kernel/tracing"));
        assert!(!is_mounted(mounts, "tracefs", "/sys/kernel/debug/tracing"));
        assert!(!is_mounted(mounts, "bpf", "/sys/kernel/tracing"));
    }
}
