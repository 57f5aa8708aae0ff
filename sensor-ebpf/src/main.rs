//! The eBPF programs of the Lionpay node sensor.
//!
//! `hooks/` holds the entry points, each a few lines: find the operation, hand it to [`observe`]. All that the
//! ways into the kernel share is in the modules beside it. The programs only read: no user memory is written,
//! no packet is touched.
#![no_std]
#![no_main]
#![expect(
    clippy::cast_possible_truncation,
    reason = "the verifier knows registers of 64 bits and the records have narrower members: a checked conversion \
              would be a panic path"
)]

mod buffers;
mod count;
mod dns;
mod emit;
mod flow;
mod follow;
mod globals;
mod hooks;
mod http2;
mod kernel;
mod log;
mod maps;
mod mask;
mod message;
mod named;
mod next;
mod observe;
mod plaintext;
mod registers;
mod socket;
mod started;
mod switch;
mod target;
mod task;

/// The helpers that the programs call are offered to GPL-compatible programs only.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// A panic that can be reached is an endless loop, which the verifier refuses to load.
#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
