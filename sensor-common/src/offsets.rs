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
    /// `sock.sk_type`
    pub sk_type: u32,
    /// `sock.sk_shutdown`
    pub sk_shutdown: u32,
    /// `sock.sk_receive_queue.qlen`
    pub sk_receive_queue_length: u32,
    /// `sock.sk_socket`
    pub sk_socket: u32,
    /// `socket.file`
    pub socket_file: u32,
    /// `socket_alloc.vfs_inode`: the inode of a `struct socket`, which is at the start of the same structure
    pub socket_inode: u32,
    /// `unix_sock.addr`; 0 where the kernel itself has no Unix-domain sockets
    pub unix_address: u32,
    /// `unix_sock.peer`
    pub unix_peer: u32,
    /// `unix_address.len`
    pub unix_address_length: u32,
    /// `unix_address.name`
    pub unix_address_name: u32,
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
    /// `task_struct.signal`
    pub task_signal: u32,
    /// `signal_struct.live` (an `atomic_t`, whose only member is the number)
    pub signal_live: u32,
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
    /// `task_struct.files`
    pub task_files: u32,
    /// `files_struct.fdt`
    pub files_fdt: u32,
    /// `fdtable.max_fds`
    pub fdtable_max_fds: u32,
    /// `fdtable.fd`
    pub fdtable_fd: u32,
    /// `file.f_inode`
    pub file_inode: u32,
    /// `inode.i_mode`
    pub inode_mode: u32,
    /// `inode.i_ino`
    pub inode_number: u32,
    /// `inode.i_rdev`
    pub inode_rdev: u32,
    /// `inode.i_sb`
    pub inode_superblock: u32,
    /// `super_block.s_dev`
    pub superblock_device: u32,
    /// `kiocb.ki_filp`
    pub kiocb_file: u32,
    /// `task_struct.real_parent`
    pub task_parent: u32,
    /// `file.private_data`
    pub file_private_data: u32,
    /// `socket.sk`
    pub socket_sk: u32,
    /// `msghdr.msg_iter`
    pub msghdr_iter: u32,
    /// `iov_iter.iter_type`, `iov_iter.type` before 5.14
    pub iter_type: u32,
    /// `iov_iter.iov_offset`
    pub iter_offset: u32,
    /// `iov_iter.__iov`, `iov_iter.iov` before 6.4
    pub iter_iov: u32,
    /// `iov_iter.ubuf`, 0 before 6.0
    pub iter_ubuf: u32,
    /// Bits of the iterator's type that are its kind: before 5.14 the lowest is the direction.
    pub iter_kind_mask: u32,
    /// `ITER_IOVEC`
    pub iter_iovec: u32,
    /// `ITER_UBUF`, [`ABSENT`] before 6.0
    pub iter_is_ubuf: u32,
}

/// The value of an enumerator that this kernel does not have: more than any kind.
pub const ABSENT: u32 = u32::MAX;

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
        sk_type: 0,
        sk_shutdown: 0,
        sk_receive_queue_length: 0,
        sk_socket: 0,
        socket_file: 0,
        socket_inode: 0,
        unix_address: 0,
        unix_peer: 0,
        unix_address_length: 0,
        unix_address_name: 0,
        task_group_leader: 0,
        task_comm: 0,
        task_tgid: 0,
        task_pid: 0,
        task_mm: 0,
        task_signal: 0,
        signal_live: 0,
        mm_arg_start: 0,
        mm_arg_end: 0,
        binprm_file: 0,
        file_dentry: 0,
        dentry_name: 0,
        task_files: 0,
        files_fdt: 0,
        fdtable_max_fds: 0,
        fdtable_fd: 0,
        file_inode: 0,
        inode_mode: 0,
        inode_number: 0,
        inode_rdev: 0,
        inode_superblock: 0,
        superblock_device: 0,
        kiocb_file: 0,
        task_parent: 0,
        file_private_data: 0,
        socket_sk: 0,
        msghdr_iter: 0,
        iter_type: 0,
        iter_offset: 0,
        iter_iov: 0,
        iter_ubuf: 0,
        iter_kind_mask: 0,
        iter_iovec: 0,
        iter_is_ubuf: 0,
    };
}
