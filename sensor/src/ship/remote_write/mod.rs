//! Prometheus remote write.
//!
//! A collection of the metrics becomes requests of 2.0 ([`v2`]), which is what the spool holds: it names each string
//! once and loses nothing. A receiver of 1.0 ([`v1`]) gets them converted when they are sent.
//!
//! Specifications: Prometheus Remote-Write 1.0 and 2.0.

mod collect;
mod convert;
mod histogram;
mod number;
mod rules;
mod selection;
mod shaped;
mod total;
pub mod v1;
pub mod v2;

#[cfg(test)]
mod tests;

pub use collect::{Collected, Collector, External};
pub use convert::{samples, split, to_v1};
pub use histogram::{BucketSpan, Histogram};
pub use selection::Selection;

/// The value that ends a series: a NaN of its own, as the specification gives it.
pub const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);
