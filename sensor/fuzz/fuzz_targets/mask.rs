//! The kernel's layer keeps the length and changes digits only; a card between letters is masked whatever is around it, in
//! the whole text and in chunks of any size. What is passed and judged at once is masked as if each byte were taken in.
#![no_main]

mod card;

use libfuzzer_sys::fuzz_target;
use sensor_common::mask::{
    HELD_BACK, MASK, State, chain::SHORTEST, each_candidate, each_card, in_place, may_be, step,
};

use card::Card;

fuzz_target!(|input: (u8, Card, &[u8], &[u8])| {
    let (size, card, after, before) = input;
    let card = card.written();
    let text = [before, card.as_bytes(), after].concat();
    let check = |clean: &[u8]| {
        assert_eq!(clean.len(), text.len());
        assert!(text.iter().zip(clean).all(|(old, new)| old == new || *new == MASK && old.is_ascii_digit()));
        assert_ne!(
            &clean[before.len()..][..card.len()],
            card.as_bytes(),
            "{}",
            String::from_utf8_lossy(clean)
        );
    };
    let (mut whole, mut state) = (text.clone(), State::NEW);
    assert_eq!(in_place(&mut whole, &mut state, false), text.len());
    check(&whole);
    let mut slow = text.clone();
    assert_eq!(byte_by_byte(&mut slow), state.masked);
    assert_eq!(String::from_utf8_lossy(&slow), String::from_utf8_lossy(&whole));

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

/// Masks a text without passing any of it; how many cards there were. An oracle of its own, of the parts that the kernel calls
/// too: how [`in_place`] goes through a text and judges is what is held against it, so it has no part of that.
fn byte_by_byte(text: &mut [u8]) -> u32 {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let mut state = State::NEW;
    while state.at() < length {
        let ended = step(text, &mut state, length);
        judge(text, &mut state, ended);
    }
    let ended = state.ends_at_last();
    judge(text, &mut state, ended);
    state.masked
}

fn judge(text: &mut [u8], state: &mut State, ended: u32) {
    if ended == 0 || state.digits() < SHORTEST {
        return;
    }
    state.candidates(ended);
    each_candidate(state, ended, |state, start, lengths| {
        each_card(state.cards(start, lengths), |length, by_keyword| {
            state.cover(text, start, length, by_keyword, may_be);
        });
    });
}
