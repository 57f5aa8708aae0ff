//! Offsets of kernel structure members, read from the running kernel's BTF by the daemon and handed to the
//! programs as a global before they are loaded (Rust's eBPF has no field relocations).

/// Byte offsets within the named kernel structures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Offsets {
    /// `sock_common.skc_family`
    pub skc_family: u32,
    /// `sock_common.skc_daddr`
    pub skc_daddr: u32,
    /// `sock_common.skc_rcv_saddr`
    pub skc_rcv_saddr: u32,
    /// `sock_common.skc_dport`
    pub skc_dport: u32,
    /// `sock_common.skc_num`
    pub skc_num: u32,
    /// `sock_common.skc_v6_daddr`
    pub skc_v6_daddr: u32,
    /// `sock_common.skc_v6_rcv_saddr`
    pub skc_v6_rcv_saddr: u32,
    /// `sock_common.skc_cookie`
    pub skc_cookie: u32,
    /// `sock_common.skc_net` (a `possible_net_t`, whose first member is the pointer)
    pub skc_net: u32,
    /// `net.ns.inum`
    pub net_ns_inum: u32,
    /// `sock.sk_protocol`
    pub sk_protocol: u32,
    /// `sock.sk_socket`
    pub sk_socket: u32,
    /// `socket.file`
    pub socket_file: u32,
    /// `task_struct.group_leader`
    pub task_group_leader: u32,
    /// `task_struct.comm`
    pub task_comm: u32,
    /// `task_struct.tgid`
    pub task_tgid: u32,
    /// `task_struct.pid`
    pub task_pid: u32,
    /// `task_struct.mm`
    pub task_mm: u32,
    /// `mm_struct.arg_start`
    pub mm_arg_start: u32,
    /// `mm_struct.arg_end`
    pub mm_arg_end: u32,
    /// `linux_binprm.file`
    pub binprm_file: u32,
    /// `file.f_path.dentry`
    pub file_dentry: u32,
    /// `dentry.d_name.name`
    pub dentry_name: u32,
}

impl Offsets {
    /// All zero: what the programs are compiled with.
    pub const ZERO: Self = Self {
        skc_family: 0,
        skc_daddr: 0,
        skc_rcv_saddr: 0,
        skc_dport: 0,
        skc_num: 0,
        skc_v6_daddr: 0,
        skc_v6_rcv_saddr: 0,
        skc_cookie: 0,
        skc_net: 0,
        net_ns_inum: 0,
        sk_protocol: 0,
        sk_socket: 0,
        socket_file: 0,
        task_group_leader: 0,
        task_comm: 0,
        task_tgid: 0,
        task_pid: 0,
        task_mm: 0,
        mm_arg_start: 0,
        mm_arg_end: 0,
        binprm_file: 0,
        file_dentry: 0,
        dentry_name: 0,
    };
}
