//! All TCP sockets of the calling thread's network namespace, by `sock_diag(7)`.

use std::io;
use std::net::{IpAddr, SocketAddr};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP, TCP_LISTEN},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla},
};
use netlink_sys::{Socket, SocketAddr as NetlinkAddr, protocols::NETLINK_SOCK_DIAG};

use super::Totals;

/// The kernel fills at most 32 KiB a message (`netlink_dump`).
const BUFFER: usize = 32 * 1024;

/// A socket with both ends.
#[derive(Clone, Copy, Debug)]
pub struct Connected {
    /// Its own address.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// The kernel's number of the socket (`SO_COOKIE`).
    pub cookie: u64,
    /// Inode of the socket as a file; 0 when no process holds it any more.
    pub inode: u32,
    /// What has passed.
    pub totals: Totals,
}

/// A socket that listens.
#[derive(Clone, Copy, Debug)]
pub struct Listening {
    /// Where.
    pub local: SocketAddr,
    /// The kernel's number of the socket.
    pub cookie: u64,
    /// Inode of the socket as a file.
    pub inode: u32,
    /// Connections that wait to be accepted.
    pub queue: u32,
    /// How many may wait.
    pub queue_limit: u32,
    /// Connections that were dropped since the socket listens (`sk_drops`).
    pub drops: u32,
}

/// The sockets of a namespace.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Established ones, and those that are being closed.
    pub connected: Vec<Connected>,
    /// Those that listen.
    pub listening: Vec<Listening>,
}

impl Sockets {
    /// Reads the sockets of the calling thread's namespace; at most `limit` connected ones.
    ///
    /// # Errors
    /// When the kernel refuses, or its answer is not whole.
    pub fn read(limit: usize) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.bind_auto()?;
        socket.connect(&NetlinkAddr::new(0, 0))?;
        let mut sockets = Self::default();
        // A family's dump begins when the other's has ended: the socket has one at a time.
        for (family, id) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
            send(&socket, family, id)?;
            while !sockets.receive(&socket, limit)? {}
        }
        Ok(sockets)
    }

    /// Takes one message; whether it was the last.
    fn receive(&mut self, socket: &Socket, limit: usize) -> io::Result<bool> {
        let mut buffer = Vec::with_capacity(BUFFER);
        socket.recv(&mut buffer, 0)?;
        let mut rest = &buffer[..];
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(invalid)?;
            let length = (message.header.length as usize).next_multiple_of(4);
            match message.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    self.take(&response, limit)?;
                }
                NetlinkPayload::Done(_) => return Ok(true),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(buffer.is_empty())
    }

    fn take(&mut self, response: &InetResponse, limit: usize) -> io::Result<()> {
        let header = &response.header;
        let id = &header.socket_id;
        let local = SocketAddr::new(canonical(id.source_address), id.source_port);
        let cookie = u64::from_ne_bytes(id.cookie);
        if header.state == TCP_LISTEN {
            let drops = response
                .nlas
                .iter()
                .find_map(|nla| if let Nla::MemInfo(memory) = nla { Some(memory.drops) } else { None });
            self.listening.push(Listening {
                local,
                cookie,
                inode: header.inode,
                queue: header.recv_queue,
                queue_limit: header.send_queue,
                drops: drops.unwrap_or_default(),
            });
            return Ok(());
        }
        if self.connected.len() >= limit {
            return Ok(());
        }
        let info =
            response.nlas.iter().find_map(|nla| if let Nla::TcpInfo(info) = nla { Some(info) } else { None });
        // A socket that was destroyed during the dump has none.
        let Some(info) = info else { return Ok(()) };
        self.connected.push(Connected {
            local,
            remote: SocketAddr::new(canonical(id.destination_address), id.destination_port),
            cookie,
            inode: header.inode,
            totals: Totals {
                sent_bytes: info.bytes_sent.saturating_sub(info.bytes_retrans),
                received_bytes: info.bytes_received,
                sent_segments: info.segs_out,
                received_segments: info.segs_in,
                retransmits: info.total_retrans,
                rtt_us: info.rtt,
            },
        });
        Ok(())
    }
}

fn send(socket: &Socket, family: u8, socket_id: SocketId) -> io::Result<()> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::INFO | ExtensionFlags::SKMEMINFO,
        states: StateFlags::ESTABLISHED
            | StateFlags::FIN_WAIT1
            | StateFlags::FIN_WAIT2
            | StateFlags::CLOSE_WAIT
            | StateFlags::LAST_ACK
            | StateFlags::CLOSING
            | StateFlags::LISTEN,
        socket_id,
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0).map(drop)
}

/// An IPv4-mapped address (RFC 4291 2.5.5.2) is the IPv4 address.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv6Addr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_of_this_process_is_found_with_what_has_passed() {
        let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(&[7; 1000]).unwrap();
        server.read_exact(&mut [0; 1000]).unwrap();

        let sockets = Sockets::read(usize::MAX).unwrap();
        let own = client.local_addr().unwrap();
        let sent = sockets.connected.iter().find(|socket| socket.local == own).unwrap();
        assert_eq!((sent.totals.sent_bytes, sent.totals.received_bytes), (1000, 0));
        assert_ne!(sent.cookie, 0);
        let received = sockets.connected.iter().find(|socket| socket.remote == own).unwrap();
        assert_eq!(received.totals.received_bytes, 1000);
        let listening =
            sockets.listening.iter().find(|socket| socket.local == listener.local_addr().unwrap()).unwrap();
        assert_eq!((listening.queue, listening.drops), (0, 0));
    }
}
