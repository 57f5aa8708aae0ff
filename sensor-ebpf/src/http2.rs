//! Walking the frames of an HTTP/2 connection, so that no header block is missed behind DATA of any size.
//!
//! A program of its own, reached by a tail call, because it is long: the others stay as they are. It handles
//! [`STEPS`] frames or segments, and calls itself for more: with the kernel's limit of 33 tail calls (32 before 5.16),
//! an operation can have some two thousand frames.

use aya_ebpf::EbpfContext;
use core::ptr::{read_volatile, write_volatile};

use sensor_common::{
    cause::Counter,
    connection::{Connection, Direction, HTTP2},
    http2::{DATA, DATA_ENDED, END_STREAM, FRAME_HEADER, HEADERS, PREFACE, SETTINGS, Way, Ways, captured},
    record::{self, HEAD_CAPACITY, Kind, Prefix, RESYNC, SEND},
};

use crate::{
    buffers::{Buffers, bounded},
    count::{count, fail},
    emit, kernel,
    maps::{CONNECTIONS, FRAME_SCRATCH, FRAMES, FrameScratch},
    mask::mask_frames,
    next::Next,
    observe::{Operation, known_or},
    task,
};

/// Frames or segments that one program handles.
const STEPS: u32 = 64;
/// The most segments that a vector can have (`UIO_MAXIOV`).
const SEGMENTS: u32 = 1024;
/// A record with so many bytes takes no further frame.
const FULL: u32 = HEAD_CAPACITY as u32 - 96;
/// A record with so many bytes takes no more of a payload: behind them a frame header has room.
const PAYLOAD_FULL: u32 = HEAD_CAPACITY as u32 - 16;
/// The highest frame type that is taken for one. The registry has none above 0x10.
const KIND_MAX: u8 = 0x20;
/// How the client's connection preface begins.
const PREFACE_START: u64 = u64::from_le_bytes(*b"PRI * HT");

/// Length, type and flags of frames, as they stand in the lowest bytes of a word.
const SETTINGS_ACK: u64 = u64::from_le_bytes([0, 0, 0, 4, 1, 0, 0, 0]);
const PING: u64 = u64::from_le_bytes([0, 0, 8, 6, 0, 0, 0, 0]);
const PING_ACK: u64 = u64::from_le_bytes([0, 0, 8, 6, 1, 0, 0, 0]);
const WINDOW_UPDATE: u64 = u64::from_le_bytes([0, 0, 4, 8, 0, 0, 0, 0]);
const RESET: u64 = u64::from_le_bytes([0, 0, 4, 3, 0, 0, 0, 0]);

/// Whether an operation's first bytes, the first in the lowest byte of `word`, are the preface, or look like the HEADERS
/// or first SETTINGS frame of a connection that is older than the sensor. The daemon finds out about anything else.
#[inline(always)]
pub(crate) fn begins(word: u64, length: u32) -> bool {
    if length < 8 {
        return false;
    }
    if word == PREFACE_START {
        return true;
    }
    let frame_length = (word as u32).swap_bytes() >> 8;
    let kind = (word >> 24) as u8;
    let flags = (word >> 32) as u8;
    let stream_start = word >> 40;
    let headers = kind == HEADERS
        && frame_length > 0
        && frame_length <= 1 << 14
        // END_HEADERS, and nothing but END_STREAM, PADDED and PRIORITY beside.
        && flags & !0x29 == 0x4
        // Streams below 2^24.
        && stream_start & 0xff == 0;
    headers || is_settings(word)
}

/// Whether an operation's first eight bytes look like the SETTINGS frame with which each side begins.
#[inline(always)]
pub(crate) fn is_settings(word: u64) -> bool {
    let frame_length = (word as u32).swap_bytes() >> 8;
    // Type, no flags, and the stream's first three bytes.
    word >> 24 == SETTINGS as u64 && frame_length <= 96 && frame_length.is_multiple_of(6)
}

/// Whether the first bytes of an operation on a connection that is known to be HTTP/2 look like another frame that often
/// comes first: an acknowledgement of SETTINGS, PING, WINDOW_UPDATE or RST_STREAM. Other protocols know such bytes, too.
#[inline(always)]
fn goes_on(word: u64, length: u32) -> bool {
    // Length, type and flags.
    let start = word & 0xff_ffff_ffff;
    let is_of_connection = word >> 40 == 0;
    let is_of_low_stream = (word >> 40) & 0xff == 0;
    length == 8
        && match start {
            SETTINGS_ACK | PING | PING_ACK => is_of_connection,
            WINDOW_UPDATE | RESET => is_of_low_stream,
            _ => false,
        }
}

