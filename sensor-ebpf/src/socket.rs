//! What is read from a `struct sock`, once a connection.

use sensor_common::{cause::Counter, record::Tuple};

use crate::{
    globals::offset,
    kernel::{self, Memory},
    task,
};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const IPPROTO_TCP: u16 = 6;
const IPPROTO_UDP: u16 = 17;
const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// What a socket speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
    Other,
}

/// What `sock` speaks.
#[inline(always)]
pub(crate) fn transport(sock: u64) -> Result<Transport, Counter> {
    if !is_inet(kernel::read(sock + offset!(skc_family))?) {
        return Ok(Transport::Other);
    }
    let protocol: u16 = kernel::read(sock + offset!(sk_protocol))?;
    Ok(match protocol {
        IPPROTO_TCP => Transport::Tcp,
        IPPROTO_UDP => Transport::Udp,
        _ => Transport::Other,
    })
}

/// The port that `sock` is connected to; 0 for none.
#[inline(always)]
pub(crate) fn remote_port(sock: u64) -> Result<u16, Counter> {
    let port: u16 = kernel::read(sock + offset!(skc_dport))?;
    Ok(u16::from_be(port))
}

/// Whether a process holds `sock` as a file. Sockets that the kernel keeps for itself (NFS, a block device) have none,
/// and the system call in progress is not about them.
#[inline(always)]
pub(crate) fn is_file(sock: u64) -> Result<bool, Counter> {
    let socket: u64 = kernel::read(sock + offset!(sk_socket))?;
    if socket == 0 {
        return Ok(false);
    }
    let file: u64 = kernel::read(socket + offset!(socket_file))?;
    Ok(file != 0)
}

/// The `struct sock` behind a descriptor of the current process; `None` when it is no socket.
#[inline(always)]
pub(crate) fn of_descriptor(descriptor: u32) -> Result<Option<u64>, Counter> {
    let Some(file) = task::file(descriptor)? else { return Ok(None) };
    let inode: u64 = kernel::read(file + offset!(file_inode))?;
    let mode: u16 = kernel::read(inode + offset!(inode_mode))?;
    if mode & S_IFMT != S_IFSOCK {
        return Ok(None);
    }
    let socket: u64 = kernel::read(file + offset!(file_private_data))?;
    let sock: u64 = kernel::read(socket + offset!(socket_sk))?;
    Ok(if sock == 0 { None } else { Some(sock) })
}

/// Whether a socket of this family can carry TCP and UDP.
#[inline(always)]
fn is_inet(family: u16) -> bool {
    family == AF_INET || family == AF_INET6
}

/// The address and port in a `struct sockaddr`; `None` for another family than those of the Internet.
#[inline(always)]
pub(crate) fn address(at: u64, memory: Memory) -> Result<Option<([u8; 16], u16)>, Counter> {
    // `struct sockaddr_in` (family, port, address) and the start of `struct sockaddr_in6`, in memory order.
    let start: [u16; 4] = memory.read(at)?;
    let [family, port, first, second] = start;
    let address = match family {
        AF_INET => mapped((u32::from(second) << 16 | u32::from(first)).to_ne_bytes()),
        AF_INET6 => memory.read(at + 8)?,
        _ => return Ok(None),
    };
    Ok(Some((address, u16::from_be(port))))
}

/// Both ends of `sock`.
#[inline(always)]
pub(crate) fn read_tuple(sock: u64, tuple: &mut Tuple) -> Result<(), Counter> {
    read_tuple_by::<kernel::Probed>(sock, tuple)
}

/// The same, by this way of reading.
#[inline(always)]
pub(crate) fn read_tuple_by<R: kernel::Reads>(sock: u64, tuple: &mut Tuple) -> Result<(), Counter> {
    let family: u16 = R::member(sock + offset!(skc_family))?;
    if family == AF_INET6 {
        tuple.local_address = kernel::read(sock + offset!(skc_v6_rcv_saddr))?;
        tuple.remote_address = kernel::read(sock + offset!(skc_v6_daddr))?;
    } else {
        let local: u32 = R::member(sock + offset!(skc_rcv_saddr))?;
        let remote: u32 = R::member(sock + offset!(skc_daddr))?;
        tuple.local_address = mapped(local.to_ne_bytes());
        tuple.remote_address = mapped(remote.to_ne_bytes());
    }
    tuple.local_port = R::member(sock + offset!(skc_num))?;
    let remote_port: u16 = R::member(sock + offset!(skc_dport))?;
    tuple.remote_port = u16::from_be(remote_port);
    let net: u64 = R::member(sock + offset!(skc_net))?;
    tuple.netns = R::member(net + offset!(net_ns_inum))?;
    tuple.cookie = R::member(sock + offset!(skc_cookie))?;
    Ok(())
}

/// The IPv4-mapped form (RFC 4291 2.5.5.2) of an address in network order.
#[inline(always)]
fn mapped(address: [u8; 4]) -> [u8; 16] {
    let low = u64::from(u32::from_ne_bytes(address)) << 32 | 0xffff_0000;
    // SAFETY: sixteen bytes are sixteen bytes.
    unsafe { core::mem::transmute([0_u64, low]) }
}
