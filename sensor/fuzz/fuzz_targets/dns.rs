//! A message of the name service that is cut never says anything else than the whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sensor::flow::dns::Message;

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let Some(whole) = Message::parse(bytes) else { return };
    assert!(whole.question.name.len() <= 4 * 255);
    let part = bytes.get(..usize::from(cut)).unwrap_or(bytes);
    if let Some(part) = Message::parse(part) {
        assert_eq!(part.question, whole.question);
        assert!(whole.addresses.starts_with(&part.addresses));
    }
});
