//! The entry points, one file a way in.

#[cfg(feature = "bench")]
mod bench;
pub(crate) mod close;
mod dns;
mod fentry;
mod flow;
mod log;
mod log_exec;
mod log_fentry;
mod next;
mod process;
mod socket;
mod syscall;
mod tls;
mod trial;
mod unix;

/// The bytes stay in the socket: not a receive (`include/linux/socket.h`).
const MSG_PEEK: i32 = 2;
/// The bytes are dropped, none is written to the buffer.
const MSG_TRUNC: i32 = 0x20;
