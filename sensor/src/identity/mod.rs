//! Who is behind a process id.

mod name;
mod process;

pub use name::service_name;
pub use process::{Processes, running};
