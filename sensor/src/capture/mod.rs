//! The kernel side, as the daemon sees it: loads the programs, reads their records and counters.
//!
//! Only this folder knows aya and the form of the records.

mod attach;
mod btf;
mod control_group;
mod decode;
mod error;
mod fill;
mod flow;
mod load;
mod log;
mod missed;
mod next;
mod paths;
mod plaintext;
pub mod priority;
mod probe;
mod session;
mod settings;
mod targets;

pub use btf::{BtfError, Kernel, VMLINUX};
pub use control_group::control_group;
pub use decode::{Record, decode};
pub use error::CaptureError;
pub use fill::Fill;
pub use flow::{Flows, Told, decode as decode_flow};
pub use log::{LogCapture, LogRecord, Pipes, Started, decode as decode_log};
pub use plaintext::Probed;
pub use probe::{Answer, Capability};
pub use session::{Capture, Drained};
pub use settings::{Route, Settings};
