//! Messages of the name service, as its clients send and receive them: which sockets carry them, and their records.
//!
//! A socket that is connected to the port is a client's. A datagram may name its destination itself: then its socket is
//! remembered, so that what comes back on it is known.

use aya_ebpf::{macros::map, maps::LruHashMap};
use sensor_common::{
    cause::Counter,
    connection::Direction,
    flow::{DNS_CAPACITY, FlowCounter, FlowKind, STREAM},
    record::{self, Prefix, SEND},
};

use crate::{
    buffers::bounded,
    emit::{self, now},
    flow, globals,
    globals::offset,
    kernel::{self, Memory},
    maps::{HeadScratch, SCRATCH},
    mask::mask_head,
    observe::Operation,
    registers::{self, arch},
    socket, task,
};

/// How long an answer may take on a socket that is not connected, in nanoseconds. After that its address may be another
/// socket's.
const ANSWER_NS: u64 = 30_000_000_000;
/// Bytes of a message's header (RFC 1035 4.1.1).
const HEADER: u32 = 12;
/// Of the third byte of the header: it is an answer.
const RESPONSE: u8 = 0x80;
/// Size of a `struct mmsghdr`.
const MMSGHDR: u64 = 64;
/// Messages of one `sendmmsg` that are read: resolvers ask for both families at once.
const MESSAGES: u64 = 2;

/// Unconnected sockets on which a question was sent, by the address of their `struct sock`. Full: the one used longest
/// ago goes, and what is answered on it is not seen.
#[map]
static DNS_SOCKETS: LruHashMap<u64, Asked> = LruHashMap::with_max_entries(4096, 0);

/// A socket on which a question was sent.
#[derive(Clone, Copy)]
#[repr(C)]
struct Asked {
    time_ns: u64,
    local_port: u32,
    /// Explicit padding.
    padding: u32,
}

/// Whether a datagram of this UDP socket may be a message of a client of the name service.
#[inline(always)]
pub(crate) fn is_datagram_of(sock: u64, direction: Direction) -> Result<bool, Counter> {
    let dns = globals::dns_port();
    if dns == 0 {
        return Ok(false);
    }
    let port = socket::remote_port(sock)?;
    if port != 0 {
        return Ok(port == dns);
    }
    if direction as u32 == Direction::Send as u32 {
        return Ok(true);
    }
    // SAFETY: the value is copied out at once.
    let Some(asked) = (unsafe { DNS_SOCKETS.get(sock) }).copied() else { return Ok(false) };
    let local: u16 = kernel::read(sock + offset!(skc_num))?;
    Ok(asked.local_port == u32::from(local) && now() - asked.time_ns < ANSWER_NS)
}

/// Whether this TCP socket is one of a client of the name service.
#[inline(always)]
pub(crate) fn is_stream_of(sock: u64) -> Result<bool, Counter> {
    let dns = globals::dns_port();
    Ok(dns != 0 && socket::remote_port(sock)? == dns)
}

/// Leaves an operation for the program that tells it.
#[inline(always)]
pub(crate) fn put(scratch: &mut HeadScratch, operation: &Operation, flags: u16) {
    let sent = if operation.direction as u32 == Direction::Send as u32 { SEND } else { 0 };
    let head = &mut scratch.head;
    head.prefix = Prefix { kind: FlowKind::Dns as u16, flags: flags | sent, payload: 0 };
    head.key = operation.sock;
    head.time_ns = operation.time_ns;
    head.operation_len = operation.length;
    head.tuple.remote_port = 0;
}

/// A slot of [`SCRATCH`].
#[inline(always)]
pub(crate) fn slot(slot: u32) -> Result<&'static mut HeadScratch, Counter> {
    let slot = SCRATCH.get_ptr_mut(slot).ok_or(Counter::KernelMemory)?;
    // SAFETY: the slot is this processor's, and whoever names it has it for itself meanwhile.
    Ok(unsafe { &mut *slot })
}

