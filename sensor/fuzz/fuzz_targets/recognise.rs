//! Any bytes: at most one protocol, whatever follows the bytes that are looked at, and HTTP never another one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sensor::protocol::{NetworkProtocol, RECOGNISED_BYTES};

fuzz_target!(|input: (u16, &[u8])| {
    let (more, bytes) = input;
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX) + u32::from(more);
    let found = NetworkProtocol::of(bytes, length);
    let first = &bytes[..bytes.len().min(RECOGNISED_BYTES)];
    assert_eq!(NetworkProtocol::of(first, length), found);
    for start in ["GET / HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n", "PRI * HTTP/2.0\r\n"] {
        let message = [start.as_bytes(), bytes].concat();
        assert_eq!(NetworkProtocol::of(&message, length.saturating_add(20)), None);
    }
});
