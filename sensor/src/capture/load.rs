//! Loading the object: one at a time in a kernel, with its settings.

use std::time::{Duration, Instant};

use aya::{
    Ebpf, EbpfLoader, Pod,
    programs::{RawTracePoint, loaded_programs},
};
use sensor_common::{
    flow::FlowOffsets,
    offsets::Offsets,
    record::HANDSHAKE_BYTES,
    target::{ALL, ENTRIES_A_VALUE, PROCESSES},
};

use super::{CaptureError, Kernel, Settings};

/// The program by whose name a running sensor is known.
pub(super) const MARK: &str = "lionpay_destroy";
/// How long a sensor that was killed may take to leave the kernel, which is more than 3 s where the host is busy.
const LEAVE: Duration = Duration::from_secs(10);
/// The daemon is woken when this share of the ring buffer waits.
const WAKE_SHARE: u32 = 4;

/// Pipes that are followed, and writers whose losses are told apart.
pub(super) const LOG_ENTRIES: u32 = 8192;
/// Calls of OpenSSL in progress, sessions that are on a known socket, and hellos that are remembered for them.
pub(super) const TLS_ENTRIES: u32 = 16_384;
const TLS_UNUSED: u32 = 64;
/// A ring buffer that is not used.
const UNUSED_RING_BYTES: u32 = 64 * 1024;

/// The compiled programs.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sensor-ebpf.o"));

#[derive(Clone, Copy)]
#[repr(transparent)]
struct OffsetsPod(Offsets);
// SAFETY: `repr(C)` and 32-bit integers only.
unsafe impl Pod for OffsetsPod {}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct FlowOffsetsPod(FlowOffsets);
// SAFETY: as above.
unsafe impl Pod for FlowOffsetsPod {}

/// Makes the maps and prepares the programs; nothing is attached yet.
pub(super) fn load(settings: &Settings, kernel: &Kernel, log_level: u8) -> Result<Ebpf, CaptureError> {
    if OBJECT.is_empty() {
        return Err(CaptureError::NoObject);
    }
    wait_for_others(Instant::now() + LEAVE)?;
    let own = std::process::id();
    let wake_bytes = u64::from(settings.ring_bytes / WAKE_SHARE);
    let log_wake_bytes = u64::from(settings.log_ring_bytes.unwrap_or_default() / WAKE_SHARE);
    // What nobody asked for takes no more memory than a map must: a page, an entry.
    let log_ring_bytes = settings.log_ring_bytes.unwrap_or(UNUSED_RING_BYTES);
    let log_entries = if settings.log_ring_bytes.is_some() { LOG_ENTRIES } else { 1 };
    let targets = if settings.target_mode == ALL { 1 } else { PROCESSES / ENTRIES_A_VALUE };
    let flows = settings.flows && kernel.flow_offsets.is_some();
    let dns_port = if flows { u32::from(settings.dns_port) } else { 0 };
    let handshake_bytes = if settings.tls { HANDSHAKE_BYTES } else { 0 };
    let sessions = if settings.plaintext { TLS_ENTRIES } else { TLS_UNUSED };
    // The programs have no relocations against the kernel's types: they need not be parsed here.
    EbpfLoader::new()
        .btf(None)
        .override_global("OFFSETS", &OffsetsPod(kernel.offsets), true)
        .override_global("FLOW_OFFSETS", &FlowOffsetsPod(kernel.flow_offsets.unwrap_or_default()), true)
        .override_global("HEAD_BYTES", &settings.head_bytes, true)
        .override_global("HANDSHAKE_BYTES", &handshake_bytes, true)
        .override_global("READS_TLS", &u32::from(settings.plaintext), true)
        .override_global("SENSOR_TGID", &own, true)
        .override_global("TARGET_MODE", &settings.target_mode, true)
        .override_global("FLOWS", &u32::from(flows), true)
        .override_global("DNS_PORT", &dns_port, true)
        .override_global("WAKE_BYTES", &wake_bytes, true)
        .override_global("LOG_WAKE_BYTES", &log_wake_bytes, true)
        .override_global(aya_log::LEVEL, &log_level, true)
        .map_max_entries("TARGETS", targets)
        .map_max_entries("EVENTS", settings.ring_bytes)
        .map_max_entries("LOGS", log_ring_bytes)
        .map_max_entries("PIPES", log_entries)
        .map_max_entries("LOG_LOST", log_entries)
        .map_max_entries("CONNECTIONS", settings.max_connections)
        .map_max_entries("TLS_CALLS", sessions)
        .map_max_entries("TLS_SESSIONS", sessions)
        .map_max_entries("TLS_HELLOS", sessions)
        .load(OBJECT)
        .map_err(|error| CaptureError::kernel("load", "the eBPF object", error))
}

/// Refuses when another sensor came first: of two that start at once, the one that attached later stops.
pub(super) fn check_alone(ebpf: &Ebpf) -> Result<(), CaptureError> {
    let own = own_mark(ebpf);
    match marks().find(|id| own.is_some_and(|own| *id < own)) {
        Some(id) => Err(CaptureError::AlreadyRunning { id }),
        None => Ok(()),
    }
}

/// Id of our own mark program.
fn own_mark(ebpf: &Ebpf) -> Option<u32> {
    let raw: &RawTracePoint = ebpf.program(MARK)?.try_into().ok()?;
    Some(raw.info().ok()?.id())
}

/// Ids of the mark programs of all sensors in this kernel.
fn marks() -> impl Iterator<Item = u32> {
    loaded_programs()
        .filter_map(Result::ok)
        .filter(|program| program.name_as_str() == Some(MARK))
        .map(|program| program.id())
}

/// Refuses when another sensor is loaded. The programs of one that was killed linger for a moment.
fn wait_for_others(until: Instant) -> Result<(), CaptureError> {
    while let Some(id) = marks().next() {
        if Instant::now() >= until {
            return Err(CaptureError::AlreadyRunning { id });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
