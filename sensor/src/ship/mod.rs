//! Straight to the receivers, and nothing lost on the way.

pub mod budget;
pub mod gate;
pub mod lanes;
pub mod logs;
pub mod loki;
pub mod metrics;
pub mod otlp;
mod outlet;
pub mod plan;
pub mod remote_write;
mod report;
mod round;
pub mod sampling;
pub mod sender;
mod shipper;
pub mod spool;
pub mod stats;
pub mod store;
pub mod tail;
pub mod traces;
pub mod wire;
pub mod worker;

#[cfg(test)]
mod tests;

pub use shipper::{ShipError, Shipper};
