//! TCP connections below HTTP: who talks to whom, how well, and what fails.
//!
//! Two sources are joined in a [`Table`]. The kernel's programs tell when a connection is established, fails, ends or is
//! reset, with its final figures ([`Event`]). Once an interval `sock_diag` tells the figures of those that are open
//! ([`Dump`]). Both read the same counters of the same socket, and the table adds what is more than it has told
//! already, so that each byte is counted once. No hook runs a packet. [`dns`] follows lookups of names, whose answers say how
//! addresses are called ([`Places`]); and what the host's connection tracking knows tells whose address is behind a
//! translated one ([`Translations`]).

mod conntrack;
mod diag;
pub mod dns;
mod dump;
mod event;
mod failure;
mod graph;
mod listeners;
mod namespace;
mod places;
mod table;
mod translations;

pub use conntrack::{Conntrack, View};
pub use diag::{Connected, Listening, Sockets};
pub use dump::{Dump, Dumper, Wanted};
pub use event::{Ends, Event, Totals, What};
pub use failure::Failure;
pub use namespace::{Namespace, holders, own, read_all};
pub use places::{Network, Places};
pub use table::{Names, Table, TableConfig};
pub use translations::Translations;
