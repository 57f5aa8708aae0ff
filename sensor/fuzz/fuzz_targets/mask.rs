//! Masking keeps the length in the kernel's layer, changes digits only, and a text in chunks is as long as the whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sensor_common::mask::{HELD_BACK, MASK, State, in_place};

fuzz_target!(|input: (u8, &[u8])| {
    let (size, text) = input;
    let mut whole = text.to_vec();
    assert_eq!(in_place(&mut whole, &mut State::NEW.clone(), false), text.len());
    assert!(text.iter().zip(&whole).all(|(old, new)| old == new || *new == MASK && old.is_ascii_digit()));

    let size = usize::from(size) + HELD_BACK as usize + 1;
    let (mut state, mut done) = (State::NEW, 0);
    while done < text.len() {
        let end = text.len().min(done + size);
        let mut chunk = text[done..end].to_vec();
        let step = in_place(&mut chunk, &mut state, end < text.len());
        assert!(step > 0 && step <= chunk.len());
        done += step;
    }
});
