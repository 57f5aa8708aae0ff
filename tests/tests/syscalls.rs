//! Every system call that moves bytes through a socket is seen, whatever shape its buffers have.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Seek, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsRawFd;

use nix::fcntl::{SpliceFFlags, splice};
use nix::sys::sendfile::sendfile;
use nix::sys::socket::{
    MsgFlags, MultiHeaders, SockaddrIn, recv, recvfrom, recvmmsg, recvmsg, send, sendmmsg, sendmsg, sendto,
};
use nix::sys::uio::{readv, writev};
use tests::calls::{Role, calls};
use tests::link::Link;
use tests::sensor::Sensor;

const REQUEST: &[u8] = b"POST /calls HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody";
const RESPONSE: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Length: 6\r\n\r\nthanks";

/// How one call cuts its bytes into buffers.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// One buffer.
    Whole,
    /// One byte, nothing, seven bytes, and the rest.
    Scattered,
    /// Sixteen bytes a buffer.
    Small,
}

impl Shape {
    const ALL: [Self; 3] = [Self::Whole, Self::Scattered, Self::Small];

    fn lengths(self, length: usize) -> Vec<usize> {
        match self {
            Self::Whole => vec![length],
            Self::Scattered => vec![1, 0, 7, length - 8],
            Self::Small => {
                let full = std::iter::repeat_n(16, length / 16);
                full.chain((!length.is_multiple_of(16)).then_some(length % 16)).collect()
            }
        }
    }
}

/// Sends all pieces.
type Sender = fn(&TcpStream, &[&[u8]]) -> usize;
/// Fills all pieces.
type Receiver = fn(&TcpStream, &mut [Vec<u8>]) -> usize;

const SENDERS: [(&str, Sender); 6] = [
    ("write", |stream, pieces| nix::unistd::write(stream, &pieces.concat()).expect("write")),
    ("writev", |stream, pieces| writev(stream, &slices(pieces)).expect("writev")),
    ("send", |stream, pieces| {
        send(stream.as_raw_fd(), &pieces.concat(), MsgFlags::MSG_NOSIGNAL).expect("send")
    }),
    ("sendto", |stream, pieces| {
        // A connected TCP socket ignores the address.
        let to = SockaddrIn::new(127, 0, 0, 1, 9);
        sendto(stream.as_raw_fd(), &pieces.concat(), &to, MsgFlags::empty()).expect("sendto")
    }),
    ("sendmsg", |stream, pieces| {
        sendmsg::<()>(stream.as_raw_fd(), &slices(pieces), &[], MsgFlags::empty(), None).expect("sendmsg")
    }),
    ("sendmmsg", |stream, pieces| {
        let message = [slices(pieces)];
        let mut headers = MultiHeaders::<SockaddrIn>::preallocate(1, None);
        let sent = sendmmsg(stream.as_raw_fd(), &mut headers, &message, [None], [], MsgFlags::empty());
        sent.expect("sendmmsg").map(|message| message.bytes).sum()
    }),
];

const RECEIVERS: [(&str, Receiver); 8] = [
    ("read", |stream, pieces| one_buffer(pieces, |whole| nix::unistd::read(stream, whole).expect("read"))),
    ("readv", |stream, pieces| readv(stream, &mut slices_mut(pieces)).expect("readv")),
    ("recv", |stream, pieces| {
        one_buffer(pieces, |whole| recv(stream.as_raw_fd(), whole, MsgFlags::empty()).expect("recv"))
    }),
    ("recv after two peeks", |stream, pieces| {
        one_buffer(pieces, |whole| {
            for _ in 0..2 {
                recv(stream.as_raw_fd(), whole, MsgFlags::MSG_PEEK).expect("peek");
            }
            recv(stream.as_raw_fd(), whole, MsgFlags::empty()).expect("recv")
        })
    }),
    ("recv that waits for all", |stream, pieces| {
        one_buffer(pieces, |whole| recv(stream.as_raw_fd(), whole, MsgFlags::MSG_WAITALL).expect("recv"))
    }),
    ("recvfrom", |stream, pieces| {
        one_buffer(pieces, |whole| recvfrom::<SockaddrIn>(stream.as_raw_fd(), whole).expect("recvfrom").0)
    }),
    ("recvmsg", |stream, pieces| {
        let mut slices = slices_mut(pieces);
        recvmsg::<()>(stream.as_raw_fd(), &mut slices, None, MsgFlags::empty()).expect("recvmsg").bytes
    }),
    ("recvmmsg", |stream, pieces| {
        let mut message = [slices_mut(pieces)];
        let mut headers = MultiHeaders::<SockaddrIn>::preallocate(1, None);
        let received = recvmmsg(stream.as_raw_fd(), &mut headers, &mut message, MsgFlags::empty(), None);
        received.expect("recvmmsg").map(|message| message.bytes).sum()
    }),
];

