//! What the kernel allows, asked of the kernel itself, each answer with a reason when it is no.
//!
//! Each probe runs when it is first asked for, and only then.

mod trial;

use std::{fs, io, path::Path, sync::OnceLock};

use aya::{
    maps::MapType,
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported},
};

use super::{VMLINUX, btf::has_type};
use crate::flow::Conntrack;

/// Something the kernel can do, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// This process may load programs and read other processes' memory.
    Privilege,
    /// The kernel describes its types.
    Btf,
    /// The ring buffer map (5.8).
    RingBuffer,
    /// Programs on raw tracepoints (4.17).
    RawTracepoint,
    /// The helper `bpf_probe_read_user` (5.5).
    ReadUser,
    /// Programs on tracepoints with typed arguments (5.5).
    BtfTracepoint,
    /// Programs at the entry and return of functions (5.5).
    Fentry,
    /// Programs on kernel probes.
    Kprobe,
    /// Programs on probes in user programs.
    Uprobe,
    /// The same, many at once (6.6).
    UprobeMulti,
    /// The helper `bpf_get_current_task_btf` (5.11).
    CurrentTask,
    /// The helper `bpf_task_pt_regs` (5.15).
    TaskRegisters,
    /// The helper `bpf_loop` (5.17).
    Loop,
    /// Control groups of version 2.
    CgroupV2,
    /// The tracepoint of socket states (4.16), and the members of `struct tcp_sock`: connections are followed.
    TcpStates,
    /// The tracepoints of resets (4.16): those of connections are counted.
    TcpResets,
    /// Connection tracking of the host's network namespace, which this process may ask: translated addresses are undone.
    Conntrack,
}

/// Yes with a detail, or no with a reason.
pub type Answer = Result<String, String>;

static ANSWERS: [OnceLock<Answer>; Capability::ALL.len()] =
    [const { OnceLock::new() }; Capability::ALL.len()];

impl Capability {
    /// All, in the order in which they are told.
    pub const ALL: [Self; 17] = [
        Self::Privilege,
        Self::Btf,
        Self::RingBuffer,
        Self::RawTracepoint,
        Self::ReadUser,
        Self::BtfTracepoint,
        Self::Fentry,
        Self::Kprobe,
        Self::Uprobe,
        Self::UprobeMulti,
        Self::CurrentTask,
        Self::TaskRegisters,
        Self::Loop,
        Self::CgroupV2,
        Self::TcpStates,
        Self::TcpResets,
        Self::Conntrack,
    ];

    /// Its name for people and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Privilege => "privileges",
            Self::Btf => "BTF",
            Self::RingBuffer => "ring buffer",
            Self::RawTracepoint => "raw tracepoints",
            Self::ReadUser => "bpf_probe_read_user",
            Self::BtfTracepoint => "BTF tracepoints",
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobes",
            Self::Uprobe => "uprobes",
            Self::UprobeMulti => "uprobe multi",
            Self::CurrentTask => "bpf_get_current_task_btf",
            Self::TaskRegisters => "bpf_task_pt_regs",
            Self::Loop => "bpf_loop",
            Self::CgroupV2 => "cgroup v2",
            Self::TcpStates => "TCP states",
            Self::TcpResets => "TCP resets",
            Self::Conntrack => "conntrack",
        }
    }

    /// Whether nothing can be captured without it.
    #[must_use]
    pub const fn is_required(self) -> bool {
        matches!(self, Self::Privilege | Self::Btf | Self::RingBuffer | Self::RawTracepoint | Self::ReadUser)
    }

    /// Asks the kernel, the first time; then repeats the answer.
    pub fn probe(self) -> &'static Answer {
        ANSWERS[self as usize].get_or_init(|| self.ask())
    }

    /// Takes what was found out elsewhere for the answer, unless there is one.
    pub(super) fn learn(self, answer: Answer) {
        let _ = ANSWERS[self as usize].set(answer);
    }

    /// Every one that was asked for until now, and whether the kernel has it.
    pub fn answered() -> impl Iterator<Item = (Self, bool)> {
        Self::ALL.into_iter().filter_map(|capability| {
            ANSWERS[capability as usize].get().map(|answer| (capability, answer.is_ok()))
        })
    }

    /// Why not all of these are there, from the first that is not.
    ///
    /// # Errors
    /// When one is missing; the text names it and says why.
    pub fn all_of(needed: &[Self]) -> Result<(), String> {
        needed.iter().try_for_each(|capability| match capability.probe() {
            Ok(_) => Ok(()),
            Err(reason) => Err(format!("needs {}: {reason}", capability.name())),
        })
    }

    fn ask(self) -> Answer {
        match self {
            Self::Privilege => privilege(),
            Self::Btf => file(VMLINUX, "the kernel needs CONFIG_DEBUG_INFO_BTF, and /sys has to be mounted"),
            Self::RingBuffer => supported(is_map_supported(MapType::RingBuf), "it came with 5.8"),
            Self::RawTracepoint => program(ProgramType::RawTracePoint, "they came with 4.17"),
            Self::ReadUser => helper(BpfHelper::BPF_FUNC_probe_read_user, "it came with 5.5"),
            Self::BtfTracepoint => trial::btf_tracepoint(),
            Self::Fentry => trial::fentry(),
            Self::Kprobe => trial::kprobe(),
            Self::Uprobe => trial::uprobe(),
            Self::UprobeMulti => Self::all_of(&[Self::Uprobe]).and_then(|()| uprobe_multi()),
            Self::CurrentTask => helper(BpfHelper::BPF_FUNC_get_current_task_btf, "it came with 5.11"),
            Self::TaskRegisters => helper(BpfHelper::BPF_FUNC_task_pt_regs, "it came with 5.15"),
            Self::Loop => helper(BpfHelper::BPF_FUNC_loop, "it came with 5.17"),
            Self::CgroupV2 => cgroup_v2(),
            Self::TcpStates => trial::raw_tracepoint("inet_sock_set_state"),
            Self::TcpResets => ["tcp_receive_reset", "tcp_send_reset"]
                .into_iter()
                .try_fold(String::new(), |_, name| trial::raw_tracepoint(name)),
            Self::Conntrack => conntrack(),
        }
    }
}

