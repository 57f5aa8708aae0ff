//! The last look at what leaves the node.
//!
//! Every payload passes here once, before it is compressed and before it is written to the spool: what is masked here
//! is neither on the disk nor on the wire. Only card numbers are looked for, whatever rules were applied before; what
//! is found keeps its length, so that the encoding stays whole, and is an alarm (`sensor_mask_gate_hits_total`).

/// What kind of payload it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Prometheus remote write 2.0.
    Metrics,
    /// A push to Loki.
    Logs,
    /// OTLP traces.
    Traces,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Metrics, Self::Logs, Self::Traces];

    /// The word in directories, metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "logs",
            Self::Traces => "traces",
        }
    }
}

/// Looks at an encoded, uncompressed payload; what it leaves there is what leaves the node, in as many bytes, as the
/// message around them tells lengths. The only caller is [`Store::accept`](super::store::Store::accept).
pub fn before_compression(_signal: Signal, payload: &mut [u8]) {
    crate::mask::gate(payload);
}
