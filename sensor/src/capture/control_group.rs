//! Control groups of version 2 by their number, for processes that end before `/proc` is read.

use std::fs::File;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::sync::OnceLock;

/// `FILEID_KERNFS` of the kernel's `include/linux/exportfs.h`: a file handle that is the number of a `kernfs` node.
const KERNFS: i32 = 0xfe;

/// `struct file_handle` of `open_by_handle_at(2)` with such a handle.
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    id: u64,
}

/// The path of the control group of this number, from the host's root on. `None` where it is gone, and where version 2 is
/// mounted nowhere.
#[must_use]
pub fn control_group(id: u64) -> Option<String> {
    static MOUNT: OnceLock<Option<(File, String)>> = OnceLock::new();
    let (mount, place) = MOUNT.get_or_init(mount).as_ref()?;
    let mut handle = Handle { bytes: 8, kind: KERNFS, id };
    // SAFETY: the handle is laid out as the system call reads it, with as many bytes as it says, and lives until it returns.
    let descriptor = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            mount.as_raw_fd(),
            &raw mut handle,
            libc::O_PATH | libc::O_CLOEXEC,
        )
    };
    let descriptor = i32::try_from(descriptor).ok().filter(|descriptor| *descriptor >= 0)?;
    // SAFETY: the kernel has just made it, and nobody else knows it.
    let group = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let path = std::fs::read_link(format!("/proc/self/fd/{}", group.as_raw_fd())).ok()?;
    path.to_str()?.strip_prefix(place.as_str()).map(str::to_owned)
}

/// Where control groups of version 2 are mounted.
fn mount() -> Option<(File, String)> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let place = mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (place, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then(|| place.to_owned())
    })?;
    Some((File::open(&place).ok()?, place))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_group_is_found_by_its_number() {
        let Some((_, place)) = mount() else { return };
        // The root's own number, which is the inode of its directory.
        let root = std::fs::metadata(&place).unwrap().ino();
        // Without the capability CAP_DAC_READ_SEARCH nothing is found.
        if nix::unistd::geteuid().is_root() {
            assert_eq!(control_group(root).as_deref(), Some(""));
        }
        assert_eq!(control_group(u64::MAX), None);
    }
}