/// `CAP_SYS_ADMIN`, or `CAP_BPF` with `CAP_PERFMON`, of the effective set (`capabilities(7)`).
fn privilege() -> Answer {
    const SYS_ADMIN: u64 = 1 << 21;
    const BPF_AND_PERFMON: u64 = 1 << 39 | 1 << 38;
    let status = fs::read_to_string("/proc/self/status").map_err(|error| format!("/proc: {error}"))?;
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|value| u64::from_str_radix(value.trim(), 16).ok())
        .ok_or("/proc/self/status does not tell the capabilities")?;
    if effective & SYS_ADMIN != 0 {
        Ok("CAP_SYS_ADMIN".to_owned())
    } else if effective & BPF_AND_PERFMON == BPF_AND_PERFMON {
        Ok("CAP_BPF and CAP_PERFMON".to_owned())
    } else {
        Err("needs root, or CAP_BPF and CAP_PERFMON".to_owned())
    }
}

fn file(path: &str, why: &str) -> Answer {
    match fs::metadata(path) {
        Ok(_) => Ok(path.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!("no {path}: {why}")),
        Err(error) => Err(format!("{path}: {error}")),
    }
}

fn supported(answer: Result<bool, impl std::error::Error>, why: &str) -> Answer {
    match answer {
        Ok(true) => Ok(String::new()),
        Ok(false) => Err(format!("the kernel does not know it ({why})")),
        Err(error) => {
            let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            Err(format!("{error}{source}"))
        }
    }
}

fn program(kind: ProgramType, why: &str) -> Answer {
    supported(is_program_supported(kind), why)
}

fn helper(helper: BpfHelper, why: &str) -> Answer {
    supported(is_helper_supported(ProgramType::RawTracePoint, helper), why)
}

/// The kernel has a type for such links when it has the links: distributions carry them back to older releases.
fn uprobe_multi() -> Answer {
    match has_type(Path::new(VMLINUX), "bpf_uprobe_multi_link") {
        Ok(true) => Ok(String::new()),
        Ok(false) => Err("the kernel does not know it (it came with 6.6)".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn cgroup_v2() -> Answer {
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .into_iter()
        .find(|path| Path::new(path).join("cgroup.controllers").exists())
        .map(str::to_owned)
        .ok_or_else(|| "no cgroup2 file system at /sys/fs/cgroup".to_owned())
}

fn conntrack() -> Answer {
    Conntrack::open().map(|_| String::new()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::Capability;

    #[test]
    fn each_capability_has_its_own_slot() {
        for (index, capability) in Capability::ALL.into_iter().enumerate() {
            assert!((capability as usize) < Capability::ALL.len());
            assert!(Capability::ALL[..index].iter().all(|other| other.name() != capability.name()));
        }
    }
}
