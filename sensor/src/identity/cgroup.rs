//! From a process's control group to its container and pod.
//!
//! The kubelet and the container runtimes name control groups after what they hold: `kubelet` in
//! `pkg/kubelet/cm/pod_container_manager_linux.go`, containerd, CRI-O and Docker in their `systemd` and `cgroupfs` drivers.
//! Both drivers, both versions and paths as a control group namespace shows them (`/../..` in front) are understood:
//!
//! ```text
//! /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice/cri-containerd-<id>.scope
//! /kubepods/burstable/pod<uid>/<id>
//! /system.slice/containerd.service/kubepods-burstable-pod<uid>.slice:cri-containerd:<id>
//! /system.slice/docker-<id>.scope
//! ```

use std::fmt;

use crate::capture::control_group;

/// Hexadecimal digits of a container's id.
const ID_DIGITS: usize = 64;
/// What runtimes put before the id in the name of a scope.
const RUNTIMES: [&str; 5] = ["cri-containerd", "crio", "docker", "nerdctl", "libpod"];

/// The id that a container runtime gave a container.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId([u8; ID_DIGITS / 2]);

impl ContainerId {
    /// In place of one that is not known yet.
    pub(super) const NONE: Self = Self([0; ID_DIGITS / 2]);

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != ID_DIGITS {
            return None;
        }
        let mut id = [0; ID_DIGITS / 2];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
        }
        Some(Self(id))
    }

    /// Reads what the API calls `containerID`: `<runtime>://<id>`.
    #[must_use]
    pub fn parse_uri(text: &str) -> Option<Self> {
        Self::parse(text.split_once("://")?.1)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContainerId({self})")
    }
}

/// The uid of a pod: a UUID, or for the pod of a static manifest the hash of that.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodUid(u128);

impl PodUid {
    /// Reads a UUID with dashes, with underscores in their place as in names of slices, or 32 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        const DASHES: [usize; 4] = [8, 13, 18, 23];
        let bytes = text.as_bytes();
        let separator = match bytes.len() {
            32 => None,
            36 => Some(bytes[DASHES[0]]).filter(|byte| matches!(byte, b'-' | b'_')),
            _ => return None,
        };
        if bytes.len() == 36 && separator.is_none() {
            return None;
        }
        let mut uid = 0;
        for (at, byte) in bytes.iter().enumerate() {
            if let Some(separator) = separator
                && DASHES.contains(&at)
            {
                if *byte != separator {
                    return None;
                }
                continue;
            }
            uid = (uid << 4) | u128::from(digit(*byte)?);
        }
        Some(Self(uid))
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
        f.write_str(&parts.join("-"))
    }
}

impl fmt::Debug for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PodUid({self})")
    }
}

/// A lower-case hexadecimal digit: runtimes write no others.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// The container that a control group is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InContainer {
    /// Which container.
    pub container: ContainerId,
    /// Of which pod. `None` for a container of no pod, and where only the end of the path is shown.
    pub pod: Option<PodUid>,
}

impl InContainer {
    /// Reads `/proc/PID/cgroup` (`cgroups(7)`): a line a hierarchy, `ID:controllers:path`. `None` when the process is in no
    /// container.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut without_pod = None;
        for line in text.lines() {
            let Some(path) = line.splitn(3, ':').nth(2) else { continue };
            match Self::of_path(path) {
                Some(found) if found.pod.is_some() => return Some(found),
                found => without_pod = without_pod.or(found),
            }
        }
        without_pod
    }

    /// The container of a process. For one that has ended already, `cgroup` is the number of the control group that it was in,
    /// or 0.
    #[must_use]
    pub fn of(tgid: u32, cgroup: u64) -> Option<Self> {
        match std::fs::read_to_string(format!("/proc/{tgid}/cgroup")) {
            Ok(text) => Self::parse(&text),
            Err(_) if cgroup == 0 => None,
            Err(_) => Self::of_path(&control_group(cgroup)?),
        }
    }

    /// The container of one path. What is below a pod's group is its container, whatever that has made below its own; the
    /// group of a pod itself is none.
    fn of_path(path: &str) -> Option<Self> {
        let mut pod = None;
        let mut before = "";
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            if let Some((slice, container)) = joined(segment) {
                return Some(Self { container, pod: pod_of(slice) });
            }
            if pod.is_none() {
                pod = pod_of(segment);
                if pod.is_some() {
                    before = segment;
                    continue;
                }
            }
            // A bare number is a container's only where the path says so.
            let may_be_bare = pod.is_some() || matches!(before, "docker" | "..");
            let found = scope(segment).or_else(|| may_be_bare.then(|| ContainerId::parse(segment))?);
            if let Some(container) = found
                && !(pod.is_none() && path.contains("pod") && has_pod_below(path, segment))
            {
                return Some(Self { container, pod });
            }
            before = segment;
        }
        None
    }
}

