//! Offsets of kernel structure members, from the running kernel's BTF.

use std::path::{Path, PathBuf};

use btf_rs::{Btf, BtfType, Struct, Type};
use sensor_common::{
    flow::FlowOffsets,
    offsets::{ABSENT, Offsets},
};

/// Where the kernel shows its own types.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Why the kernel's types could not be used.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file is not there: the kernel was built without `CONFIG_DEBUG_INFO_BTF`, or sysfs is not mounted.
    #[error(
        "the kernel shows no BTF at {}: {source}\nhint: the sensor needs Linux 5.10 or later, built with \
         CONFIG_DEBUG_INFO_BTF, and sysfs at /sys",
        path.display()
    )]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no valid BTF.
    #[error("cannot read the kernel's BTF at {}: {reason}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// What was wrong.
        reason: String,
    },
    /// A structure or member that the programs read is not there.
    #[error("the kernel's BTF has no {0}")]
    NoMember(String),
}

/// What the capture needs to know of the running kernel, read from its types.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// Where members lie.
    pub offsets: Offsets,
    /// Whether the tracepoints of the socket route exist (6.3 and later).
    pub has_socket_tracepoints: bool,
    /// Whether pages are sent by a function of their own (before 6.5).
    pub has_sendpage: bool,
    /// Parameters of `tty_write`: two where it is handed an iterator (5.12 and later), else four.
    pub tty_write_parameters: Option<u32>,
    /// Whether `sendfile` into a pipe is a splice; else it is a write to it (before 5.12).
    pub has_sendfile_to_pipe: bool,
    /// The function that writes to pipes: `pipe_write`, or on newer kernels the one for pipes without a name, which that of
    /// named ones calls.
    pub pipe_write: &'static str,
    /// Parameters of `tcp_recvmsg`, where the kernel has such a function.
    pub recvmsg_parameters: Option<u32>,
    /// Parameters of `udp_recvmsg` and `udpv6_recvmsg`, where the kernel itself has such a function.
    pub udp_recvmsg_parameters: [Option<u32>; 2],
    /// Where the members lie that the programs of connections read; `None` when one is not there.
    pub flow_offsets: Option<FlowOffsets>,
}

impl Kernel {
    /// Reads the types at `path`, normally [`VMLINUX`]. They are some 40 MB while they are read, and none after.
    ///
    /// # Errors
    /// When the file is not there, is not BTF, or lacks a member that the programs read.
    pub fn read(path: &Path) -> Result<Self, BtfError> {
        let types = Types::read(path)?;
        let kernel = Self {
            offsets: types.offsets()?,
            has_socket_tracepoints: types.has("btf_trace_sock_send_length")
                && types.has("btf_trace_sock_recv_length"),
            has_sendpage: types.parameters("tcp_sendpage").is_ok(),
            tty_write_parameters: types.parameters("tty_write").ok(),
            has_sendfile_to_pipe: types.parameters("splice_file_to_pipe").is_ok(),
            pipe_write: if types.parameters("anon_pipe_write").is_ok() {
                "anon_pipe_write"
            } else {
                "pipe_write"
            },
            recvmsg_parameters: types.parameters("tcp_recvmsg").ok(),
            udp_recvmsg_parameters: ["udp_recvmsg", "udpv6_recvmsg"]
                .map(|function| types.parameters(function).ok()),
            flow_offsets: types.flow_offsets().ok(),
        };
        drop(types);
        // SAFETY: the function has no preconditions. It gives the memory back, which the allocator would keep.
        unsafe { libc::malloc_trim(0) };
        Ok(kernel)
    }
}

/// Whether the types at `path` have one of this name.
pub(super) fn has_type(path: &Path, name: &str) -> Result<bool, BtfError> {
    Ok(Types::read(path)?.has(name))
}

/// The running kernel's types.
struct Types {
    btf: Btf,
}

impl Types {
    fn read(path: &Path) -> Result<Self, BtfError> {
        let bytes =
            std::fs::read(path).map_err(|source| BtfError::Missing { path: path.to_owned(), source })?;
        let btf = Btf::from_bytes(&bytes)
            .map_err(|error| BtfError::Invalid { path: path.to_owned(), reason: error.to_string() })?;
        Ok(Self { btf })
    }

