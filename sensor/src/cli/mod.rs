//! What a person types and sees.

pub mod args;
pub mod display;
pub mod lines;
pub mod output;
pub mod stats;
pub mod table;
