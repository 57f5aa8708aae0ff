//! What is read from a `struct sock`, once a connection.

use core::hint::black_box;

use sensor_common::{
    cause::Counter,
    mask,
    record::{self, Kind, PATH_CAPACITY, Prefix, Tuple},
};

use crate::{
    emit,
    globals::offset,
    kernel::{self, Memory},
    maps::{PATH_ROOM, PathScratch},
    task,
};

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const IPPROTO_TCP: u16 = 6;
const IPPROTO_UDP: u16 = 17;
const SOCK_STREAM: u16 = 1;
/// `SHUTDOWN_MASK`: nothing can be sent or received any more, but what waits can still be read.
const SHUTDOWN_MASK: u8 = 3;
const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// What a socket speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
    /// A stream of a Unix-domain socket.
    Unix,
    Other,
}

/// What a hook knows of its sockets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// They are of the Internet.
    Inet,
    /// They are Unix-domain sockets.
    Unix,
    /// Nothing.
    Any,
}

/// What `sock` speaks.
#[inline(always)]
pub(crate) fn transport(sock: u64, known: Family) -> Result<Transport, Counter> {
    if known != Family::Unix {
        let family: u16 = kernel::read(sock + offset!(skc_family))?;
        if !is_inet(family) {
            let is_unix = known == Family::Any && family == AF_UNIX;
            return if is_unix { stream(sock) } else { Ok(Transport::Other) };
        }
    } else {
        return stream(sock);
    }
    let protocol: u16 = kernel::read(sock + offset!(sk_protocol))?;
    Ok(match protocol {
        IPPROTO_TCP => Transport::Tcp,
        IPPROTO_UDP => Transport::Udp,
        _ => Transport::Other,
    })
}

/// What a Unix-domain socket speaks.
#[inline(always)]
fn stream(sock: u64) -> Result<Transport, Counter> {
    if offset!(unix_address) == 0 {
        return Ok(Transport::Other);
    }
    let kind: u16 = kernel::read(sock + offset!(sk_type))?;
    Ok(if kind == SOCK_STREAM { Transport::Unix } else { Transport::Other })
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

/// Both ends of a Unix-domain socket.
#[inline(always)]
pub(crate) fn read_unix_tuple(sock: u64, tuple: &mut Tuple) -> Result<(), Counter> {
    tuple.local_address = of_pointer(sock);
    tuple.remote_address = of_pointer(kernel::read(sock + offset!(unix_peer))?);
    (tuple.local_port, tuple.remote_port) = (0, 0);
    let net: u64 = kernel::read(sock + offset!(skc_net))?;
    tuple.netns = kernel::read(net + offset!(net_ns_inum))?;
    tuple.cookie = inode(sock)?;
    Ok(())
}

/// The inode number of a socket that a process holds: it tells one from another at the same address.
#[inline(always)]
pub(crate) fn inode(sock: u64) -> Result<u64, Counter> {
    let socket: u64 = kernel::read(sock + offset!(sk_socket))?;
    kernel::read(socket + offset!(socket_inode) + offset!(inode_number))
}

/// Whether nothing can be sent or received on a socket any more.
#[inline(always)]
pub(crate) fn is_over(sock: u64) -> Result<bool, Counter> {
    let shutdown: u8 = kernel::read(sock + offset!(sk_shutdown))?;
    if shutdown & SHUTDOWN_MASK != SHUTDOWN_MASK {
        return Ok(false);
    }
    let waiting: u32 = kernel::read(sock + offset!(sk_receive_queue_length))?;
    Ok(waiting == 0)
}

/// The `struct sock` at the other end of a Unix-domain socket.
#[inline(always)]
pub(crate) fn unix_peer(tuple: &Tuple) -> u64 {
    // SAFETY: sixteen bytes are sixteen bytes.
    let [peer, _] = unsafe { core::mem::transmute::<[u8; 16], [u64; 2]>(tuple.remote_address) };
    peer
}

/// Tells where a connection of a Unix-domain socket was made to: the address of the listening socket, which those that it accepts
/// share. One that was made by `socketpair` has none.
#[inline(always)]
pub(crate) fn tell_path(
    sock: u64,
    connection: u64,
    is_client: bool,
    scratch: &mut PathScratch,
) -> Result<(), Counter> {
    let own: u64 = kernel::read(sock + offset!(unix_address))?;
    let peer: u64 = kernel::read(sock + offset!(unix_peer))?;
    let other: u64 = if peer == 0 { 0 } else { kernel::read(peer + offset!(unix_address))? };
    // A client may be bound as well.
    let address = if own == 0 || is_client && other != 0 { other } else { own };
    if address == 0 {
        return Ok(());
    }
    let length: u32 = kernel::read(address + offset!(unix_address_length))?;
    let length = length.wrapping_sub(size_of::<u16>() as u32);
    if length > PATH_CAPACITY as u32 {
        return Ok(());
    }
    // VERIFIER: all kernels: it forgets the comparison with a register's copy.
    let length = black_box(length) & (PATH_ROOM - 1) as u32;
    scratch.record.prefix = Prefix { kind: Kind::Path as u16, flags: 0, payload: length };
    scratch.record.connection = connection;
    scratch.path = [0; mask::PATH_WORDS];
    let from = address + offset!(unix_address_name) + size_of::<u16>() as u64;
    // SAFETY: the length is within the room.
    unsafe { kernel::copy((&raw mut scratch.path).cast(), length, from)? };
    mask::path(&mut scratch.path);
    // SAFETY: the record is whole, with as many bytes behind it.
    let told = unsafe {
        emit::output(core::ptr::from_ref(scratch).cast(), size_of::<record::Path>() as u32 + length)
    };
    if told { Ok(()) } else { Err(Counter::RingFullOther) }
}

/// A kernel address in the place of a network one.
#[inline(always)]
fn of_pointer(address: u64) -> [u8; 16] {
    // SAFETY: sixteen bytes are sixteen bytes.
    unsafe { core::mem::transmute([address, 0_u64]) }
}

/// The IPv4-mapped form (RFC 4291 2.5.5.2) of an address in network order.
#[inline(always)]
fn mapped(address: [u8; 4]) -> [u8; 16] {
    let low = u64::from(u32::from_ne_bytes(address)) << 32 | 0xffff_0000;
    // SAFETY: sixteen bytes are sixteen bytes.
    unsafe { core::mem::transmute([0_u64, low]) }
}
