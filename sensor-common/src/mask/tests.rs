use super::*;
extern crate std;
use std::string::String;

fn masked(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    in_place(&mut bytes, &mut State::NEW.clone(), false);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn cards_are_masked() {
    for (text, clean) in [
        ("4111111111111111", "411111******1111"),
        ("card_no_4111111111111111", "card_no_411111******1111"),
        ("4111 1111 1111 1111 12/27", "4111 11** **** 1111 12/27"),
    ] {
        assert_eq!(masked(text), clean);
    }
}
