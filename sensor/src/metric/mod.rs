//! Metrics: what is counted, and how it is read.
//!
//! - [`family`] is the written list of all families; `docs/metrics.md` is generated from it.
//! - A [`Group`](group::Group) holds several families that share their label sets, so that recording an exchange is
//!   one look-up and a few additions. It is bounded: past the limit, new label sets fold into one whose labels are
//!   all `other`.
//! - [`Own`](own::Own) holds what the sensor says of itself.
//! - [`Registry`] owns them all, [`Shared`] is the registry that the pipeline writes and the endpoint reads.
//! - Every reader, the text exposition now and senders later, goes through [`Source`].
//!
//! Invariant: no two slots of a family have the same labels, so nothing is ever exported twice.

pub mod dns;
pub mod endpoint;
pub mod family;
pub mod flow;
pub mod graph;
pub mod group;
pub mod histogram;
pub mod http;
pub mod labels;
pub mod limit;
pub mod native;
pub mod own;
pub mod process;
pub mod registry;
pub mod room;
pub mod rpc;
pub mod spans;
mod status;
pub mod text;
pub mod tls;
pub mod worst;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod reference;

pub use family::{Family, Kind};
pub use histogram::{Buckets, Exemplar, Reading};
pub use labels::Labels;
pub use registry::{Registry, Shared};

/// The value of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sample<'a> {
    /// Only grows while the sensor runs.
    Counter(f64),
    /// Goes up and down.
    Gauge(f64),
    /// Observations by size.
    Histogram(Reading<'a>),
}

/// Families whose series can be read one by one.
///
/// A series keeps its slot for as long as it lives, so a reader may stop and go on later: it can miss a series that
/// appears meanwhile, and never sees one twice unless it expired and came back in between.
pub trait Source {
    /// The families, in the order of their numbers.
    fn families(&self) -> &'static [&'static Family];
    /// How many slots there are, used or not.
    fn slots(&self) -> usize;
    /// The series of a family in a slot; `None` when there is none.
    fn read(&self, family: usize, slot: usize) -> Option<(&Labels, Sample<'_>)>;
}
