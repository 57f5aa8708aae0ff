//! From ring-buffer bytes to what the rest of the daemon understands.

use std::net::{Ipv6Addr, SocketAddr};

use sensor_common::{
    connection,
    record::{self, CONTINUATION, END_OF_FILE, FOLLOWED, Kind, Prefix, RESYNC, Record as _, SEND, TLS},
};

use crate::protocol;

/// A record of the ring buffer.
#[derive(Debug)]
pub enum Record<'a> {
    /// For the parsers.
    Event(protocol::Event<'a>),
    /// First bytes of an operation on a connection that is TLS.
    Tls(protocol::Head<'a>),
    /// Where a connection of a Unix-domain socket was made to, before all else that is told of it.
    Path {
        /// [`protocol::Connection::id`].
        connection: u64,
        /// A `sun_path`.
        path: &'a [u8],
    },
    /// A process replaced its program.
    Exec {
        /// The process.
        tgid: u32,
        /// Number of its control group.
        cgroup: u64,
        /// File name of the executable.
        executable: &'a [u8],
        /// The start of the argument vector, NUL-separated.
        arguments: &'a [u8],
    },
    /// A process made another.
    Fork {
        /// The new process.
        child: u32,
        /// The one that made it.
        parent: u32,
        /// Whether the kernel side made it a target.
        is_followed: bool,
    },
}

/// Decodes one record; `None` when it is not whole or of no known kind.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Record<'_>> {
    let (prefix, _) = Prefix::read(bytes)?;
    let payload_len = prefix.payload as usize;
    if prefix.kind == Kind::Head as u16 {
        let (head, rest) = record::Head::read(bytes)?;
        let event = head_event(&head, rest.get(..payload_len)?);
        let is_tls = prefix.flags & TLS != 0;
        return Some(if is_tls { Record::Tls(event) } else { Record::Event(protocol::Event::Head(event)) });
    }
    if prefix.kind == Kind::Close as u16 {
        let (close, _) = record::Close::read(bytes)?;
        return Some(Record::Event(protocol::Event::Close(protocol::Close {
            connection: protocol::Connection { id: close.connection, key: close.key },
            time_ns: close.time_ns,
            end_of_file: prefix.flags & END_OF_FILE != 0,
            received: stream(close.received),
            sent: stream(close.sent),
        })));
    }
    if prefix.kind == Kind::Frames as u16 {
        let (frames, rest) = record::Frames::read(bytes)?;
        return Some(Record::Event(protocol::Event::Frames(frames_event(&frames, rest.get(..payload_len)?))));
    }
    if prefix.kind == Kind::Path as u16 {
        let (path, rest) = record::Path::read(bytes)?;
        return Some(Record::Path { connection: path.connection, path: rest.get(..payload_len)? });
    }
    let (process, rest) = record::Process::read(bytes)?;
    if prefix.kind == Kind::Exec as u16 {
        let name = size_of::<record::Process>() - record::EXECUTABLE_CAPACITY;
        let executable = bytes.get(name..name + record::EXECUTABLE_CAPACITY)?;
        let executable = executable.split(|byte| *byte == 0).next()?;
        let (tgid, cgroup) = (process.tgid, process.cgroup);
        return Some(Record::Exec { tgid, cgroup, executable, arguments: rest.get(..payload_len)? });
    }
    (prefix.kind == Kind::Fork as u16).then_some(Record::Fork {
        child: process.tgid,
        parent: process.parent,
        is_followed: prefix.flags & FOLLOWED != 0,
    })
}

fn head_event<'a>(head: &record::Head, bytes: &'a [u8]) -> protocol::Head<'a> {
    let sent = head.prefix.flags & SEND != 0;
    protocol::Head {
        connection: protocol::Connection { id: head.connection, key: head.key },
        direction: if sent { protocol::Direction::Send } else { protocol::Direction::Receive },
        continuation: head.prefix.flags & CONTINUATION != 0,
        time_ns: head.time_ns,
        bytes,
        operation_len: head.operation_len,
        received: stream(head.received),
        sent: stream(head.sent),
        task: task(head.task),
        endpoints: endpoints(&head.tuple),
    }
}

fn frames_event<'a>(frames: &record::Frames, bytes: &'a [u8]) -> protocol::FrameRecord<'a> {
    let sent = frames.prefix.flags & SEND != 0;
    protocol::FrameRecord {
        connection: protocol::Connection { id: frames.connection, key: frames.key },
        direction: if sent { protocol::Direction::Send } else { protocol::Direction::Receive },
        time_ns: frames.time_ns,
        sequence: frames.sequence,
        is_resync: frames.prefix.flags & RESYNC != 0,
        bytes,
        task: task(frames.task),
        endpoints: endpoints(&frames.tuple),
    }
}

/// A task as the parsers see it.
pub(super) fn task(task: record::Task) -> protocol::Task {
    protocol::Task { tgid: task.tgid, tid: task.tid, comm: task.comm }
}

/// One direction as the parsers see it.
#[must_use]
pub(super) fn stream(stream: connection::Stream) -> protocol::Stream {
    protocol::Stream { bytes: stream.bytes, last_ns: stream.last_ns, tail: stream.tail.to_le_bytes() }
}

fn endpoints(tuple: &record::Tuple) -> protocol::Endpoints {
    protocol::Endpoints {
        local: address(tuple.local_address, tuple.local_port),
        remote: address(tuple.remote_address, tuple.remote_port),
        netns: tuple.netns,
        cookie: (tuple.cookie != 0).then_some(tuple.cookie),
        path: tuple.is_unix().then_some(""),
    }
}

/// An IPv4-mapped address is shown as what it is: an IPv4 address.
pub(super) fn address(address: [u8; 16], port: u16) -> SocketAddr {
    SocketAddr::new(Ipv6Addr::from(address).to_canonical(), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_record_becomes_an_event() {
        let head = record::Head {
            prefix: Prefix { kind: Kind::Head as u16, flags: SEND, payload: 4 },
            key: 1,
            connection: 2,
            operation_len: 100,
            tuple: record::Tuple {
                local_address: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1],
                local_port: 80,
                ..record::Tuple::default()
            },
            ..record::Head::default()
        };
        let mut bytes = head.bytes().to_vec();
        bytes.extend_from_slice(b"HTTPjunk");
        let Some(Record::Event(protocol::Event::Head(event))) = decode(&bytes) else {
            panic!("no head event");
        };
        assert_eq!(event.bytes, b"HTTP");
        assert_eq!(event.endpoints.local, "127.0.0.1:80".parse().unwrap());
        assert_eq!(event.direction, protocol::Direction::Send);
    }

    #[test]
    fn what_is_cut_or_unknown_is_refused() {
        let head = record::Head {
            prefix: Prefix { kind: Kind::Head as u16, flags: 0, payload: 1 },
            ..record::Head::default()
        };
        assert!(decode(head.bytes()).is_none());
        assert!(decode(&[]).is_none());
        assert!(decode(&[0xff; 400]).is_none());
    }
}
