//! From bytes and timestamps to exchanges.
//!
//! Pure: no kernel, no clock, no I/O. What goes in is an [`Event`], what comes out is an [`Exchange`], so every
//! parser can be tested and fuzzed alone. Times are nanoseconds of `CLOCK_MONOTONIC`.

mod ask;
mod event;
mod exchange;
mod http1;
mod http2;
mod kept;
mod loss;
mod route;
mod signal;
mod table;
mod tls;
mod tracker;

pub use event::{Close, Connection, Direction, Endpoints, Event, FrameRecord, Head, Progress, Stream, Task};
pub use exchange::{End, Exchange, Grpc, Message, Role};
pub use loss::{Loss, LossCounts};
pub use route::{OTHER_ROUTE, RouteLimiter, route_of};
pub use signal::{ExchangeKey, Signal, Started};
pub use tls::{ClientHello, Handshake, HandshakeError, Handshakes, ServerHello, TlsLosses, TlsVersion};
pub use tracker::{Tracker, TrackerConfig};

#[cfg(test)]
mod tests;