    /// All offsets that the programs need.
    fn offsets(&self) -> Result<Offsets, BtfError> {
        let iter_type = self.offset("iov_iter", &["iter_type"]);
        let iter_kind_mask = if iter_type.is_ok() { 0xff } else { 0xfe };
        Ok(Offsets {
            skc_family: self.offset("sock_common", &["skc_family"])?,
            skc_daddr: self.offset("sock_common", &["skc_daddr"])?,
            skc_rcv_saddr: self.offset("sock_common", &["skc_rcv_saddr"])?,
            skc_dport: self.offset("sock_common", &["skc_dport"])?,
            skc_num: self.offset("sock_common", &["skc_num"])?,
            skc_v6_daddr: self.offset("sock_common", &["skc_v6_daddr"])?,
            skc_v6_rcv_saddr: self.offset("sock_common", &["skc_v6_rcv_saddr"])?,
            skc_cookie: self.offset("sock_common", &["skc_cookie"])?,
            skc_net: self.offset("sock_common", &["skc_net"])?,
            net_ns_inum: self.offset("net", &["ns", "inum"])?,
            sk_protocol: self.offset("sock", &["sk_protocol"])?,
            sk_type: self.offset("sock", &["sk_type"])?,
            sk_shutdown: self.offset("sock", &["sk_shutdown"])?,
            sk_receive_queue_length: self.offset("sock", &["sk_receive_queue", "qlen"])?,
            sk_socket: self.offset("sock", &["sk_socket"])?,
            socket_file: self.offset("socket", &["file"])?,
            socket_inode: self.offset("socket_alloc", &["vfs_inode"])?,
            unix_address: self.offset("unix_sock", &["addr"]).unwrap_or_default(),
            unix_peer: self.offset("unix_sock", &["peer"]).unwrap_or_default(),
            unix_address_length: self.offset("unix_address", &["len"]).unwrap_or_default(),
            unix_address_name: self.offset("unix_address", &["name"]).unwrap_or_default(),
            task_group_leader: self.offset("task_struct", &["group_leader"])?,
            task_comm: self.offset("task_struct", &["comm"])?,
            task_tgid: self.offset("task_struct", &["tgid"])?,
            task_pid: self.offset("task_struct", &["pid"])?,
            task_mm: self.offset("task_struct", &["mm"])?,
            task_signal: self.offset("task_struct", &["signal"])?,
            signal_live: self.offset("signal_struct", &["live"])?,
            mm_arg_start: self.offset("mm_struct", &["arg_start"])?,
            mm_arg_end: self.offset("mm_struct", &["arg_end"])?,
            binprm_file: self.offset("linux_binprm", &["file"])?,
            file_dentry: self.offset("file", &["f_path", "dentry"])?,
            dentry_name: self.offset("dentry", &["d_name", "name"])?,
            task_files: self.offset("task_struct", &["files"])?,
            files_fdt: self.offset("files_struct", &["fdt"])?,
            fdtable_max_fds: self.offset("fdtable", &["max_fds"])?,
            fdtable_fd: self.offset("fdtable", &["fd"])?,
            file_inode: self.offset("file", &["f_inode"])?,
            inode_mode: self.offset("inode", &["i_mode"])?,
            inode_number: self.offset("inode", &["i_ino"])?,
            inode_rdev: self.offset("inode", &["i_rdev"])?,
            inode_superblock: self.offset("inode", &["i_sb"])?,
            superblock_device: self.offset("super_block", &["s_dev"])?,
            kiocb_file: self.offset("kiocb", &["ki_filp"])?,
            task_parent: self.offset("task_struct", &["real_parent"])?,
            file_private_data: self.offset("file", &["private_data"])?,
            socket_sk: self.offset("socket", &["sk"])?,
            msghdr_iter: self.offset("msghdr", &["msg_iter"])?,
            iter_type: iter_type.or_else(|_| self.offset("iov_iter", &["type"]))?,
            iter_offset: self.offset("iov_iter", &["iov_offset"])?,
            iter_iov: self.offset("iov_iter", &["__iov"]).or_else(|_| self.offset("iov_iter", &["iov"]))?,
            iter_ubuf: self.offset("iov_iter", &["ubuf"]).unwrap_or_default(),
            iter_kind_mask,
            iter_iovec: self.enumerator("iter_type", "ITER_IOVEC")?,
            iter_is_ubuf: self.enumerator("iter_type", "ITER_UBUF").unwrap_or(ABSENT),
        })
    }

