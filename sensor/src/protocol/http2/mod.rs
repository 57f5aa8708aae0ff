//! HTTP/2 ([RFC 9113]) on one connection, and gRPC on it.
//!
//! The kernel side tells the frames that matter ([`sensor_common::http2`]); [`frame`] puts them together again,
//! [`block`] the header blocks, [`hpack`] reads those, and [`connection::Http2`] makes exchanges of the streams. Every
//! record has a number: one that is missing is a gap, after which nothing is known of the direction's header table, and
//! the streams that are open are doubtful until they end.
//!
//! [RFC 9113]: https://www.rfc-editor.org/rfc/rfc9113

mod block;
mod connection;
mod connections;
mod fields;
mod frame;
mod grpc;
mod hpack;
mod stream;
#[cfg(test)]
mod tests;

pub(super) use connection::{Context, Http2};
pub(super) use connections::Connections;
