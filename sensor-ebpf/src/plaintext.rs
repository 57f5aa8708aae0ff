//! Plaintext of OpenSSL's calls, and the socket that it belongs to.
//!
//! A session (an `SSL` of a process) is on a socket when that was proved, and the socket is still the same one:
//!
//! - the session holds the 32 random bytes of the client's hello (RFC 8446 4.1.2), and this process moved a hello with just
//!   these on that socket alone. So it is wherever a hello was seen; also where a program keeps OpenSSL away from sockets and moves
//!   the records itself (Node.js, .NET);
//! - or no hello was seen, because the connection is older than the sensor; and in a call of the session its thread moved
//!   bytes the call's way on that socket, which is TLS, and on no other.
//!
//! A call that contradicts is counted and left alone; so is one of a session for which nothing was proved.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::{bpf_get_current_pid_tgid, bpf_get_smp_processor_id},
    macros::map,
    maps::{HashMap, LruHashMap},
};
use sensor_common::{
    cause::Counter,
    connection::{Connection, Direction, PLAINTEXT, TLS},
};

use crate::{
    buffers::Buffers,
    count::count,
    emit::now,
    globals, kernel,
    maps::{CONNECTIONS, HeadScratch, PLAINTEXT_HEAD_SLOT, PLAINTEXT_SLOTS, SCRATCH},
    next::Next,
    observe::{Operation, observe_plaintext},
    target,
};

/// Calls in progress by thread (`pid_tgid`): written at the entry, taken at the return or the thread's end. Full: the call
/// is not seen, and counted.
#[map]
static TLS_CALLS: HashMap<u64, Call> = HashMap::with_max_entries(16_384, 0);

/// The connection that each session proved last. Full: the one that was not used for longest has to prove it again.
#[map]
static TLS_SESSIONS: LruHashMap<Session, Proof> = LruHashMap::with_max_entries(32_768, 0);

/// Hellos of clients, for the sessions that they begin. Full: the oldest is forgotten.
#[map]
static TLS_HELLOS: LruHashMap<HelloKey, Hello> = LruHashMap::with_max_entries(16_384, 0);

/// The thread (`pid_tgid`) whose call has a slot of a processor: its number times [`PLAINTEXT_SLOTS`], and the slot. Of
/// processors beyond that no plaintext is read, and it is counted.
#[map]
static TLS_SLOTS: HashMap<u32, u64> = HashMap::with_max_entries(1024 * PLAINTEXT_SLOTS, 0);

/// A call in progress.
#[derive(Clone, Copy)]
#[repr(C)]
struct Call {
    /// User address of the `SSL`.
    ssl: u64,
    /// User address of the plaintext.
    buffer: u64,
    /// User address of the `size_t` that tells how many bytes moved, of the `_ex` forms; else 0, and the result tells.
    moved: u64,
    /// Time of the entry, in nanoseconds of `CLOCK_MONOTONIC`.
    time_ns: u64,
    /// The `struct sock` that was touched; 0 before any was.
    sock: u64,
    /// A [`Direction`].
    direction: u32,
    /// [`SEVERAL`], [`SAME_WAY`].
    flags: u32,
}

/// In [`Call::flags`]: more than one socket was touched.
const SEVERAL: u32 = 1;
/// In [`Call::flags`]: bytes moved the way that the call moves them.
const SAME_WAY: u32 = 2;

/// An `SSL` of a process.
#[derive(Clone, Copy)]
#[repr(C)]
struct Session {
    tgid: u64,
    ssl: u64,
}

/// A connection: its socket's address may be another's one day, its number never.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
struct Place {
    /// Address of the `struct sock`; 0 when it was looked for in vain.
    sock: u64,
    /// [`Connection::id`].
    id: u64,
}

const NOWHERE: Place = Place { sock: 0, id: 0 };

