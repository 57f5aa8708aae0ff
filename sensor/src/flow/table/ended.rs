//! Connections that are over, remembered for what is told of them later: a reset, an exchange, a hello.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::flow::Ends;
use crate::flow::graph::Ticket;
use crate::metric::flow::Pair;

/// As many are remembered at least, and twice as many at most.
const REMEMBERED: usize = 2_048;

/// A connection that is over.
pub(super) struct Over {
    pub(super) pair: Arc<Pair>,
    /// Until an exchange was seen on it.
    pub(super) ticket: Option<Ticket>,
}

/// The last connections that ended, by their ends: the address of a socket is used again sooner than an exchange on it may be
/// told.
///
/// When the newer ones are enough, the older ones are forgotten all at once: one at each end would wait for memory that
/// nobody has touched for long.
#[derive(Default)]
pub(super) struct Ended {
    newer: HashMap<Ends, Over>,
    older: HashMap<Ends, Over>,
}

impl Ended {
    /// One more has ended.
    pub(super) fn put(&mut self, ends: Ends, over: Over) {
        if self.newer.len() >= REMEMBERED {
            std::mem::swap(&mut self.newer, &mut self.older);
            self.newer.clear();
        }
        self.newer.insert(ends, over);
    }

    /// The last one between these ends.
    pub(super) fn get(&self, ends: &Ends) -> Option<&Over> {
        self.newer.get(ends).or_else(|| self.older.get(ends))
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, ends: &Ends) -> Option<&mut Over> {
        self.newer.get_mut(ends).or_else(|| self.older.get_mut(ends))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(port: u16) -> Ends {
        Ends { netns: 1, local: ([127, 0, 0, 1], port).into(), remote: ([127, 0, 0, 1], 80).into() }
    }

    #[test]
    fn the_last_ones_are_remembered() {
        let pair = Arc::new(crate::flow::graph::tests::from("shop"));
        let mut ended = Ended::default();
        for port in 0..10_000 {
            ended.put(ends(port), Over { pair: Arc::clone(&pair), ticket: None });
        }
        let known = (0..10_000).filter(|port| ended.get(&ends(*port)).is_some()).count();
        assert!((REMEMBERED..=2 * REMEMBERED).contains(&known), "{known}");
        assert!((10_000 - 2_048..10_000).all(|port| ended.get_mut(&ends(port)).is_some()));
        assert_eq!(Arc::strong_count(&pair), 1 + known);
    }

    #[test]
    fn the_newer_one_between_the_same_ends_counts() {
        let named = |client| Arc::new(crate::flow::graph::tests::from(client));
        let mut ended = Ended::default();
        ended.put(ends(1), Over { pair: named("first"), ticket: None });
        for port in 2..3_000 {
            ended.put(ends(port), Over { pair: named("other"), ticket: None });
        }
        ended.put(ends(1), Over { pair: named("second"), ticket: None });
        assert_eq!(&*ended.get(&ends(1)).unwrap().pair.service.name, "second");
    }
}
