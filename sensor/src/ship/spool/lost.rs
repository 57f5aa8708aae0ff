//! What a queue lost, by cause.

/// Why batches were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The queue was full, and they were the oldest.
    Bytes,
    /// They were older than the bound.
    Age,
    /// They could not be read back.
    Damaged,
}

impl Cause {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Bytes, Self::Age, Self::Damaged];

    /// The word in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "spool_full",
            Self::Age => "spool_age",
            Self::Damaged => "spool_damaged",
        }
    }
}

/// Batches and what they held, by cause, since the queue was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    batches: [u64; 3],
    items: [u64; 3],
}

impl Lost {
    pub(super) fn add(&mut self, cause: Cause, batches: u64, items: u64) {
        self.batches[cause as usize] += batches;
        self.items[cause as usize] += items;
    }

    /// Batches lost for this cause.
    #[must_use]
    pub const fn batches(&self, cause: Cause) -> u64 {
        self.batches[cause as usize]
    }

    /// Samples, lines or spans lost for this cause. How much a damaged batch held is not known: it counts as one.
    #[must_use]
    pub const fn items(&self, cause: Cause) -> u64 {
        self.items[cause as usize]
    }
}
