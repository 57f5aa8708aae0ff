//! Ids of traces and spans.

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::context::{RANDOM, SAMPLED};

/// What joins a span to others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpanIds {
    /// The trace, never all zeros.
    pub trace_id: [u8; 16],
    /// The span, never all zeros.
    pub span_id: [u8; 8],
    /// The span that caused it, where it is known.
    pub parent: Option<Parent>,
    /// Flags of W3C Trace Context.
    pub flags: u8,
    /// `tracestate` of W3C Trace Context; empty when there is none.
    pub trace_state: String,
}

/// A span that caused another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its id.
    pub span_id: [u8; 8],
    /// It is of another process.
    pub is_remote: bool,
}

/// Makes ids.
#[derive(Debug)]
pub(super) struct Ids(SmallRng);

impl Ids {
    /// Ids that are seeded by the operating system.
    pub(super) fn new() -> Self {
        Self(SmallRng::from_os_rng())
    }

    /// Random bytes, never all zeros, which would mean no id.
    pub(super) fn id<const N: usize>(&mut self) -> [u8; N] {
        loop {
            let mut id = [0; N];
            self.0.fill(&mut id[..]);
            if id != [0; N] {
                return id;
            }
        }
    }

    /// A span that starts a trace.
    pub(super) fn root(&mut self) -> SpanIds {
        SpanIds {
            trace_id: self.id(),
            span_id: self.id(),
            parent: None,
            flags: SAMPLED | RANDOM,
            trace_state: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_fresh() {
        let mut ids = Ids::new();
        let spans: Vec<SpanIds> = (0..100).map(|_| ids.root()).collect();
        let mut all: Vec<&[u8]> = spans.iter().map(|span| &span.trace_id[..]).collect();
        all.extend(spans.iter().map(|span| &span.span_id[..]));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 200);
    }
}