fn slices<'a>(pieces: &[&'a [u8]]) -> Vec<IoSlice<'a>> {
    pieces.iter().map(|piece| IoSlice::new(piece)).collect()
}

fn slices_mut(pieces: &mut [Vec<u8>]) -> Vec<IoSliceMut<'_>> {
    pieces.iter_mut().map(|piece| IoSliceMut::new(piece)).collect()
}

/// Calls with one buffer that is as long as all pieces, and fills these from it.
fn one_buffer(pieces: &mut [Vec<u8>], call: impl FnOnce(&mut [u8]) -> usize) -> usize {
    let mut whole = vec![0; pieces.iter().map(Vec::len).sum()];
    let received = call(&mut whole);
    let mut rest = whole.as_slice();
    for piece in pieces {
        let (start, end) = rest.split_at(piece.len());
        piece.copy_from_slice(start);
        rest = end;
    }
    received
}

/// `bytes` cut into pieces.
fn cut(bytes: &[u8], shape: Shape) -> Vec<&[u8]> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    for length in shape.lengths(bytes.len()) {
        let (piece, end) = rest.split_at(length);
        pieces.push(piece);
        rest = end;
    }
    pieces
}

#[track_caller]
fn pass(from: &TcpStream, to: &TcpStream, bytes: &[u8], shape: Shape, sender: Sender, receiver: Receiver) {
    let pieces = cut(bytes, shape);
    assert_eq!(sender(from, &pieces), bytes.len(), "bytes sent");
    let mut received: Vec<Vec<u8>> = pieces.iter().map(|piece| vec![0; piece.len()]).collect();
    assert_eq!(receiver(to, &mut received), bytes.len(), "bytes received");
    assert_eq!(received.concat(), bytes);
}

/// Two exchanges on each of several connections, a connection for each pair of calls and each shape.
#[track_caller]
fn exchanges(pairs: &[(&str, Sender, Receiver)]) {
    let sensor = Sensor::start();
    let mut links = Vec::new();
    for (name, sender, receiver) in pairs {
        for shape in Shape::ALL {
            let link = Link::open(Ipv4Addr::LOCALHOST.into());
            for _ in 0..2 {
                pass(&link.client, &link.server, REQUEST, shape, *sender, *receiver);
                pass(&link.server, &link.client, RESPONSE, shape, *sender, *receiver);
            }
            links.push((format!("{name}, {shape:?}"), link));
        }
    }
    let ports: Vec<(String, u16)> = links.into_iter().map(|(name, link)| (name, link.port())).collect();
    for (name, port) in &ports {
        eprintln!("port {port}: {name}");
    }
    // All at once: each look at the sensor takes its time under emulation.
    let two = calls(&[("POST /calls 201", 2)]);
    let sides = || ports.iter().flat_map(|(_, port)| [(Role::Server, *port), (Role::Client, *port)]);
    let expected: Vec<_> = sides().map(|(role, port)| (role, port, &two)).collect();
    sensor.expect_all(&expected);
    let sides: Vec<_> = sides().collect();
    for span in sensor.expect_spans_of(&sides, 2 * sides.len()) {
        let port = span.attribute("server.port");
        assert_eq!(span.attribute("http.request.body.size"), "4", "port {port}");
        assert_eq!(span.attribute("http.response.body.size"), "6", "port {port}");
    }
}

#[test]
fn calls_that_send() {
    exchanges(&SENDERS.map(|(name, sender)| (name, sender, RECEIVERS[0].1)));
}

#[test]
fn calls_that_receive() {
    exchanges(&RECEIVERS.map(|(name, receiver)| (name, SENDERS[0].1, receiver)));
}

