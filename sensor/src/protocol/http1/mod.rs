//! HTTP/1.0 and HTTP/1.1 ([RFC 9112]) on one connection.
//!
//! Each direction of the connection is a [`lane::Lane`] that knows, by stream offset, in which message it is and
//! where that ends; [`connection::Http1`] brings the two together. [RFC 9112] calls for responses in the order
//! of the requests, and that order is the only thing that pairs them, so every doubt about it (lost events,
//! mostly) must end in a counted loss and not in a pair. The rules for that are in [`pairing`].
//!
//! [RFC 9112]: https://www.rfc-editor.org/rfc/rfc9112

mod body;
mod chunked;
mod connection;
mod ending;
mod framing;
mod handover;
mod head;
mod held;
mod lane;
mod pairing;
mod pending;
mod reading;
mod start_line;

pub(super) use connection::{Context, Http1, Limits};
pub(super) use ending::Class;
pub(super) use handover::HandedOver;
