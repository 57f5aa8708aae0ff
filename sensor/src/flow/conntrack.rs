//! Translated addresses, undone: what the host's connection tracking knows of a connection (`nf_conntrack`, by `ctnetlink`).
//!
//! kube-proxy makes an endpoint's address of a Service's in the host's namespace, whatever it does so with (iptables, nftables,
//! IPVS), and a client's address may become the node's. So the two sockets of a connection know each other by addresses that
//! neither has. The kernel's entry has the addresses of both directions. It is asked for by one socket's addresses, in
//! whichever direction they are, and what the other direction is sent with is what the other end's socket has. An entry
//! outlives its connection, by 10 s after a reset and two minutes else, so it is there when the connection is told.

use std::net::SocketAddr;
use std::{fs, io, thread};

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Protocol, Tuple,
};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use netlink_sys::{Socket, SocketAddr as NetlinkAddr, protocols::NETLINK_NETFILTER};
use nix::sched::{CloneFlags, setns};

use super::namespace::host;

/// One entry is some 300 bytes.
const BUFFER: usize = 4 * 1024;
/// Of a kernel, or a namespace, that tracks connections.
const SETTING: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

/// The addresses of a connection as one of its sockets has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The socket's own.
    pub local: SocketAddr,
    /// The other end's.
    pub remote: SocketAddr,
}

impl View {
    /// What the other end has, unless addresses are translated on the way.
    #[must_use]
    pub fn turned(self) -> Self {
        Self { local: self.remote, remote: self.local }
    }
}

/// Asks the kernel for entries of the host's namespace.
#[derive(Debug)]
pub struct Conntrack {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Conntrack {
    /// Opens a socket in the namespace of the host's first process and tries it.
    ///
    /// # Errors
    /// `NotFound` where nothing tracks connections there (yet), and that is left so; `PermissionDenied` without
    /// `CAP_NET_ADMIN`; or what else the kernel refuses.
    pub fn open() -> io::Result<Self> {
        // A thread of its own enters the namespace; a socket stays in the one where it was made.
        let thread = thread::Builder::new().name("conntrack".to_owned()).spawn(|| {
            setns(host()?, CloneFlags::CLONE_NEWNET)?;
            Self::here()
        })?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread has ended")))
    }

    fn here() -> io::Result<Self> {
        // A question would have the kernel load the module.
        if !fs::exists(SETTING)? {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the kernel tracks no connections"));
        }
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&NetlinkAddr::new(0, 0))?;
        let mut conntrack = Self { socket, sequence: 0, buffer: Vec::with_capacity(BUFFER) };
        let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
        match conntrack.other_end(View { local: nobody, remote: nobody }) {
            Ok(_) => Ok(conntrack),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(io::Error::new(error.kind(), "asking what the kernel tracks needs CAP_NET_ADMIN"))
            }
            Err(error) => Err(error),
        }
    }

    /// What the other end's socket has; `None` where the connection has no entry.
    ///
    /// # Errors
    /// When the kernel refuses, or its answer makes no sense.
    pub fn other_end(&mut self, view: View) -> io::Result<Option<View>> {
        self.sequence = self.sequence.wrapping_add(1);
        let family = match view.local {
            SocketAddr::V4(_) => NetfilterProtoFamily::IPv4,
            SocketAddr::V6(_) => NetfilterProtoFamily::IPv6,
        };
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST;
        header.sequence_number = self.sequence;
        let get = ConntrackMessage::Get(vec![ConntrackAttribute::CtaTupleOrig(tuple(view))]);
        let message = NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), get);
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        self.buffer.resize(message.buffer_len(), 0);
        message.serialize(&mut self.buffer);
        self.socket.send(&self.buffer, 0)?;
        loop {
            self.buffer.clear();
            // The kernel has answered before the send returned.
            self.socket.recv(&mut self.buffer, libc::MSG_DONTWAIT)?;
            let answer = NetlinkMessage::<NetfilterMessage>::deserialize(&self.buffer).map_err(invalid)?;
            if answer.header.sequence_number != self.sequence {
                continue;
            }
            return match answer.payload {
                NetlinkPayload::InnerMessage(message) => opposite(&message.inner, view).map(Some),
                NetlinkPayload::Error(error) => match error.to_io() {
                    error if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
                    error => Err(error),
                },
                _ => Err(invalid("no entry")),
            };
        }
    }
}