/// Makes the entry of a connection that begins like HTTP/2.
#[inline(always)]
pub(crate) fn follow(sock: u64, connection: *mut Connection) -> Result<(), Counter> {
    let slot = FRAME_SCRATCH.get_ptr(0).ok_or(Counter::KernelMemory)?;
    // SAFETY: the slot is live; this member is never written.
    let nothing: &Ways = unsafe { &(*slot).nothing };
    if FRAMES.insert(sock, nothing, 0).is_err() {
        return Err(Counter::ConnectionsFull);
    }
    // SAFETY: the map returned a live entry.
    unsafe { (*connection).flags |= HTTP2 };
    Ok(())
}

/// Takes an operation: counts its bytes, and finds out whether a frame begins or ends in it. It is walked in this slot of
/// [`FRAME_SCRATCH`].
#[inline(always)]
pub(crate) fn start(
    operation: &Operation,
    connection: &mut Connection,
    buffers: &Buffers,
    slot: u32,
) -> Result<Next, Counter> {
    let is_send = operation.direction as u32 == Direction::Send as u32;
    let other_bytes = if is_send { connection.received.bytes } else { connection.sent.bytes };
    let stream = if is_send { &mut connection.sent } else { &mut connection.received };
    stream.bytes += u64::from(operation.length);
    stream.last_ns = operation.time_ns;

    let Some(ways) = FRAMES.get_ptr_mut(operation.sock) else { return Ok(Next::Done) };
    // SAFETY: the map returned a live entry; each direction's operations are serialised by the socket's lock.
    let [receive, send] = unsafe { &mut (*ways).ways };
    let (way, other) = if is_send { (send, receive) } else { (receive, send) };
    let mut flags = if is_send { SEND } else { 0 };
    if !buffers.are_known() {
        count(Counter::LengthOnly);
        pass_unseen(way, operation.length);
        return Ok(Next::Done);
    }
    if way.is_synced == 0 {
        let (word, length) = known_or(buffers.peek(operation.length), (0, 0));
        if !begins(word, length) && !goes_on(word, length) {
            return Ok(Next::Done);
        }
        way.is_synced = 1;
        way.copy = 0;
        if word == PREFACE_START {
            pass_over(way, PREFACE);
            if other.is_synced == 0 && other_bytes == 0 {
                // It will begin with its first byte.
                other.is_synced = 1;
            }
        } else {
            way.have = 0;
            way.skip = 0;
            flags |= RESYNC;
        }
    }
    if is_within_data(way, operation.length) {
        way.skip -= operation.length;
        return Ok(Next::Done);
    }
    let scratch = walk_of(slot, way, flags, operation.length)?;
    scratch.buffers = *buffers;
    scratch.record.key = operation.sock;
    scratch.record.connection = connection.id;
    scratch.record.time_ns = operation.time_ns;
    Ok(Next::Walk(operation.direction))
}

/// The slot of [`FRAME_SCRATCH`] for a walk through an operation of `length` bytes; the caller says where they are, and whose.
#[inline(always)]
pub(crate) fn walk_of(
    slot: u32,
    way: &Way,
    flags: u16,
    length: u32,
) -> Result<&'static mut FrameScratch, Counter> {
    let found = FRAME_SCRATCH.get_ptr_mut(slot).ok_or(Counter::KernelMemory)?;
    // SAFETY: the slot is this processor's and the caller's, as `SCRATCH`.
    let scratch = unsafe { &mut *found };
    copy_way(way, &mut scratch.way);
    scratch.flags = flags;
    scratch.left = length;
    scratch.address = 0;
    scratch.segment_left = 0;
    scratch.index = 0;
    scratch.out = 0;
    Ok(scratch)
}

/// Frames begin behind so many bytes.
#[inline(always)]
pub(crate) fn pass_over(way: &mut Way, bytes: u32) {
    // As if they were what a DATA frame carries.
    clear_header(way);
    way.is_synced = 1;
    way.have = FRAME_HEADER as u32;
    way.copy = 0;
    way.skip = bytes;
}

/// Bytes went by that nobody can read.
#[inline(always)]
fn pass_unseen(way: &mut Way, length: u32) {
    if is_within_data(way, length) {
        way.skip -= length;
    } else if way.is_synced != 0 {
        way.is_synced = 0;
        way.sequence += 1;
    }
}

/// Whether the next `length` bytes are the payload of the present frame, which goes on behind them.
#[inline(always)]
fn is_within_data(way: &Way, length: u32) -> bool {
    way.is_synced != 0 && way.have == FRAME_HEADER as u32 && way.copy == 0 && way.skip > length
}