/// What a session has proved.
#[derive(Clone, Copy)]
#[repr(C)]
struct Proof {
    place: Place,
    /// 1 when its hello says so: then nothing can speak against it.
    by_hello: u64,
}

/// Who moved a client's hello, and the first eight of its random bytes.
#[derive(Clone, Copy)]
#[repr(C)]
struct HelloKey {
    tgid: u64,
    random: u64,
}

/// A client's hello.
#[derive(Clone, Copy)]
#[repr(C)]
struct Hello {
    /// Where it moved; [`NOWHERE`] when this process has both ends.
    place: Place,
    /// The other random bytes.
    random: [u64; 3],
}

/// Where the random bytes are in a record that begins with a client's hello, and where they end: behind the headers of the
/// record and of the message, and the version.
const RANDOM: u64 = 5 + 4 + 2;
const RANDOM_END: u32 = RANDOM as u32 + 32;
/// Bytes of a session in which they are looked for. They are at 352 in OpenSSL 3.0, and below 600 until 3.5.
const SEARCHED: u32 = 1024;
/// Where OpenSSL 1.1 has the address of the `SSL3_STATE` that holds them.
const SSL3_STATE: u64 = 168;

/// The current thread enters a call.
#[inline(always)]
pub(crate) fn enter(ssl: u64, buffer: u64, moved: u64, direction: Direction) -> Result<(), Counter> {
    if !target::is_current() {
        return Ok(());
    }
    let thread = bpf_get_current_pid_tgid();
    // One file may have two names, and so two probes. Or one form calls the other, as LibreSSL's do: the inner one returns
    // first, and is believed. Anything else is TLS in TLS, whose outer call is left alone, or a call that never returned.
    let is_nested = TLS_CALLS.get_ptr(thread).is_some_and(|call| {
        // SAFETY: the map returned a live entry, which is this thread's alone.
        let call = unsafe { &*call };
        call.ssl != ssl || call.buffer != buffer
    });
    let call = Call { ssl, buffer, moved, time_ns: now(), sock: 0, direction: direction as u32, flags: 0 };
    TLS_CALLS.insert(thread, call, 0).map_err(|_| Counter::InFlightFull)?;
    if is_nested { Err(Counter::TlsUnclear) } else { Ok(()) }
}

/// The current thread moved bytes on a socket. One that is followed and not TLS is no session's.
#[inline(always)]
pub(crate) fn touch(sock: u64, direction: Direction, connection: Option<*mut Connection>) {
    if !globals::reads_tls() {
        return;
    }
    // SAFETY: the map returned a live entry.
    if connection.is_some_and(|connection| unsafe { (*connection).flags } & TLS == 0) {
        return;
    }
    let Some(call) = TLS_CALLS.get_ptr_mut(bpf_get_current_pid_tgid()) else { return };
    // SAFETY: the map returned a live entry, which is this thread's alone.
    let call = unsafe { &mut *call };
    if call.sock == 0 {
        call.sock = sock;
    } else if call.sock != sock {
        call.flags |= SEVERAL;
    }
    if call.direction == direction as u32 {
        call.flags |= SAME_WAY;
    }
}

/// The current process moved a hello on a connection that begins with it.
#[inline(always)]
pub(crate) fn hello(sock: u64, id: u64, buffers: &Buffers, length: u32) {
    const CLIENT: u8 = 1;
    if !globals::reads_tls() || length < RANDOM_END {
        return;
    }
    let Ok(first) = buffers.segment(0) else { return };
    if first.length < u64::from(RANDOM_END) || kernel::read_user::<u8>(first.address + 5) != Ok(CLIENT) {
        return;
    }
    let Ok([start, rest @ ..]) = kernel::read_user::<[u64; 4]>(first.address + RANDOM) else { return };
    let key = HelloKey { tgid: bpf_get_current_pid_tgid() >> 32, random: start };
    let mut place = Place { sock, id };
    // SAFETY: only the presence of the key is used.
    if unsafe { TLS_HELLOS.get(key) }.is_some() {
        // Both ends are here, and which has which session does not show.
        place = NOWHERE;
    }
    // What finds no room is not found by its session, which is counted.
    let _ = TLS_HELLOS.insert(key, Hello { place, random: rest }, 0);
}