/// Whether a pod's group is somewhere below this one: then it is a node that is a container itself.
fn has_pod_below(path: &str, segment: &str) -> bool {
    path.split('/').skip_while(|other| *other != segment).skip(1).any(|below| pod_of(below).is_some())
}

/// `<runtime>-<id>.scope`, or `crio-<id>` of CRI-O's cgroupfs driver.
fn scope(segment: &str) -> Option<ContainerId> {
    let name = segment.strip_suffix(".scope").unwrap_or(segment);
    RUNTIMES.iter().find_map(|runtime| ContainerId::parse(name.strip_prefix(runtime)?.strip_prefix('-')?))
}

/// `<slice>:<runtime>:<id>`, which runc makes where it is told systemd's form and uses cgroupfs.
fn joined(segment: &str) -> Option<(&str, ContainerId)> {
    let mut parts = segment.splitn(3, ':');
    let (slice, runtime, id) = (parts.next()?, parts.next()?, parts.next()?);
    RUNTIMES.contains(&runtime).then_some(())?;
    Some((slice, ContainerId::parse(id)?))
}

/// `pod<uid>`, or a slice `…-pod<uid>.slice`.
fn pod_of(segment: &str) -> Option<PodUid> {
    match segment.strip_suffix(".slice") {
        Some(slice) => PodUid::parse(slice.rsplit_once("-pod")?.1),
        None => PodUid::parse(segment.strip_prefix("pod")?),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "5d1c0d6f2a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5";
    const OTHER: &str = "00000d6f2a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5";
    const UID: &str = "0b4b1c5e-3a9b-4a52-8f7d-1c2d3e4f5a6b";

    fn told(path: &str) -> Option<(String, Option<String>)> {
        let found = InContainer::parse(&format!("0::{path}\n"))?;
        Some((found.container.to_string(), found.pod.map(|pod| pod.to_string())))
    }

    fn in_pod() -> Option<(String, Option<String>)> {
        Some((ID.to_owned(), Some(UID.to_owned())))
    }

    #[test]
    fn every_layout_is_read() {
        let slice = UID.replace('-', "_");
        for path in [
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{slice}.slice/cri-containerd-{ID}.scope"
            ),
            format!("/kubepods.slice/kubepods-pod{slice}.slice/crio-{ID}.scope/container"),
            format!(
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{slice}.slice/docker-{ID}.scope/init.scope"
            ),
            format!("/kubepods/burstable/pod{UID}/{ID}"),
            format!("/kubepods/pod{UID}/crio-{ID}"),
            format!(
                "/system.slice/containerd.service/kubepods-burstable-pod{slice}.slice:cri-containerd:{ID}"
            ),
            format!("/docker/{OTHER}/kubelet/kubepods/besteffort/pod{UID}/{ID}"),
            format!(
                "/system.slice/docker-{OTHER}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{slice}.slice/cri-containerd-{ID}.scope"
            ),
            format!(
                "/../../kubepods-burstable.slice/kubepods-burstable-pod{slice}.slice/cri-containerd-{ID}.scope"
            ),
            format!("/../../pod{UID}/{ID}"),
            // A Docker within a pod: what it runs is the pod's.
            format!("/kubepods/burstable/pod{UID}/{ID}/docker/{OTHER}"),
        ] {
            assert_eq!(told(&path), in_pod(), "{path}");
        }
        // A container of the sensor's own pod, as its own namespace shows it.
        let alone = Some((ID.to_owned(), None));
        assert_eq!(told(&format!("/../cri-containerd-{ID}.scope")), alone);
        assert_eq!(told(&format!("/../{ID}")), alone);
        assert_eq!(told(&format!("/docker/{ID}")), alone);
        assert_eq!(told(&format!("/system.slice/docker-{ID}.scope")), alone);
    }

    #[test]
    fn a_static_pod_has_the_hash_of_its_manifest() {
        let hash = UID.replace('-', "");
        assert_eq!(told(&format!("/kubepods/burstable/pod{hash}/{ID}")), in_pod());
        assert_eq!(PodUid::parse(&hash), PodUid::parse(UID));
    }

    #[test]
    fn what_is_no_container_is_none() {
        let slice = UID.replace('-', "_");
        for path in [
            "/".to_owned(),
            "/init.scope".to_owned(),
            "/../../../system.slice/sshd.service".to_owned(),
            format!("/kubepods.slice/kubepods-pod{slice}.slice"),
            format!("/kubepods/pod{UID}"),
            format!("/kubepods.slice/kubepods-pod{slice}.slice/crio-conmon-{ID}.scope"),
            format!("/build/{ID}"),
            format!("/kubepods/pod{UID}/{}", &ID[1..]),
            format!("/kubepods/pod{UID}/{}", ID.to_uppercase()),
        ] {
            assert_eq!(told(&path), None, "{path}");
        }
        assert_eq!(InContainer::parse(""), None);
        assert_eq!(InContainer::parse("0:\n:\nx\n"), None);
    }

    #[test]
    fn of_many_hierarchies_one_tells_the_pod() {
        let text = format!(
            "12:pids:/system.slice/docker-{OTHER}.scope\n2:cpu,cpuacct:/kubepods/burstable/pod{UID}/{ID}\n\
             1:name=systemd:/kubepods/burstable/pod{UID}/{ID}\n0::/\n"
        );
        let found = InContainer::parse(&text).unwrap();
        assert_eq!((found.container.to_string(), found.pod), (ID.to_owned(), PodUid::parse(UID)));
    }

    /// A path as one of the drivers makes it.
    fn layout() -> impl Strategy<Value = (String, [u8; 32], u128)> {
        let before = prop::sample::select(vec!["", "/..", "/../..", "/../../.."]);
        let quality = prop::sample::select(vec!["", "burstable", "besteffort"]);
        let runtime = prop::sample::select(vec!["cri-containerd", "crio", "docker"]);
        let root = prop::sample::select(vec!["kubepods", "kubelet-kubepods", "custom-kubepods"]);
        let inner = prop::sample::select(vec!["", "/container", "/init.scope", "/system.slice/x.service"]);
        let parts = (before, quality, runtime, root, inner);
        (parts, any::<[u8; 32]>(), any::<u128>(), any::<bool>(), any::<bool>()).prop_map(
            |((before, quality, runtime, root, inner), id, uid, by_systemd, is_static)| {
                let container = ContainerId(id);
                let uid = if is_static { format!("{uid:032x}") } else { PodUid(uid).to_string() };
                let path = if by_systemd {
                    let slice = if quality.is_empty() { root.to_owned() } else { format!("{root}-{quality}") };
                    let uid = uid.replace('-', "_");
                    format!("{before}/{root}.slice/{slice}.slice/{slice}-pod{uid}.slice/{runtime}-{container}.scope{inner}")
                } else {
                    let prefix = if runtime == "crio" { "crio-" } else { "" };
                    let quality = if quality.is_empty() { String::new() } else { format!("/{quality}") };
                    format!("{before}/{root}{quality}/pod{uid}/{prefix}{container}{inner}")
                };
                (path, id, PodUid::parse(&uid).unwrap().0)
            },
        )
    }

    proptest! {
        #[test]
        fn each_driver_and_runtime_is_read((path, id, uid) in layout()) {
            let expected = InContainer { container: ContainerId(id), pod: Some(PodUid(uid)) };
            for text in [format!("0::{path}"), format!("11:cpu,cpuacct:{path}\n0::/")] {
                prop_assert_eq!(InContainer::parse(&text), Some(expected), "{}", path);
            }
        }

        #[test]
        fn a_name_is_read_as_it_was_written(id: [u8; 32], uid: u128) {
            prop_assert_eq!(ContainerId::parse(&ContainerId(id).to_string()), Some(ContainerId(id)));
            prop_assert_eq!(PodUid::parse(&PodUid(uid).to_string()), Some(PodUid(uid)));
        }

        #[test]
        fn nothing_makes_it_stumble(text in "[0-9a-f:/._pod\n-]{0,200}|.{0,100}") {
            let _ = InContainer::parse(&text);
        }
    }
}
