//! Straight to the receivers, and nothing lost on the way.

pub mod sender;
pub mod spool;
