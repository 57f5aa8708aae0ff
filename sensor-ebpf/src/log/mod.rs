//! What containers write to their standard streams.
//!
//! A stream is a pipe or a terminal, known by its inode and never by a descriptor's number: so duplicated and
//! inherited descriptors and a re-opened `/dev/stdout` are right, and a process whose descriptor 1 is something else
//! is left alone.

mod capture;
mod maps;
mod pipe;

pub(crate) use capture::{Write, capture, spliced};
pub(crate) use maps::{LOG_SCRATCH, PIPES, count, output};
pub(crate) use pipe::{key_of_terminal_or_pipe, number};
