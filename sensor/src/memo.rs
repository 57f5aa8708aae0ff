//! What was worked out of a text before.
//!
//! Most requests of a host repeat the paths and hosts of the ones before. A text has one place by its hash and takes it
//! from the one that had it, so that memory is bounded and texts that never repeat cost no allocation.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;

/// Places; a power of two.
const PLACES: usize = 1024;
/// The longest text that is remembered, in bytes.
const LONGEST: usize = 256;

/// Values by text.
#[derive(Debug)]
pub(crate) struct Memo<V> {
    places: Box<[Option<(String, V)>]>,
    hasher: DefaultHashBuilder,
}

impl<V> Default for Memo<V> {
    fn default() -> Self {
        Self { places: (0..PLACES).map(|_| None).collect(), hasher: DefaultHashBuilder::default() }
    }
}

impl<V: Clone> Memo<V> {
    /// The value of a text, worked out now unless it is remembered. A text without one is not remembered.
    pub(crate) fn get(&mut self, text: &str, work_out: impl FnOnce(&str) -> Option<V>) -> Option<V> {
        if text.len() > LONGEST {
            return work_out(text);
        }
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are as good as any")]
        let place = &mut self.places[self.hasher.hash_one(text) as usize % PLACES];
        if let Some((known, value)) = place
            && known == text
        {
            return Some(value.clone());
        }
        let value = work_out(text)?;
        match place {
            Some((known, kept)) => {
                text.clone_into(known);
                kept.clone_from(&value);
            }
            None => *place = Some((text.to_owned(), value.clone())),
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_worked_out_once_and_never_taken_for_another() {
        let mut memo = Memo::default();
        for _ in 0..2 {
            for number in 0..10 * PLACES {
                let text = format!("/{number}");
                assert_eq!(memo.get(&text, |text| Some(text.to_owned())), Some(text));
            }
        }
        let last = format!("/{}", 10 * PLACES - 1);
        assert_eq!(memo.get(&last, |_| unreachable!("it came last")), Some(last));
    }

    #[test]
    fn what_is_long_or_has_no_value_is_not_kept() {
        let mut memo = Memo::default();
        let long = "x".repeat(LONGEST + 1);
        assert_eq!([1, 2].map(|value| memo.get(&long, |_| Some(value))), [Some(1), Some(2)]);
        assert_eq!(memo.get("x", |_| None), None);
        assert!(memo.places.iter().all(Option::is_none));
    }
}
