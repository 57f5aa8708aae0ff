//! What is spoken on connections that are not HTTP: told once, and left alone from then on.

use sensor_common::{
    cause::Counter,
    connection::{Connection, MAY_BECOME_TLS, OPAQUE},
    flow::{FlowCounter, FlowKind, Named},
    protocol::{FIRST_BYTES, NetworkProtocol},
    record::{Prefix, Tuple},
};

use crate::{
    count::next_connection_id,
    emit, flow, globals,
    maps::{CONNECTIONS, HeadScratch},
    socket,
};

const WORDS: usize = FIRST_BYTES / size_of::<u64>();
/// In what an operation says: TLS may follow.
const THEN_TLS: u16 = 0x8000;

/// Whether a connection was named and may become TLS.
#[inline(always)]
pub(crate) fn may_become_tls(connection: Option<*mut Connection>) -> bool {
    // SAFETY: the map returned a live entry.
    connection.is_some_and(|connection| unsafe { (*connection).flags } & MAY_BECOME_TLS != 0)
}

/// Names the protocol of an operation that moved `length` bytes on a connection that is not followed, if its first bytes say it.
/// One that `waits` was named before.
#[inline(always)]
pub(crate) fn name(sock: u64, scratch: &mut HeadScratch, length: u32, waits: bool) -> Result<(), Counter> {
    // The servers' answer to a client that asks for TLS (PostgreSQL).
    const ANSWER: u32 = 1;
    if !globals::flows() || waits && length == ANSWER {
        return Ok(());
    }
    scratch.look.begins = spoken(scratch, length);
    // VERIFIER: all kernels: read anew from the map, so that the ways to a name do not multiply the states of what follows.
    // SAFETY: a reference can be read.
    let found = unsafe { core::ptr::read_volatile(&raw const scratch.look.begins) };
    if found == 0 && !waits {
        return Ok(());
    }
    socket::read_tuple(sock, &mut scratch.connection.tuple)?;
    scratch.connection.id = next_connection_id();
    scratch.connection.flags = if found & THEN_TLS != 0 { MAY_BECOME_TLS } else { OPAQUE };
    #[expect(clippy::needless_borrows_for_generic_args, reason = "by value it would be copied to the stack")]
    let inserted = CONNECTIONS.insert(sock, &scratch.connection, 0);
    scratch.connection.flags = 0;
    if inserted.is_err() {
        return Err(Counter::ConnectionsFull);
    }
    if !waits {
        tell(found & !THEN_TLS, &scratch.connection.tuple);
    }
    Ok(())
}

/// Tells what is spoken between whom.
#[inline(always)]
pub(crate) fn tell(protocol: u16, tuple: &Tuple) {
    if !globals::flows() {
        return;
    }
    let prefix = Prefix { kind: FlowKind::Named as u16, flags: protocol, payload: 0 };
    let mut record = Named { prefix, time_ns: emit::now(), tuple: Tuple::default() };
    // SAFETY: both are whole tuples.
    unsafe { emit::copy_tuple(tuple, &mut record.tuple) };
    let size = size_of::<Named>() as u32;
    // SAFETY: the record is on the stack and whole.
    unsafe { flow::output(core::ptr::from_ref(&record).cast(), size, FlowCounter::OtherLost) };
}

/// The number of the protocol that the first bytes say, with [`THEN_TLS`]; 0 where they say none, or cannot be read.
#[inline(always)]
fn spoken(scratch: &mut HeadScratch, length: u32) -> u16 {
    let want = if length < FIRST_BYTES as u32 { length } else { FIRST_BYTES as u32 };
    let payload = scratch.payload.as_mut_ptr().cast::<u64>();
    for word in 0..WORDS {
        // SAFETY: the payload is longer, and aligned to eight bytes.
        unsafe { payload.add(word).write_volatile(0) };
    }
    if emit::copy(scratch, want).unwrap_or(0) != want {
        return 0;
    }
    let mut words = [0; WORDS + 1];
    for (index, word) in words.iter_mut().enumerate().take(WORDS) {
        // SAFETY: as above.
        *word = unsafe { payload.add(index).read_volatile() };
    }
    match NetworkProtocol::of(words, length) {
        Some(spoken) if spoken.may_become_tls => spoken.protocol as u16 | THEN_TLS,
        Some(spoken) => spoken.protocol as u16,
        None => 0,
    }
}
