//! One TCP connection with both ends in the test's hands.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};

use crate::wait::patience;

/// A port that nothing listened on a moment ago. For programs that cannot choose a port themselves.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port");
    listener.local_addr().expect("the bound address").port()
}

/// A connection from a client to a server, both this process.
///
/// What one end sends, the other end reads at once, so a test is a script of what happens in which order.
#[derive(Debug)]
pub struct Link {
    /// The end that connected.
    pub client: TcpStream,
    /// The end that was accepted.
    pub server: TcpStream,
}

impl Link {
    /// Connects over the loopback interface of `address`' family.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    #[must_use]
    pub fn open(address: IpAddr) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("bind a port");
        let to = listener.local_addr().expect("the bound address");
        Self::connect(&listener, to)
    }

    /// Connects to a listener under an address of choice.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    #[must_use]
    pub fn connect(listener: &TcpListener, to: SocketAddr) -> Self {
        let client = TcpStream::connect(to).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        for end in [&client, &server] {
            end.set_nodelay(true).expect("set TCP_NODELAY");
            // A test that waits for bytes that never come fails instead of hanging.
            end.set_read_timeout(Some(patience(30))).expect("set a timeout");
        }
        Self { client, server }
    }

    /// The server's port.
    ///
    /// # Panics
    /// When the connection is gone.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.local_addr().expect("the server's address").port()
    }

    /// The client sends in one call and the server reads it all.
    #[track_caller]
    pub fn request(&mut self, bytes: &[u8]) {
        pass(&mut self.client, &mut self.server, bytes);
    }

    /// The server sends in one call and the client reads it all.
    #[track_caller]
    pub fn response(&mut self, bytes: &[u8]) {
        pass(&mut self.server, &mut self.client, bytes);
    }

    /// The client sends byte by byte, and the server reads each.
    #[track_caller]
    pub fn request_by_bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.request(&[*byte]);
        }
    }

    /// The server sends byte by byte, and the client reads each.
    #[track_caller]
    pub fn response_by_bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.response(&[*byte]);
        }
    }

    /// The server ends its stream and the client reads the end, then both close.
    #[track_caller]
    pub fn close_by_server(self) {
        let Self { client, server } = self;
        end(server, client);
    }

    /// The client ends its stream and the server reads the end, then both close.
    #[track_caller]
    pub fn close_by_client(self) {
        let Self { client, server } = self;
        end(client, server);
    }
}

#[track_caller]
fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    // Larger than a socket buffer surely holds would block for ever, as nobody reads meanwhile.
    assert!(bytes.len() <= 128 << 10, "too much for one pass");
    from.write_all(bytes).expect("send");
    let mut read = vec![0; bytes.len()];
    to.read_exact(&mut read).expect("receive");
    assert!(read == bytes, "other bytes came out than went in");
}

#[track_caller]
fn end(first: TcpStream, mut second: TcpStream) {
    first.shutdown(Shutdown::Write).expect("shut down");
    let rest = std::io::copy(&mut second, &mut std::io::sink()).expect("read to the end");
    assert_eq!(rest, 0, "bytes were left unread");
    drop(second);
    drop(first);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_and_both_ends() {
        let mut link = Link::open(Ipv4Addr::LOCALHOST.into());
        link.request(b"ping");
        link.response_by_bytes(b"pong");
        link.close_by_server();
        let mut link = Link::open("::1".parse().unwrap());
        link.request_by_bytes(b"ping");
        link.close_by_client();
    }
}