/// Several messages in one `sendmmsg` are several operations. Where their buffers are not known, that is counted,
/// and the connection's other side is exact all the same.
#[test]
fn several_messages_in_one_call() {
    let sensor = Sensor::start();
    let link = Link::open(Ipv4Addr::LOCALHOST.into());
    let port = link.port();
    let messages: Vec<[IoSlice<'_>; 1]> =
        cut(REQUEST, Shape::Scattered).into_iter().map(|piece| [IoSlice::new(piece)]).collect();
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(messages.len(), None);
    let to = vec![None; messages.len()];
    let sent = sendmmsg(link.client.as_raw_fd(), &mut headers, &messages, to, [], MsgFlags::empty());
    assert_eq!(sent.expect("sendmmsg").map(|message| message.bytes).sum::<usize>(), REQUEST.len());
    (&link.server).read_exact(&mut vec![0; REQUEST.len()]).expect("receive");
    pass(&link.server, &link.client, RESPONSE, Shape::Whole, SENDERS[0].1, RECEIVERS[0].1);
    link.close_by_client();

    sensor.expect(Role::Server, port, &calls(&[("POST /calls 201", 1)]));
    let client = sensor.counted(Role::Client, port);
    let lost = sensor.lost();
    assert!(
        client == calls(&[("POST /calls 201", 1)]) || (client.is_empty() && !lost.is_empty()),
        "neither counted nor lost: {client:?}, {lost:?}"
    );
}

const BODY: usize = 50_000;

/// Answers three requests whose bodies are sent by `send_body`, which gets the socket and an open file.
#[track_caller]
fn bodies_without_buffers(send_body: fn(&TcpStream, &File)) {
    let sensor = Sensor::start();
    let mut file = tempfile::tempfile().expect("make a file");
    file.write_all(&[b'f'; BODY]).expect("write a file");
    let mut link = Link::open(Ipv4Addr::LOCALHOST.into());
    let port = link.port();
    for _ in 0..3 {
        link.request(b"GET /file HTTP/1.1\r\nHost: localhost\r\n\r\n");
        link.response(format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n").as_bytes());
        file.rewind().expect("rewind");
        send_body(&link.server, &file);
        link.client.read_exact(&mut vec![0; BODY]).expect("receive");
    }
    link.close_by_client();
    sensor.expect_both(port, &calls(&[("GET /file 200", 3)]));
    for role in [Role::Server, Role::Client] {
        for span in sensor.expect_spans(role, port, 3) {
            assert_eq!(span.attribute("http.response.body.size"), BODY.to_string(), "{role:?}");
        }
    }
}

#[test]
fn bodies_by_sendfile() {
    bodies_without_buffers(|stream, file| {
        let mut left = BODY;
        while left > 0 {
            left -= sendfile(stream, file, None, left).expect("sendfile");
        }
    });
}

#[test]
fn bodies_by_splice() {
    bodies_without_buffers(|stream, file| {
        let (out, into) = nix::unistd::pipe().expect("make a pipe");
        let mut left = BODY;
        while left > 0 {
            let filled =
                splice(file, None, &into, None, left, SpliceFFlags::empty()).expect("splice from the file");
            let mut piped = filled;
            while piped > 0 {
                piped -= splice(&out, None, stream, None, piped, SpliceFFlags::empty())
                    .expect("splice to the socket");
            }
            left -= filled;
        }
    });
}

/// A receive into nowhere still moves the stream on.
#[test]
fn a_body_that_is_thrown_away() {
    let sensor = Sensor::start();
    let mut link = Link::open(Ipv4Addr::LOCALHOST.into());
    let port = link.port();
    for _ in 0..3 {
        let head = format!("POST /sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BODY}\r\n\r\n");
        link.request(head.as_bytes());
        link.client.write_all(&[b'b'; BODY]).expect("send");
        let mut left = BODY;
        while left > 0 {
            // MSG_TRUNC on TCP drops bytes instead of copying them.
            left -= recv(link.server.as_raw_fd(), &mut vec![0; left], MsgFlags::MSG_TRUNC).expect("receive");
        }
        link.response(RESPONSE);
    }
    link.close_by_client();
    sensor.expect_both(port, &calls(&[("POST /sink 201", 3)]));
}
