//! The daemon of the Lionpay node sensor.
//!
//! The way of the data, one direction, no way back:
//! [`capture`] → [`protocol`] → [`identity`] → [`metric`] and [`trace`], all driven by [`pipeline`].

pub mod capture;
pub mod cli;
pub mod config;
pub mod identity;
pub mod log;
pub mod metric;
pub mod pipeline;
pub mod protocol;
pub mod rpc;
pub mod semantic;
pub mod ship;
pub mod trace;
