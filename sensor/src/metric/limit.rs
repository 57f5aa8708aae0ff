//! Values of a label that come from outside, kept to a number.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use super::labels::sanitise;

/// What stands for every value that finds no room.
const FOLDED: &str = "*";
/// A value gives its place to another when it was not used for so long, in nanoseconds: its series have ended then.
const IDLE_NS: u64 = 3_600_000_000_000;

/// The values that are told apart.
#[derive(Debug)]
pub struct Limited {
    limit: usize,
    /// When each was last used.
    values: LruCache<Arc<str>, u64>,
    folded: u64,
}

impl Limited {
    /// Tells at most `limit` values apart.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let capacity = NonZeroUsize::new(limit).unwrap_or(NonZeroUsize::MIN);
        let mut values = LruCache::unbounded();
        values.resize(capacity);
        Self { limit, values, folded: 0 }
    }

    /// The value as a label has it: itself, or `*` when there are too many. `now_ns` is of `CLOCK_MONOTONIC`.
    pub fn admit(&mut self, value: &str, now_ns: u64) -> Arc<str> {
        self.find(value, now_ns).unwrap_or_else(|| {
            self.folded += 1;
            FOLDED.into()
        })
    }

    /// The same, but `None` when there are too many.
    pub fn find(&mut self, value: &str, now_ns: u64) -> Option<Arc<str>> {
        let value = sanitise(value);
        if let Some((known, used)) = self.values.get_key_value_mut(&*value) {
            *used = now_ns.max(*used);
            return Some(Arc::clone(known));
        }
        if self.values.len() >= self.limit {
            let (_, used) = self.values.peek_lru()?;
            if now_ns.saturating_sub(*used) < IDLE_NS {
                return None;
            }
            self.values.pop_lru();
        }
        let value: Arc<str> = value.into();
        self.values.put(Arc::clone(&value), now_ns);
        Some(value)
    }

    /// How often a value found no room.
    #[must_use]
    pub fn folded(&self) -> u64 {
        self.folded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_apart_up_to_the_limit() {
        let mut limited = Limited::new(2);
        let names = ["a", "b", "c", "a"].map(|name| limited.admit(name, 1).to_string());
        assert_eq!(names, ["a", "b", "*", "a"]);
        assert_eq!(limited.folded(), 1);
    }

    #[test]
    fn an_idle_value_gives_its_place() {
        let mut limited = Limited::new(2);
        limited.admit("a", 1);
        limited.admit("b", 10);
        assert_eq!(&*limited.admit("c", IDLE_NS), "*");
        assert_eq!(&*limited.admit("c", IDLE_NS + 1), "c");
        assert_eq!(&*limited.admit("b", IDLE_NS + 1), "b");
        assert_eq!(&*limited.admit("a", IDLE_NS + 1), "*");
    }
}
