//! The kernel's layer keeps the length and changes digits only; a card between letters is masked whatever is around it, in
//! the whole text and in chunks of any size.
#![no_main]

mod card;

use libfuzzer_sys::fuzz_target;
use sensor_common::mask::{HELD_BACK, MASK, State, in_place};

use card::Card;

fuzz_target!(|input: (u8, Card, &[u8], &[u8])| {
    let (size, card, after, before) = input;
    let card = card.written();
    let text = [before, card.as_bytes(), after].concat();
    let check = |clean: &[u8]| {
        assert_eq!(clean.len(), text.len());
        assert!(text.iter().zip(clean).all(|(old, new)| old == new || *new == MASK && old.is_ascii_digit()));
        assert_ne!(&clean[before.len()..][..card.len()], card.as_bytes(), "{}", String::from_utf8_lossy(clean));
    };
    let mut whole = text.clone();
    assert_eq!(in_place(&mut whole, &mut State::NEW.clone(), false), text.len());
    check(&whole);

    let size = usize::from(size) + HELD_BACK as usize + 1;
    let (mut state, mut clean) = (State::NEW, Vec::new());
    while clean.len() < text.len() {
        let end = text.len().min(clean.len() + size);
        let mut chunk = text[clean.len()..end].to_vec();
        let done = in_place(&mut chunk, &mut state, end < text.len());
        assert!(done > 0 && done <= chunk.len());
        clean.extend_from_slice(&chunk[..done]);
    }
    check(&clean);
});
