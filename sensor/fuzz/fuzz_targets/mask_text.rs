//! All rules of the daemon on any text: nothing panics, JSON stays JSON, and no card is left that the last gate would find.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sensor::config::Mask;
use sensor::mask::{Masker, gate};

static MASKER: LazyLock<Masker> =
    LazyLock::new(|| Masker::new(&Mask::default()).unwrap_or_else(|error| panic!("{error:?}")));

fuzz_target!(|text: &[u8]| {
    let clean = MASKER.bytes(text).into_owned();
    let once = clean.clone();
    let mut gated = clean;
    assert_eq!(gate(&mut gated), 0, "{}", String::from_utf8_lossy(&once));
    if serde_json::from_slice::<serde_json::Value>(text).is_ok() {
        assert!(serde_json::from_slice::<serde_json::Value>(&once).is_ok(), "{}", String::from_utf8_lossy(&once));
    }
});
