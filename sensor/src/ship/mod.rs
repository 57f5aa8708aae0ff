//! Straight to the receivers, and nothing lost on the way.

pub mod gate;
pub mod loki;
pub mod otlp;
pub mod plan;
pub mod remote_write;
pub mod sender;
pub mod spool;
pub mod stats;
pub mod store;
pub mod wire;
pub mod worker;