/// The body of the walking programs; `true` when there is more to walk.
#[inline(always)]
pub(crate) fn walk(ctx: &impl EbpfContext, slot: u32) -> bool {
    let Some(found) = FRAME_SCRATCH.get_ptr_mut(slot) else { return false };
    // SAFETY: as in `start`.
    let scratch = unsafe { &mut *found };
    let mut result = Ok(true);
    for _ in 0..STEPS {
        result = step(scratch);
        if !matches!(result, Ok(true)) {
            break;
        }
    }
    if let Err(cause) = result {
        fail(ctx, cause);
        lose(scratch);
        return false;
    }
    // SAFETY: references can be read; volatile so that the loop's last state does not multiply what follows.
    let (out, left) =
        unsafe { (read_volatile(&raw const scratch.out), read_volatile(&raw const scratch.left)) };
    if out > 0
        && let Err(cause) = tell(scratch, slot, out)
    {
        fail(ctx, cause);
    }
    if left > 0 {
        return true;
    }
    put_back(scratch);
    false
}

/// The walk cannot go on.
#[inline(always)]
pub(crate) fn give_up(slot: u32) {
    count(Counter::FramesTooMany);
    if let Some(found) = FRAME_SCRATCH.get_ptr_mut(slot) {
        // SAFETY: as in `start`.
        lose(unsafe { &mut *found });
    }
}

/// From here on it is not known where frames begin.
#[inline(always)]
fn lose(scratch: &mut FrameScratch) {
    scratch.way.is_synced = 0;
    scratch.way.sequence += 1;
    put_back(scratch);
}

#[inline(always)]
fn put_back(scratch: &FrameScratch) {
    if let Some(ways) = FRAMES.get_ptr_mut(scratch.record.key) {
        // SAFETY: the map returned a live entry.
        let [receive, send] = unsafe { &mut (*ways).ways };
        copy_way(&scratch.way, if scratch.flags & SEND != 0 { send } else { receive });
    }
}

/// One frame, or the part of it that is in one segment; `false` when the operation ends, or the record is full.
// VERIFIER: all kernels: everything is read from the map anew, so that the states of all paths are alike at their end.
#[inline(always)]
fn step(scratch: &mut FrameScratch) -> Result<bool, Counter> {
    if get(&scratch.left) == 0 || get(&scratch.out) >= FULL {
        return Ok(false);
    }
    if get(&scratch.segment_left) == 0 {
        next_segment(scratch)?;
        if get(&scratch.segment_left) == 0 {
            return Ok(true);
        }
    }
    let have = get(&scratch.way.have);
    if have < FRAME_HEADER as u32 {
        let missing = least(FRAME_HEADER as u32 - have, available(scratch));
        let at = core::hint::black_box(have) & 15;
        // SAFETY: offset and length are below 16 each, and the member lies well within the slot.
        let read = unsafe {
            let to = (&raw mut scratch.way.header).cast::<u8>().add(at as usize);
            kernel::copy_user(to, core::hint::black_box(missing) & 15, get(&scratch.address))
        };
        if !read {
            return Err(Counter::UserMemory);
        }
        scratch.way.have = have + missing;
        advance(scratch, missing);
        if have + missing < FRAME_HEADER as u32 {
            return Ok(true);
        }
        begin(scratch)?;
    }
    let copy = get(&scratch.way.copy);
    if copy > 0 {
        let out = get(&scratch.out);
        let room = PAYLOAD_FULL.saturating_sub(out);
        let part = least(least(copy, available(scratch)), room);
        // SAFETY: the payload has room for an offset below its capacity and a length below twice of it.
        let read = unsafe { kernel::copy_user(place(scratch, out), bounded(part), get(&scratch.address)) };
        if !read {
            return Err(Counter::UserMemory);
        }
        scratch.out = out + part;
        scratch.way.copy = copy - part;
        advance(scratch, part);
    }
    if get(&scratch.way.copy) == 0 {
        let skip = get(&scratch.way.skip);
        let part = least(skip, available(scratch));
        scratch.way.skip = skip - part;
        advance(scratch, part);
        if skip == part {
            end(scratch)?;
        }
    }
    Ok(true)
}

/// A frame header is there.
#[inline(always)]
fn begin(scratch: &mut FrameScratch) -> Result<(), Counter> {
    let header = &scratch.way.header;
    let length = u32::from_be_bytes([0, get(&header[0]), get(&header[1]), get(&header[2])]);
    let kind = get(&header[3]);
    let flags = get(&header[4]);
    if kind > KIND_MAX {
        return Err(Counter::FramesUnclear);
    }
    let told = captured(kind, flags, length);
    let copy = told.unwrap_or_default();
    scratch.way.copy = copy;
    scratch.way.skip = length - copy;
    if told.is_some() { tell_header(scratch) } else { Ok(()) }
}

/// A frame has ended.
#[inline(always)]
fn end(scratch: &mut FrameScratch) -> Result<(), Counter> {
    scratch.way.have = 0;
    let header = &mut scratch.way.header;
    let length = get(&header[0]) | get(&header[1]) | get(&header[2]);
    if get(&header[3]) == DATA && get(&header[4]) & END_STREAM != 0 && length != 0 {
        header[0] = 0;
        header[1] = 0;
        header[2] = 0;
        header[3] = DATA_ENDED;
        header[4] = 0;
        return tell_header(scratch);
    }
    Ok(())
}

