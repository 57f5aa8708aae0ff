//! The settings of the daemon, from a YAML file.
//!
//! Every key has a default, so no file is needed. Keys that do not exist are refused, and everything is validated
//! before anything is loaded or bound. `docs/configuration.md` is generated from the doc comments of [`settings`].

#[cfg(test)]
mod deployed;
mod duration;
mod environment;
mod error;
mod flow;
mod kubernetes;
mod load;
mod logs;
#[cfg(test)]
pub(crate) mod reference;
mod settings;
pub mod ship;

pub use error::ConfigError;
pub use flow::{Dns, Flow, Networks, Tls};
pub use kubernetes::{Enabled, Kubernetes};
pub use logs::Logs;
pub use settings::{Capture, Config, CustomRule, Http, Mask, Metric, Route, Target};
pub use ship::Ship;
