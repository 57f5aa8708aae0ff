//! A TLS connection of any bytes, told in any pieces: each handshake is told once at most, and what a hello says is
//! within its bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sensor::protocol::{
    ClientHello, Close, Connection, Direction, Endpoints, Handshakes, Head, ServerHello, Stream, Task,
};

/// Flags, how many bytes were not seen, and those that were.
type Operation<'a> = (u8, u8, &'a [u8]);

/// An operation, and what is behind it: bit 0 of the first byte says that it is a send, bit 1 that one more byte moved
/// behind it; then how many bytes behind the seen ones were not, how many were (16 bits), and these.
fn operation(bytes: &[u8]) -> Option<(Operation<'_>, &[u8])> {
    let (&[flags, unseen, low, high], rest) = bytes.split_first_chunk()?;
    let (seen, rest) = rest.split_at(rest.len().min(u16::from_le_bytes([low, high]).into()));
    Some(((flags, unseen, seen), rest))
}

fuzz_target!(|bytes: &[u8]| {
    if let Some(hello) = ClientHello::parse(bytes) {
        let name = hello.server_name.unwrap_or_default();
        assert!(
            name.len() <= 253
                && !name.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii_graphic())
        );
        assert!(hello.alpn.iter().all(|name| !name.is_empty() && name.len() <= 255));
    }
    if let Some(hello) = ServerHello::parse(bytes) {
        assert!(hello.alpn.is_none_or(|name| !name.is_empty()));
    }
    let mut handshakes = Handshakes::default();
    let (mut received, mut sent) = (Stream::default(), Stream::default());
    let connection = Connection { id: 1, key: 1 };
    let mut told = 0;
    let mut rest = bytes;
    let mut time_ns = 0;
    while let Some(((flags, unseen, piece), behind)) = operation(rest) {
        (rest, time_ns) = (behind, time_ns + 1);
        let is_send = flags & 1 != 0;
        let operation_len = u32::from(unseen) + u32::try_from(piece.len()).unwrap();
        if operation_len == 0 {
            continue;
        }
        let (was_received, was_sent) = (received, sent);
        let stream = if is_send { &mut sent } else { &mut received };
        stream.bytes += u64::from(operation_len) + u64::from(flags >> 1 & 1);
        stream.last_ns = time_ns;
        let head = Head {
            connection,
            direction: if is_send { Direction::Send } else { Direction::Receive },
            continuation: true,
            time_ns,
            bytes: piece,
            operation_len,
            received: was_received,
            sent: was_sent,
            task: Task { tgid: 1, tid: 1, comm: [0; 16] },
            endpoints: Endpoints {
                local: ([127, 0, 0, 1], 1).into(),
                remote: ([127, 0, 0, 1], 2).into(),
                netns: 1,
                cookie: None,
                path: None,
            },
        };
        told += usize::from(handshakes.on_head(&head).is_some());
    }
    let close = Close { connection, time_ns: u64::MAX, end_of_file: false, received, sent };
    told += usize::from(handshakes.on_close(&close).is_some());
    assert!(told <= 1 && handshakes.is_empty());
});