/// The current thread's call returned. When something is left to do, the thread keeps a slot.
#[inline(always)]
pub(crate) fn leave(returned: i32) -> Result<Next, Counter> {
    let thread = bpf_get_current_pid_tgid();
    let Some(call) = TLS_CALLS.get_ptr(thread) else { return Ok(Next::Done) };
    // SAFETY: the map returned a live entry, which is this thread's alone.
    let call = unsafe { *call };
    let _ = TLS_CALLS.remove(thread);
    if returned <= 0 {
        return Ok(Next::Done);
    }
    let length = if call.moved == 0 { returned as u32 } else { kernel::read_user::<u64>(call.moved)? as u32 };
    if length == 0 {
        return Ok(Next::Done);
    }
    let slot = take_slot(thread).ok_or(Counter::TlsBusy)?;
    let result = tell(&call, &Session { tgid: thread >> 32, ssl: call.ssl }, slot, length);
    if !matches!(result, Ok(Next::Tell(_) | Next::Walk(_))) {
        free_slot(slot);
    }
    result
}

#[inline(always)]
fn tell(call: &Call, session: &Session, slot: u32, length: u32) -> Result<Next, Counter> {
    let place = place(call, session, slot)?;
    let outer = outer(&place).ok_or(Counter::TlsNoSocket)?;
    let is_send = call.direction == Direction::Send as u32;
    let operation = Operation {
        sock: place.sock | PLAINTEXT,
        family: crate::socket::Family::Inet,
        direction: if is_send { Direction::Send } else { Direction::Receive },
        length,
        time_ns: if is_send { call.time_ns } else { now() },
        buffers: Buffers::range(call.buffer),
    };
    observe_plaintext(&operation, outer, slot)
}

/// The connection that a call's session is on.
#[inline(always)]
fn place(call: &Call, session: &Session, slot: u32) -> Result<Place, Counter> {
    // SAFETY: the value is copied; only this session's calls change it.
    let proof = unsafe { TLS_SESSIONS.get(session) }.copied();
    if let Some(proof) = proof {
        let is_there = outer(&proof.place).is_some();
        if is_there && proof.by_hello != 0 {
            return Ok(proof.place);
        }
        if is_there && call.flags & SEVERAL == 0 && (call.sock == 0 || call.sock == proof.place.sock) {
            return Ok(proof.place);
        }
        if is_there {
            return Err(Counter::TlsUnclear);
        }
        if proof.place == NOWHERE && call.sock == 0 {
            // It was looked for before.
            return Err(Counter::TlsNoSocket);
        }
    }
    let found = SCRATCH.get_ptr_mut(PLAINTEXT_HEAD_SLOT + slot).ok_or(Counter::KernelMemory)?;
    // SAFETY: the slot is this call's.
    let proof = match search(session, unsafe { &mut *found }) {
        Some(place) if place != NOWHERE => Proof { place, by_hello: 1 },
        _ if call.sock == 0 => Proof { place: NOWHERE, by_hello: 0 },
        _ => Proof { place: touched(call)?, by_hello: 0 },
    };
    // What finds no room has to be proved again.
    let _ = TLS_SESSIONS.insert(session, proof, 0);
    Ok(proof.place)
}

/// The connection that a call has touched.
#[inline(always)]
fn touched(call: &Call) -> Result<Place, Counter> {
    let Some(connection) = CONNECTIONS.get_ptr(call.sock) else { return Err(Counter::TlsUnclear) };
    // SAFETY: the map returned a live entry.
    let (flags, id) = unsafe { ((*connection).flags, (*connection).id) };
    if call.flags != SAME_WAY || flags & TLS == 0 {
        return Err(Counter::TlsUnclear);
    }
    Ok(Place { sock: call.sock, id })
}

