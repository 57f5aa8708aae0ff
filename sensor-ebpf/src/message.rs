//! Does an operation begin like an HTTP/1 message?
//!
//! A cheap test of eight bytes that lets other protocols pass at no cost. It may say yes to bytes that are
//! none (a body, another text protocol): the daemon decides by parsing. It never says no to the beginning of
//! an HTTP/1 message whose method is an upper-case token of two letters or more.

use sensor_common::bytes::{HIGH, at_least, equal, first};

/// What an operation begins like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// A request line: upper-case letters (or `-`), then a space, or cut within the letters.
    Request,
    /// A status line: `HTTP/1.`, or a prefix of it that is cut after the first slash or later.
    Response,
    /// Neither.
    Other,
}

/// What is known of an operation's bytes. A plain structure, because it rests in a map.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Look {
    /// The last eight bytes of the stream after it.
    pub(crate) tail: u64,
    /// How many of its first bytes were copied to where a record is put together.
    pub(crate) copied: u32,
    /// A [`Beginning`].
    pub(crate) begins: u16,
    /// 1 when what was copied is a whole head, and the rest is its body.
    pub(crate) is_whole_head: u16,
}

impl Look {
    /// How the operation begins.
    #[inline(always)]
    pub(crate) fn beginning(&self) -> Beginning {
        match self.begins {
            begins if begins == Beginning::Request as u16 => Beginning::Request,
            begins if begins == Beginning::Response as u16 => Beginning::Response,
            _ => Beginning::Other,
        }
    }
}

/// `HTTP/1.` in the order of the machine.
const STATUS_LINE: u64 = u64::from_le_bytes(*b"HTTP/1.\0");

/// What an operation on a connection that is not followed says of TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    /// It begins with a hello: the handshake starts.
    Hello,
    /// It is one record of application data, or its header: the connection is older than the sensor.
    Data,
    /// Nothing.
    No,
}

/// Judges the first `known` (0-8) bytes of an operation that moved `length`, the first in the lowest byte of `word`.
///
/// Libraries read a record's header of five bytes alone, so that has to do (RFC 8446, 5.1).
#[inline(always)]
pub(crate) fn tls(word: u64, known: u32, length: u32) -> Tls {
    const HEADER: u32 = 5;
    const HANDSHAKE: u64 = 22;
    const APPLICATION_DATA: u64 = 23;
    const MAJOR: u64 = 3;
    /// `2^14 + 2048`, which TLS 1.2 allows (RFC 5246, 6.2.3).
    const RECORD_LIMIT: u32 = (1 << 14) + 2048;
    let kind = word & 0xff;
    let minor = word >> 16 & 0xff;
    let size = ((word >> 24) as u16).swap_bytes() as u32;
    if known < HEADER || word >> 8 & 0xff != MAJOR || minor > 3 || size == 0 || size > RECORD_LIMIT {
        return Tls::No;
    }
    if kind == APPLICATION_DATA && (length == HEADER || length == HEADER + size) {
        return Tls::Data;
    }
    // A hello of a client or a server that is at least as long as its fixed parts, and no longer than 64 KiB.
    let is_hello =
        length == HEADER || known == 8 && matches!(word >> 40 & 0xff, 1 | 2) && word >> 48 & 0xff == 0;
    if kind == HANDSHAKE && size > 40 && is_hello { Tls::Hello } else { Tls::No }
}

/// Judges the first `length` (0–8) bytes of an operation, the first in the lowest byte of `word`.
// VERIFIER: all kernels: eight bytes at a time, because a loop with a branch a byte multiplies its states.
#[inline(always)]
pub(crate) fn beginning(word: u64, length: u32) -> Beginning {
    // "HTTP/1." whole, or its first five or six bytes: shorter prefixes are letters only and pass as a request.
    let mask = first(if length < 7 { length } else { 7 });
    if length >= 5 && word & mask == STATUS_LINE & mask {
        return Beginning::Response;
    }
    let valid = first(length);
    let upper = at_least(word, b'A') & !at_least(word, b'Z' + 1) & !word & HIGH;
    let other = !(upper | equal(word, b'-')) & HIGH & valid;
    if upper & 0x80 == 0 {
        return Beginning::Other;
    }
    // The first byte that is no letter, as a single bit; it must be a space, and not the second byte.
    let end = other & other.wrapping_neg();
    if end == 0 || end > 0x8000 && equal(word, b' ') & end != 0 {
        Beginning::Request
    } else {
        Beginning::Other
    }
}
