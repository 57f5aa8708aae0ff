//! What containers write to standard output and error, as log records.
//!
//! ```text
//! Written ── Lines ── Assembler ── fields, severity ── Filter ── Record ── Sink
//!  (a write)  (joined)  (multi-line)
//! ```
//! All but [`Reader`] and `streams` is pure: bytes and times in, records out. The reader has a thread and a ring
//! buffer of its own, so that a flood of lines takes nothing from the exchanges.
//!
//! A line is told once, in the order in which its writer wrote it, or it is in a counter ([`Counts`]).

mod assemble;
mod choice;
mod containers;
mod continuation;
mod correlate;
mod engine;
mod fields;
mod filter;
mod line;
mod loki;
mod masked;
mod print;
mod reader;
mod record;
mod severity;
mod streams;
mod text;
mod writers;
mod written;

pub use choice::{Choice, ChoiceError, Followed, Names, Pods};
pub use correlate::Requests;
pub use engine::{Counts, Engine, Told};
pub use filter::{Filter, Filtered};
pub use line::{Line, LineCounts, Lines};
pub use loki::Loki;
pub use print::Print;
pub use reader::{Reader, Sink};
pub use record::{Iostream, Record, json_line};
pub use severity::Severity;
pub use written::Written;

#[cfg(test)]
mod tests;
