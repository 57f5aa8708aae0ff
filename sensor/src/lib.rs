//! The daemon of the Lionpay node sensor.
//!
//! The way of the data, one direction, no way back:
//! [`capture`] → [`protocol`] → [`identity`] → [`metric`] and [`trace`], all driven by [`pipeline`]; [`flow`] is the same way for connections below HTTP.

pub mod capture;
pub mod cli;
pub mod config;
pub mod flow;
pub mod identity;
pub mod log;
pub mod mask;
mod memo;
pub mod metric;
pub mod pipeline;
pub mod protocol;
pub mod rpc;
pub mod semantic;
pub mod ship;
pub mod trace;
