//! The entry points, one file a way in.

mod close;
mod process;
mod socket;
