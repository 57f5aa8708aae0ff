//! Lookups by the clients of the name service, over UDP and TCP (RFC 1035, RFC 7766).
//!
//! A question and its answer are paired by socket, id and question. Resolvers send the same message again when nothing
//! comes: a lookup lasts from the first time it was sent. What answers teach is which name led to an address
//! ([`super::Places`]).

mod lookups;
mod message;
mod search;
mod stream;

use std::net::SocketAddr;

use crate::protocol::Task;

pub use lookups::{Around, DnsConfig, DnsLosses, Lookups};
pub use message::{Message, Question};

/// A message as it was captured, or a piece of a TCP stream of messages.
#[derive(Clone, Copy, Debug)]
pub struct Captured<'a> {
    /// What the socket is known by.
    pub socket: u64,
    /// The local process sent it.
    pub is_sent: bool,
    /// It is of a TCP stream.
    pub is_stream: bool,
    /// When, in nanoseconds of `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// The first bytes.
    pub bytes: &'a [u8],
    /// How many there were.
    pub length: usize,
    /// Who sent or received it.
    pub task: Task,
    /// Inode number of the socket's network namespace.
    pub netns: u32,
    /// The socket's own address.
    pub local: SocketAddr,
    /// The resolver's address; not known of what an unconnected socket received.
    pub remote: SocketAddr,
}