/// The entry of a connection, if it is still there.
#[inline(always)]
fn outer(place: &Place) -> Option<&'static Connection> {
    let connection = CONNECTIONS.get_ptr(place.sock)?;
    // SAFETY: the map returned a live entry.
    let connection = unsafe { &*connection };
    (connection.id == place.id && connection.flags & TLS != 0).then_some(connection)
}

/// The connection with whose hello a session began, by the random bytes that it holds; [`NOWHERE`] when this process has both
/// ends.
#[inline(always)]
fn search(session: &Session, scratch: &mut HeadScratch) -> Option<Place> {
    if let Some(place) = search_at(session.tgid, session.ssl, scratch) {
        return Some(place);
    }
    let state: u64 = kernel::read_user(session.ssl + SSL3_STATE).ok()?;
    search_at(session.tgid, state, scratch)
}

#[inline(always)]
fn search_at(tgid: u64, address: u64, scratch: &mut HeadScratch) -> Option<Place> {
    let words = scratch.payload.as_mut_ptr();
    // SAFETY: the payload is longer.
    if !unsafe { kernel::copy_user(words, SEARCHED, address) } {
        return None;
    }
    let words = words.cast::<u64>();
    for at in 0..sensor_common::mask::rolled(SEARCHED / 8 - 4) {
        let at = core::hint::black_box(at) as usize & 127;
        // SAFETY: the payload is longer, and aligned to eight bytes.
        let random = unsafe { words.add(at).read_volatile() };
        let Some(hello) = TLS_HELLOS.get_ptr(HelloKey { tgid, random }) else { continue };
        // SAFETY: the map returned a live entry.
        let hello = unsafe { &*hello };
        let [first, second, third] = &hello.random;
        // SAFETY: as above.
        let is_same = unsafe {
            words.add(at + 1).read_volatile() == *first
                && words.add(at + 2).read_volatile() == *second
                && words.add(at + 3).read_volatile() == *third
        };
        if is_same {
            return Some(hello.place);
        }
    }
    None
}

/// An `SSL` is new, is freed, or begins anew: its address says nothing any more.
#[inline(always)]
pub(crate) fn forget(ssl: u64) {
    let _ = TLS_SESSIONS.remove(Session { tgid: bpf_get_current_pid_tgid() >> 32, ssl });
}

/// The current thread ends, maybe in a call.
#[inline(always)]
pub(crate) fn thread_ended() {
    if globals::reads_tls() {
        let _ = TLS_CALLS.remove(bpf_get_current_pid_tgid());
    }
}

/// A slot for a thread that keeps this processor until its call has been told, but may be preempted meanwhile.
#[inline(always)]
fn take_slot(thread: u64) -> Option<u32> {
    let processor = processor();
    (0..PLAINTEXT_SLOTS)
        .find(|slot| TLS_SLOTS.insert(processor + slot, thread, u64::from(BPF_NOEXIST)).is_ok())
}

/// The slot that a thread has.
#[inline(always)]
pub(crate) fn own_slot() -> Option<u32> {
    let (thread, processor) = (bpf_get_current_pid_tgid(), processor());
    for slot in 0..PLAINTEXT_SLOTS {
        // SAFETY: the value is copied; only the thread that it names takes it away.
        if unsafe { TLS_SLOTS.get(processor + slot) }.copied() == Some(thread) {
            return Some(slot);
        }
    }
    count(Counter::TlsBusy);
    None
}

#[inline(always)]
pub(crate) fn free_slot(slot: u32) {
    let _ = TLS_SLOTS.remove(processor() + slot);
}

#[inline(always)]
fn processor() -> u32 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_smp_processor_id() * PLAINTEXT_SLOTS }
}