/// Writes the frame header to the record.
#[inline(always)]
fn tell_header(scratch: &mut FrameScratch) -> Result<(), Counter> {
    let out = get(&scratch.out);
    let from = (&raw const scratch.way.header).cast::<u8>();
    // SAFETY: the payload has room for the header, and the header's member is longer.
    let copied = unsafe {
        aya_ebpf::helpers::generated::bpf_probe_read_kernel(
            place(scratch, out).cast(),
            FRAME_HEADER as u32,
            from.cast(),
        )
    };
    if copied != 0 {
        return Err(Counter::KernelMemory);
    }
    scratch.out = out + FRAME_HEADER as u32;
    Ok(())
}

#[inline(always)]
fn next_segment(scratch: &mut FrameScratch) -> Result<(), Counter> {
    let index = get(&scratch.index);
    // How many there are need not be known: the operation has moved all its bytes.
    if index >= SEGMENTS {
        return Err(Counter::VectorTooLong);
    }
    let segment = scratch.buffers.segment(index)?;
    scratch.index = index + 1;
    scratch.address = segment.address;
    scratch.segment_left = segment.length;
    Ok(())
}

/// Bytes that are left of both the segment and the operation.
#[inline(always)]
fn available(scratch: &FrameScratch) -> u32 {
    let left = get(&scratch.left);
    let segment = get(&scratch.segment_left);
    if segment < u64::from(left) { segment as u32 } else { left }
}

#[inline(always)]
fn advance(scratch: &mut FrameScratch, by: u32) {
    scratch.address = get(&scratch.address) + u64::from(by);
    scratch.segment_left = get(&scratch.segment_left) - u64::from(by);
    scratch.left = get(&scratch.left) - by;
}

/// Where byte `out` of the record's payload is.
#[inline(always)]
fn place(scratch: &mut FrameScratch, out: u32) -> *mut u8 {
    let at = core::hint::black_box(out) & (HEAD_CAPACITY as u32 - 1);
    // SAFETY: the payload is longer.
    unsafe { scratch.payload.as_mut_ptr().add(at as usize) }
}

/// Writes the record. It takes a number even when there is no room for it: so the daemon knows of it.
#[inline(always)]
fn tell(scratch: &mut FrameScratch, slot: u32, out: u32) -> Result<(), Counter> {
    let record = &mut scratch.record;
    record.prefix = Prefix { kind: Kind::Frames as u16, flags: scratch.flags, payload: bounded(out) };
    record.sequence = scratch.way.sequence;
    record.padding = 0;
    scratch.way.sequence += 1;
    scratch.flags &= !RESYNC;
    scratch.out = 0;
    let Some(connection) = CONNECTIONS.get_ptr_mut(record.key) else { return Ok(()) };
    // SAFETY: the map returned a live entry.
    let connection = unsafe { &mut *connection };
    task::update_current(&mut connection.task)?;
    record.task = connection.task;
    // SAFETY: both are whole tuples.
    unsafe { emit::copy_tuple(&connection.tuple, &mut record.tuple) };
    mask_frames(slot, out, 0);
    let size = size_of::<record::Frames>() as u32 + bounded(out);
    // SAFETY: the payload follows the record in the slot.
    if unsafe { emit::output(core::ptr::from_ref(&scratch.record).cast(), size) } {
        Ok(())
    } else {
        Err(Counter::RingFullOther)
    }
}

#[inline(always)]
fn clear_header(way: &mut Way) {
    let words = (&raw mut way.header).cast::<u64>();
    // SAFETY: the member is two words, aligned as the structure is.
    unsafe {
        write_volatile(words, 0);
        write_volatile(words.add(1), 0);
    }
}

// VERIFIER: all kernels: an assignment becomes a call to a loop over bytes.
#[inline(always)]
fn copy_way(from: &Way, to: &mut Way) {
    const WORDS: usize = size_of::<Way>() / size_of::<u64>();
    let from = core::ptr::from_ref(from).cast::<u64>();
    let to = core::ptr::from_mut(to).cast::<u64>();
    for word in 0..WORDS {
        // SAFETY: both are that long, and aligned to eight bytes where they are members.
        unsafe { write_volatile(to.add(word), read_volatile(from.add(word))) };
    }
}

#[inline(always)]
fn get<T: Copy>(place: &T) -> T {
    // SAFETY: a reference can be read.
    unsafe { read_volatile(place) }
}

#[inline(always)]
fn least(a: u32, b: u32) -> u32 {
    if a < b { a } else { b }
}
