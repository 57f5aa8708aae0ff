//! Who took part in an exchange, and which route it took.

mod name;
mod process;

use std::sync::Arc;

pub use name::service_name;
pub use process::{Processes, running};

use crate::{protocol::Exchange, trace::SpanIds};

/// An exchange with the names that metrics and spans carry.
#[derive(Clone, Debug)]
pub struct Observed {
    /// What was seen.
    pub exchange: Exchange,
    /// `service.name` of the local process.
    pub service_name: Arc<str>,
    /// `http.route`: the path with its variable segments as placeholders; `*` once the service has more routes than
    /// the limit, empty where the path is not known.
    pub route: Arc<str>,
    /// What joins its span to others.
    pub span: SpanIds,
}
