//! Spans: an exchange in the data model of OpenTelemetry.
//!
//! ```text
//! Observed ── Tracer::span ── Span ── Batch, by resource ── TracesData ── json_line
//! ```
//! Whose trace a span belongs to:
//! - A valid `traceparent` header (W3C Trace Context) makes the span part of that trace, with the header's
//!   `parent-id` as its parent. For a server that is the caller's span. For a client it is the span that the
//!   application itself opened around the call, so the sensor's span is a child of that one.
//! - Without one, or with one that is not valid, the span starts a trace of its own with random ids.
//!
//! What a span never carries: values of header fields other than `User-Agent` and `Host`, user information of a URL,
//! and the values of query parameters whose name says that they are secret (see [`redact`]).

mod batch;
mod clock;
mod context;
pub mod redact;
mod span;

pub use batch::{Batch, json_line};
pub use clock::WallClock;
pub use context::TraceParent;
pub use span::{FIRST_BYTE_EVENT, Tracer};
