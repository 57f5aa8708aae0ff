//! Any bytes: at most one protocol, whatever follows the bytes that are looked at, and HTTP never another one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sensor_common::protocol::{FIRST_BYTES, NetworkProtocol, Spoken};

/// What the kernel says of an operation of `length` bytes that begins so.
fn spoken(bytes: &[u8], length: u32) -> Option<Spoken> {
    let mut first = [0; FIRST_BYTES + 8];
    let seen = bytes.len().min(FIRST_BYTES);
    first[..seen].copy_from_slice(&bytes[..seen]);
    let (words, _) = first.as_chunks::<8>();
    NetworkProtocol::of(std::array::from_fn(|index| u64::from_le_bytes(words[index])), length)
}

fuzz_target!(|input: (u16, &[u8])| {
    let (more, bytes) = input;
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).saturating_add(u32::from(more));
    let found = spoken(bytes, length);
    assert_eq!(spoken(&bytes[..bytes.len().min(FIRST_BYTES)], length), found);
    for start in ["GET / HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n", "PRI * HTTP/2.0\r\n"] {
        let message = [start.as_bytes(), bytes].concat();
        assert_eq!(spoken(&message, length.saturating_add(20)), None);
    }
});
