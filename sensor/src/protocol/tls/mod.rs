//! TLS seen from outside: what a handshake says in clear ([RFC 8446], [RFC 5246]).
//!
//! The kernel tells the first bytes of each direction. Of them the two hellos are read: the server's name that the client
//! asked for ([RFC 6066], 3), the version, and up to TLS 1.2 the protocol that was chosen ([RFC 7301]), which TLS 1.3
//! encrypts. The handshake lasts from the client's hello to the client's Finished, which both ends see: up to TLS 1.2 it is what
//! follows its ChangeCipherSpec, in TLS 1.3 its first protected record. What is not certain is not told, but counted.
//!
//! [RFC 8446]: https://www.rfc-editor.org/rfc/rfc8446
//! [RFC 5246]: https://www.rfc-editor.org/rfc/rfc5246
//! [RFC 6066]: https://www.rfc-editor.org/rfc/rfc6066
//! [RFC 7301]: https://www.rfc-editor.org/rfc/rfc7301

mod alert;
mod handshake;
mod hello;
mod lane;

pub use handshake::{Handshake, HandshakeError, Handshakes, TlsLosses};
pub use hello::{ClientHello, ServerHello, TlsVersion};

#[cfg(test)]
mod tests;
