//! Connections that go on in HTTP/2 behind a `101 Switching Protocols` (`Upgrade: h2c`, [RFC 7540] section 3.2).
//!
//! The 101 is looked at once it was told, in the program that tells it, because the server's frames may follow it in the same
//! operation. A line of it ends in `h2c`, and what follows begins like SETTINGS, the server's first frame; else the
//! connection stays what it was. The daemon reads the header.
//!
//! [RFC 7540]: https://www.rfc-editor.org/rfc/rfc7540

use core::ptr::{read_volatile, write_volatile};

use sensor_common::{
    cause::Counter,
    connection::Direction,
    record::{CONTINUATION, SEND},
};

use crate::{
    buffers::bounded,
    http2,
    maps::{CONNECTIONS, FRAMES, HeadScratch, SCRATCH},
    message::Beginning,
    next::Next,
};

/// The most bytes of a 101's head: a longer one is left alone.
const HEAD_LIMIT: u32 = 256;
/// Where the status stands in a status line, with the space before it.
const STATUS_AT: usize = 8;
const SWITCHING: u32 = u32::from_le_bytes(*b" 101");
/// The end of a header section, as its bytes are shifted in.
const EMPTY_LINE: u32 = u32::from_be_bytes(*b"\r\n\r\n");
/// The end of the line that names the protocol.
const H2C: u32 = u32::from_be_bytes(*b"h2c\r");

/// Looks at the head that was just told from this slot of [`SCRATCH`], which is a direction's. If it is a 101 and frames
/// follow it in the same operation, they are to be walked.
#[inline(always)]
pub(crate) fn after_head(slot: u32) -> Result<Next, Counter> {
    let Some(found) = SCRATCH.get_ptr_mut(slot) else { return Ok(Next::Done) };
    // SAFETY: the slot is this processor's and the caller's.
    let scratch = unsafe { &mut *found };
    let prefix = scratch.head.prefix;
    // SAFETY: the payload is longer, and aligned to eight bytes.
    let status = unsafe { read_volatile(scratch.payload.as_ptr().add(STATUS_AT).cast::<u32>()) };
    if scratch.look.beginning() != Beginning::Response
        || prefix.flags & CONTINUATION != 0
        || status != SWITCHING
    {
        return Ok(Next::Done);
    }
    let end = head_end(scratch);
    let (captured, length) = (prefix.payload, scratch.head.operation_len);
    if end == 0 || end > captured {
        return Ok(Next::Done);
    }
    // SAFETY: the payload is three times as long as the offset can be.
    let word = unsafe { scratch.payload.as_ptr().add(bounded(end) as usize).cast::<u64>().read_unaligned() };
    if end + 8 <= captured && !http2::is_settings(word) {
        return Ok(Next::Done);
    }
    let Some(connection) = CONNECTIONS.get_ptr_mut(scratch.head.key) else { return Ok(Next::Done) };
    http2::follow(scratch.head.key, connection)?;
    let Some(ways) = FRAMES.get_ptr_mut(scratch.head.key) else { return Ok(Next::Done) };
    // SAFETY: the map returned a live entry; each direction's operations are serialised by the socket's lock.
    let [receive, send] = unsafe { &mut (*ways).ways };
    let is_send = prefix.flags & SEND != 0;
    let way = if is_send { send } else { receive };
    if end == length {
        way.is_synced = 1;
        return Ok(Next::Done);
    }
    http2::pass_over(way, end);
    let walk = http2::walk_of(slot, way, prefix.flags & SEND, length)?;
    walk.buffers = scratch.buffers;
    walk.record.key = scratch.head.key;
    walk.record.connection = scratch.head.connection;
    walk.record.time_ns = scratch.head.time_ns;
    Ok(Next::Walk(if is_send { Direction::Send } else { Direction::Receive }))
}

/// Where the head ends in what was captured; 0 when it does not, or is about another protocol.
// VERIFIER: all kernels: the answers go through the map, so that each place where the loop can end is not a state of its own.
#[inline(always)]
fn head_end(scratch: &mut HeadScratch) -> u32 {
    let mut last = 0_u32;
    scratch.look.copied = 0;
    scratch.look.is_whole_head = 0;
    for at in 0..HEAD_LIMIT {
        // SAFETY: the payload is longer.
        let byte = unsafe { read_volatile(scratch.payload.as_ptr().add(at as usize)) };
        last = last << 8 | byte as u32;
        if last == H2C {
            // SAFETY: a reference can be written.
            unsafe { write_volatile(&raw mut scratch.look.is_whole_head, 1) };
        }
        if last == EMPTY_LINE {
            // SAFETY: a reference can be written.
            unsafe { write_volatile(&raw mut scratch.look.copied, at + 1) };
            break;
        }
    }
    // SAFETY: references can be read.
    let (end, is_http2) = unsafe {
        (read_volatile(&raw const scratch.look.copied), read_volatile(&raw const scratch.look.is_whole_head))
    };
    if is_http2 != 0 { end } else { 0 }
}