/// Tells what the system call whose registers are here has sent, after [`put`] in `number`.
#[inline(always)]
pub(crate) fn sent(number: u32, registers: u64) -> Result<(), Counter> {
    let scratch = slot(number)?;
    if scratch.head.prefix.flags & STREAM != 0 {
        return tell(number, scratch);
    }
    let Some(call) = registers::call(registers)? else { return unread() };
    let [_descriptor, second, third] = call.arguments;
    let name: u64 = match call.number {
        arch::SENDTO => registers::fifth(registers)?,
        arch::SENDMSG | arch::SENDMMSG => kernel::read_user(second)?,
        _ => 0,
    };
    if !addressed(scratch, name, Memory::User)? {
        return Ok(());
    }
    if call.number != arch::SENDMMSG {
        return tell(number, scratch);
    }
    if u64::from(third as u32) > MESSAGES {
        flow::count(FlowCounter::DnsUnread);
    }
    // The hook may be at any of them. One that is told twice is the same question, asked again at once.
    for index in 0..MESSAGES {
        if index < u64::from(third as u32) {
            scratch.buffers = registers::message(second + index * MMSGHDR)?;
            scratch.head.operation_len = DNS_CAPACITY;
            tell(number, scratch)?;
        }
    }
    Ok(())
}

/// Tells what was received, after [`put`] in `number`.
#[inline(always)]
pub(crate) fn received(number: u32) -> Result<(), Counter> {
    tell(number, slot(number)?)
}

/// Whether a datagram goes to the name service: its socket is connected there, or it says so itself.
#[inline(always)]
pub(crate) fn addressed(scratch: &mut HeadScratch, name: u64, memory: Memory) -> Result<bool, Counter> {
    let sock = scratch.head.key;
    if socket::remote_port(sock)? == globals::dns_port() {
        return Ok(true);
    }
    if name == 0 {
        return Ok(false);
    }
    let Some((address, port)) = socket::address(name, memory)? else { return Ok(false) };
    if port != globals::dns_port() {
        return Ok(false);
    }
    let local: u16 = kernel::read(sock + offset!(skc_num))?;
    let asked = Asked { time_ns: now(), local_port: u32::from(local), padding: 0 };
    let _ = DNS_SOCKETS.insert(sock, asked, 0);
    scratch.head.tuple.remote_port = port;
    scratch.head.tuple.remote_address = address;
    Ok(true)
}

#[inline(always)]
fn unread() -> Result<(), Counter> {
    flow::count(FlowCounter::DnsUnread);
    Ok(())
}

/// Copies what was moved, masks it and writes its record.
#[inline(always)]
fn tell(number: u32, scratch: &mut HeadScratch) -> Result<(), Counter> {
    if !scratch.buffers.are_known() {
        return unread();
    }
    let length = scratch.head.operation_len;
    let captured = emit::copy(scratch, if length < DNS_CAPACITY { length } else { DNS_CAPACITY })?;
    let flags = scratch.head.prefix.flags;
    // SAFETY: the payload is longer than a header.
    let third = unsafe { scratch.payload.as_ptr().add(2).read_volatile() };
    let is_question = third & RESPONSE == 0;
    if flags & STREAM == 0 && (captured < HEADER || is_question != (flags & SEND != 0)) {
        return Ok(());
    }
    let head = &mut scratch.head;
    head.prefix.payload = captured;
    if head.operation_len > captured && flags & (STREAM | SEND) == SEND {
        // Of several messages in one call the length is not known, but that each is whole.
        head.operation_len = captured;
    }
    head.connection = 0;
    head.padding = 0;
    head.task.tgid = 0;
    task::update_current(&mut head.task)?;
    let (address, port) = (head.tuple.remote_address, head.tuple.remote_port);
    socket::read_tuple(head.key, &mut head.tuple)?;
    if port != 0 {
        (head.tuple.remote_address, head.tuple.remote_port) = (address, port);
    }
    mask_head(number, captured, 0);
    let size = size_of::<record::Head>() as u32 + bounded(captured);
    // SAFETY: the slot holds the record and at least `captured` bytes behind it.
    unsafe { flow::output(core::ptr::from_ref(&scratch.head).cast(), size, FlowCounter::DnsLost) };
    Ok(())
}