/// What is sent from a socket, as connection tracking has it.
fn tuple(view: View) -> Vec<Tuple> {
    vec![
        Tuple::Ip(vec![
            IPTuple::SourceAddress(view.local.ip()),
            IPTuple::DestinationAddress(view.remote.ip()),
        ]),
        Tuple::Proto(vec![
            ProtoTuple::Protocol(Protocol::Tcp),
            ProtoTuple::SourcePort(view.local.port()),
            ProtoTuple::DestinationPort(view.remote.port()),
        ]),
    ]
}

/// Of an entry the direction that is not the one that was asked for.
fn opposite(message: &NetfilterMessageInner, asked: View) -> io::Result<View> {
    let NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)) = message else {
        return Err(invalid("no entry"));
    };
    let directions = attributes.iter().filter_map(|attribute| match attribute {
        ConntrackAttribute::CtaTupleOrig(tuple) | ConntrackAttribute::CtaTupleReply(tuple) => view(tuple),
        _ => None,
    });
    match directions.collect::<Vec<_>>()[..] {
        [original, reply] if original == asked => Ok(reply),
        [original, reply] if reply == asked => Ok(original),
        _ => Err(invalid("an entry of other addresses")),
    }
}

/// The addresses of a socket that sends with these.
fn view(tuple: &[Tuple]) -> Option<View> {
    let (mut from, mut to, mut ports) = (None, None, [None; 2]);
    for part in tuple {
        match part {
            Tuple::Ip(addresses) => {
                for address in addresses {
                    match address {
                        IPTuple::SourceAddress(address) => from = Some(*address),
                        IPTuple::DestinationAddress(address) => to = Some(*address),
                        _ => {}
                    }
                }
            }
            Tuple::Proto(parts) => {
                for part in parts {
                    match part {
                        ProtoTuple::SourcePort(port) => ports[0] = Some(*port),
                        ProtoTuple::DestinationPort(port) => ports[1] = Some(*port),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some(View { local: SocketAddr::new(from?, ports[0]?), remote: SocketAddr::new(to?, ports[1]?) })
}

fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(local: &str, remote: &str) -> View {
        View { local: local.parse().unwrap(), remote: remote.parse().unwrap() }
    }

    fn entry(original: View, reply: View) -> NetfilterMessageInner {
        let attributes = vec![
            ConntrackAttribute::CtaTupleOrig(tuple(original)),
            ConntrackAttribute::CtaTimeout(120),
            ConntrackAttribute::CtaTupleReply(tuple(reply)),
        ];
        ConntrackMessage::New(attributes).into()
    }

    #[test]
    fn each_end_is_led_to_the_other() {
        let client = seen("10.1.0.5:40000", "172.20.0.10:80");
        let server = seen("10.1.0.9:8080", "10.0.0.1:31000");
        let entry = entry(client, server);
        assert_eq!(opposite(&entry, client).unwrap(), server);
        assert_eq!(opposite(&entry, server).unwrap(), client);
        assert!(opposite(&entry, server.turned()).is_err());
    }

    #[test]
    fn half_an_entry_is_none() {
        let client = seen("[2001:db8::5]:40000", "[2001:db8::80]:80");
        let half = ConntrackMessage::New(vec![ConntrackAttribute::CtaTupleOrig(tuple(client))]).into();
        assert!(opposite(&half, client).is_err());
        let mut without_ports = tuple(client);
        without_ports.pop();
        assert_eq!(view(&without_ports), None);
    }
}