    /// All offsets that the programs of connections need.
    fn flow_offsets(&self) -> Result<FlowOffsets, BtfError> {
        Ok(FlowOffsets {
            skc_state: self.offset("sock_common", &["skc_state"])?,
            sk_err: self.offset("sock", &["sk_err"])?,
            inet_sport: self.offset("inet_sock", &["inet_sport"])?,
            bytes_sent: self.offset("tcp_sock", &["bytes_sent"])?,
            bytes_retrans: self.offset("tcp_sock", &["bytes_retrans"])?,
            bytes_received: self.offset("tcp_sock", &["bytes_received"])?,
            segs_out: self.offset("tcp_sock", &["segs_out"])?,
            segs_in: self.offset("tcp_sock", &["segs_in"])?,
            total_retrans: self.offset("tcp_sock", &["total_retrans"])?,
            srtt_us: self.offset("tcp_sock", &["srtt_us"])?,
            msghdr_name: self.offset("msghdr", &["msg_name"])?,
        })
    }

    /// Whether there is a type of this name. The kernel defines one for each tracepoint's function.
    fn has(&self, name: &str) -> bool {
        self.btf.resolve_ids_by_name(name).is_ok_and(|ids| !ids.is_empty())
    }

    /// The value of an enumerator.
    fn enumerator(&self, enumeration: &str, name: &str) -> Result<u32, BtfError> {
        let missing = || BtfError::NoMember(format!("{enumeration}.{name}"));
        let types = self.btf.resolve_types_by_name(enumeration).map_err(|_| missing())?;
        types
            .into_iter()
            .filter_map(|found| if let Type::Enum(found) = found { Some(found) } else { None })
            .flat_map(|found| found.members)
            .find(|member| self.btf.resolve_name(member).is_ok_and(|found| found == name))
            .map(|member| member.val())
            .ok_or_else(missing)
    }

    /// How many parameters a function has.
    fn parameters(&self, function: &str) -> Result<u32, BtfError> {
        let missing = || BtfError::NoMember(format!("{function}()"));
        let types = self.btf.resolve_types_by_name(function).map_err(|_| missing())?;
        let function = types
            .into_iter()
            .find_map(|found| if let Type::Func(found) = found { Some(found) } else { None })
            .ok_or_else(missing)?;
        match self.btf.resolve_chained_type(&function) {
            Ok(Type::FuncProto(prototype)) => {
                u32::try_from(prototype.parameters.len()).map_err(|_| missing())
            }
            _ => Err(missing()),
        }
    }

    /// Byte offset of a member within a structure, through named members and anonymous ones.
    fn offset(&self, structure: &str, path: &[&str]) -> Result<u32, BtfError> {
        let missing = || BtfError::NoMember(format!("{structure}.{}", path.join(".")));
        let types = self.btf.resolve_types_by_name(structure).map_err(|_| missing())?;
        let mut current = types.into_iter().find_map(as_struct).ok_or_else(missing)?;
        let mut bits = 0;
        for (depth, name) in path.iter().enumerate() {
            let (offset, member) = self.member(&current, name).ok_or_else(missing)?;
            bits += offset;
            if depth + 1 < path.len() {
                current = self.structure(member).ok_or_else(missing)?;
            }
        }
        Ok(bits / 8)
    }

    /// Bit offset and type of a member, looking into anonymous structures and unions.
    fn member(&self, structure: &Struct, name: &str) -> Option<(u32, u32)> {
        structure.members.iter().find_map(|member| {
            let type_id = member.get_type_id()?;
            match self.btf.resolve_name(member) {
                Ok(found) if found == name => Some((member.bit_offset(), type_id)),
                Ok(found) if !found.is_empty() => None,
                _ => {
                    let (offset, found) = self.member(&self.structure(type_id)?, name)?;
                    Some((member.bit_offset() + offset, found))
                }
            }
        })
    }

    /// The structure that a type is, through qualifiers and typedefs.
    fn structure(&self, type_id: u32) -> Option<Struct> {
        let mut current = self.btf.resolve_type_by_id(type_id).ok()?;
        loop {
            current = match current {
                Type::Struct(found) | Type::Union(found) => return Some(found),
                other => self.btf.resolve_chained_type(other.as_btf_type()?).ok()?,
            };
        }
    }
}

fn as_struct(found: Type) -> Option<Struct> {
    match found {
        Type::Struct(found) | Type::Union(found) => Some(found),
        _ => None,
    }
}
