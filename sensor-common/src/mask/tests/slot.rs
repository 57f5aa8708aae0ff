//! A text in the slot of a map, as the kernel reads it: an offset is cut to the slot, what is read together goes on from there, and
//! behind the text is what an earlier one left.

use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const CAPACITY: u32 = 1024;

struct Slot(Vec<u8>);

impl Slot {
    fn new(text: &[u8], left: u8) -> Self {
        let mut bytes = std::vec![left; 3 * CAPACITY as usize];
        bytes[..text.len()].copy_from_slice(text);
        Self(bytes)
    }
}

impl Text for Slot {
    fn byte(&self, at: u32) -> u8 {
        self.0[(at & (CAPACITY - 1)) as usize]
    }

    fn hide(&mut self, at: u32) {
        self.0[(at & (CAPACITY - 1)) as usize] = MASK;
    }

    fn word(&self, at: u32) -> u64 {
        self.0.word(at & (CAPACITY - 1))
    }

    fn bits<const WORDS: u32>(&self, at: u32, outside: impl Fn(u64) -> u64) -> u64 {
        self.0.bits::<WORDS>(at & (CAPACITY - 1) & !7, outside)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn what_is_around_a_text_changes_nothing(
        text in proptest::collection::vec(
            prop_oneof![
                "[a-z :]{0,20}",
                (super::cards::card(), proptest::sample::select(&super::cards::SEPARATORS[..]))
                    .prop_map(|(card, separator)| super::cards::printed(&card, separator)),
                "[0-9 .-]{0,20}",
            ],
            0..30,
        ),
        left in proptest::sample::select(&b"1 -a%"[..]), more in any::<bool>(),
    ) {
        let text = text.concat();
        let text = &text.as_bytes()[..text.len().min(CAPACITY as usize)];
        let mut plain = text.to_vec();
        let (mut state, mut other) = (State::NEW, State::NEW);
        let done = in_place(&mut plain, &mut state, more);
        let mut slot = Slot::new(text, left);
        let length = u32::try_from(text.len()).unwrap();
        prop_assert_eq!(all(&mut slot, length, &mut other, more), done);
        prop_assert_eq!(&slot.0[..done], &plain[..done]);
        prop_assert_eq!(other.masked, state.masked);
    }
}
