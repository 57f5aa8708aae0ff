//! What the eBPF programs and the daemon share: the records of the ring buffer, the values of the maps,
//! and the causes for which the kernel side can lose something.
//!
//! The crate does no I/O, allocates nothing and depends on nothing.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod bytes;
pub mod cause;
pub mod connection;
pub mod flow;
pub mod http2;
pub mod log;
pub mod mask;
pub mod offsets;
pub mod protocol;
pub mod record;
pub mod target;
