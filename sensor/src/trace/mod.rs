//! Spans: an exchange in the data model of OpenTelemetry.
//!
//! ```text
//! Signal ── Joiner ── SpanIds ─┐
//!                 Observed ────┴─ span ── Span ── Batch, by resource ── TracesData ── json_line
//! ```
//! Whose trace a span belongs to is decided by [`Joiner`] when its request begins.
//!
//! What a span never carries: values of header fields other than `User-Agent` and `Host`, user information of a URL,
//! and the values of query parameters whose name says that they are secret (see [`redact`]).

mod b3;
mod batch;
mod clock;
mod context;
mod ends;
mod handshake;
mod ids;
mod join;
pub mod redact;
mod serving;
mod span;
#[cfg(test)]
mod tests;

pub use batch::{Batch, json_line};
pub use clock::WallClock;
pub use context::TraceParent;
pub use handshake::{HANDSHAKE, ObservedHandshake, handshake_span};
pub use ids::{Parent, SpanIds};
pub use join::{Joiner, LeftOut, Serving};
pub use serving::SpanContext;
pub use span::{FIRST_BYTE_EVENT, span, span_name};
