//! A receiver that takes everything and looks at nothing.

use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use anyhow::{Context as _, Result};

/// Success for each of the protocols; the field says that remote write 2.0 is spoken.
const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\nx-prometheus-remote-write-samples-written: 1\r\n\r\n";

/// It ends with this program.
pub(super) struct Sink(u16);

impl Sink {
    pub(super) fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot open a port")?;
        let port = listener.local_addr().context("a socket without an address")?.port();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || serve(&stream));
            }
        });
        Ok(Self(port))
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.0)
    }
}

/// Answers requests until the connection ends.
fn serve(stream: &TcpStream) -> Option<()> {
    let mut reader = BufReader::with_capacity(256 * 1024, stream);
    loop {
        let length = length(&mut reader)?;
        io::copy(&mut (&mut reader).take(length), &mut io::sink()).ok()?;
        (&mut &*stream).write_all(ANSWER).ok()?;
    }
}

/// Reads the head of a request, for the length of its body.
fn length(reader: &mut impl io::BufRead) -> Option<u64> {
    let (mut length, mut line) = (0, String::new());
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_body_is_read() {
        let head = |text: &str| length(&mut text.as_bytes());
        assert_eq!(head("POST / HTTP/1.1\r\nContent-Length: 12\r\nA: b\r\n\r\n"), Some(12));
        assert_eq!(head("GET / HTTP/1.1\r\n\r\n"), Some(0));
        assert_eq!(head("POST / HTTP/1.1\r\nContent-Length: 12\r\n"), None, "it was cut off");
    }
}
