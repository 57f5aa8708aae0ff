//! Settings that the daemon writes before it loads the programs. They are read-only for the programs, so the
//! verifier knows their values and drops the branches they rule out.

use aya_ebpf::Global;
use sensor_common::{offsets::Offsets, record::HEAD_DEFAULT};

/// Where members lie in the running kernel's structures.
#[unsafe(no_mangle)]
pub(crate) static OFFSETS: Offsets = Offsets::ZERO;

/// One member of [`OFFSETS`], as the daemon wrote it.
macro_rules! offset {
    ($member:ident) => {
        // SAFETY: the static is initialised; the read is volatile because the daemon writes it before loading.
        u64::from(unsafe { core::ptr::read_volatile(&raw const $crate::globals::OFFSETS.$member) })
    };
}
pub(crate) use offset;

/// Head bytes to capture of each message.
#[unsafe(no_mangle)]
static HEAD_BYTES: Global<u32> = Global::new(HEAD_DEFAULT);

/// Bytes of a TLS handshake to capture of each direction; 0 leaves handshakes alone.
#[unsafe(no_mangle)]
static HANDSHAKE_BYTES: Global<u32> = Global::new(0);

/// 1 when plaintext is read from OpenSSL's calls.
#[unsafe(no_mangle)]
static READS_TLS: Global<u32> = Global::new(0);

/// Process id of the daemon, which is never a target.
#[unsafe(no_mangle)]
static SENSOR_TGID: Global<u32> = Global::new(0);

/// What the map `TARGETS` means, in the words of [`sensor_common::target`].
#[unsafe(no_mangle)]
static TARGET_MODE: Global<u32> = Global::new(0);

/// 1 when connections are followed below HTTP, 0 when they are not.
#[unsafe(no_mangle)]
static FLOWS: Global<u32> = Global::new(0);

/// Port of the name service; 0 leaves it alone.
#[unsafe(no_mangle)]
static DNS_PORT: Global<u32> = Global::new(0);

/// Bytes waiting in the ring buffer above which the daemon is woken instead of left to its timer.
#[unsafe(no_mangle)]
static WAKE_BYTES: Global<u64> = Global::new(0);

/// The same for the ring buffer of what containers write.
#[unsafe(no_mangle)]
static LOG_WAKE_BYTES: Global<u64> = Global::new(0);

/// 1 when nothing is to be masked: only in the object that is measured, never in the one that is shipped.
#[cfg(feature = "bench")]
#[unsafe(no_mangle)]
static UNMASKED: Global<u32> = Global::new(0);

#[cfg(feature = "bench")]
#[inline(always)]
pub(crate) fn leaves_unmasked() -> bool {
    UNMASKED.load() != 0
}

#[inline(always)]
pub(crate) fn log_wake_bytes() -> u64 {
    LOG_WAKE_BYTES.load()
}

#[inline(always)]
pub(crate) fn head_bytes() -> u32 {
    HEAD_BYTES.load()
}

#[inline(always)]
pub(crate) fn handshake_bytes() -> u32 {
    HANDSHAKE_BYTES.load()
}

#[inline(always)]
pub(crate) fn reads_tls() -> bool {
    READS_TLS.load() != 0
}

#[inline(always)]
pub(crate) fn sensor_tgid() -> u32 {
    SENSOR_TGID.load()
}

#[inline(always)]
pub(crate) fn target_mode() -> u32 {
    TARGET_MODE.load()
}

#[inline(always)]
pub(crate) fn flows() -> bool {
    FLOWS.load() != 0
}

#[inline(always)]
pub(crate) fn dns_port() -> u16 {
    DNS_PORT.load() as u16
}

#[inline(always)]
pub(crate) fn wake_bytes() -> u64 {
    WAKE_BYTES.load()
}
