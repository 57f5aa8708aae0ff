//! All rules of the daemon on any text: nothing panics, JSON objects and arrays stay JSON, a card between letters is masked
//! whatever is around it, and no card is left that the last gate would find.
#![no_main]

mod card;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sensor::config::Mask;
use sensor::mask::{Masker, gate};

use card::Card;

static MASKER: LazyLock<Masker> =
    LazyLock::new(|| Masker::new(&Mask::default()).unwrap_or_else(|error| panic!("{error:?}")));

fuzz_target!(|input: (Option<Card>, u16, &[u8])| {
    let (card, at, text) = input;
    let card = card.map(|card| card.written());
    let (before, after) = text.split_at(usize::from(at).min(text.len()));
    let text = [before, card.as_deref().unwrap_or_default().as_bytes(), after].concat();
    let clean = MASKER.bytes(&text).into_owned();
    let told = || String::from_utf8_lossy(&clean).into_owned();
    assert_eq!(gate(&mut clean.clone()), 0, "{}", told());
    if let Some(card) = card {
        assert!(!told().contains(&card), "{}", told());
    }
    if is_json(&text) {
        assert!(is_json(&clean), "{}", told());
    }
});

/// Whether it is an object or an array: a number alone is a text like any other.
fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(text).is_ok_and(|value| value.is_object() || value.is_array())
}
