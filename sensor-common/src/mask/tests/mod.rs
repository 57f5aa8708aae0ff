//! What is masked, what is left alone, and that it does not matter where a text is cut.

mod cards;
mod chunks;
mod kinds;
mod negative;
mod property;
mod slot;

use std::string::String;
use std::vec::Vec;

use super::*;

/// The text with its cards masked, and how many there were.
fn mask(text: &[u8]) -> (Vec<u8>, u32) {
    let mut bytes = text.to_vec();
    let mut state = State::NEW;
    assert_eq!(in_place(&mut bytes, &mut state, false), bytes.len());
    (bytes, state.masked)
}

fn masked(text: &str) -> String {
    String::from_utf8(mask(text.as_bytes()).0).unwrap()
}

#[track_caller]
fn stays(text: &str) {
    assert_eq!(masked(text), text);
}

#[test]
fn a_card_shows_six_digits_and_four_or_four_alone() {
    for (text, clean) in [
        ("4111111111111111", "411111******1111"),
        ("6212345678901232189", "621234*********2189"),
        ("371449635398431", "***********8431"),
        ("30569309025904", "**********5904"),
        ("pay 5555555555554444 now", "pay 555555******4444 now"),
        ("4111-1111-1111-1111", "4111-11**-****-1111"),
        ("3714 496353 98431", "**** ****** *8431"),
    ] {
        assert_eq!(masked(text), clean);
    }
}

#[test]
fn what_is_glued_to_a_card_hides_nothing() {
    for (text, clean) in [
        ("card_no_4111111111111111", "card_no_411111******1111"),
        ("카드4111111111111111번", "카드411111******1111번"),
        ("PAN4111111111111111x", "PAN411111******1111x"),
        ("%B4111111111111111^KIM/MIN^2712", "%B411111******1111^KIM/MIN^2712"),
        (";4111111111111111=27122011", ";411111******1111=27122011"),
        ("4111111111111111D27122011", "411111******1111D27122011"),
        ("\"pan\":\"4111111111111111\",\"cvc\":\"123\"", "\"pan\":\"411111******1111\",\"cvc\":\"123\""),
        ("3 4111 1111 1111 1111 12/27", "3 4111 11** **** 1111 12/27"),
        ("4111111111111111 123", "411111******1111 123"),
        ("2026-11-23 22:14:49.123 4111-1111-1111-1111", "2026-11-23 22:14:49.123 4111-11**-****-1111"),
        ("1.4111111111111111", "1.411111******1111"),
        ("n=00004111111111111111", "n=0000411111******1111"),
    ] {
        assert_eq!(masked(text), clean);
    }
}

#[test]
fn percent_encoding_neither_hides_a_card_nor_joins_it() {
    for (text, clean) in [
        ("?q=pay%204111111111111111&b=1", "?q=pay%20411111******1111&b=1"),
        ("?q=%224111111111111111%22", "?q=%22411111******1111%22"),
        ("?c=4111%201111%201111%201111", "?c=4111%2011**%20****%201111"),
        ("?c=4111%2d1111%2D1111%2d1111", "?c=4111%2d11**%2D****%2d1111"),
        ("?c=4111+1111+1111+1111", "?c=4111+11**+****+1111"),
        ("?c%3d4111111111111111", "?c%3d411111******1111"),
        ("?%EC%B9%B4%EB%93%9C4111111111111111", "?%EC%B9%B4%EB%93%9C411111******1111"),
        ("?a%404111111111111111", "?a%40411111******1111"),
        ("?%884111111111111111%2c", "?%88411111******1111%2c"),
    ] {
        assert_eq!(masked(text), clean, "{text}");
    }
}

#[test]
fn a_percent_sign_before_a_card_is_not_always_an_escape() {
    assert_eq!(masked("10%4111111111111111"), "10%411111******1111");
}

#[test]
fn some_brands_and_words_go_without_luhn() {
    for (text, clean) in [
        ("9410111122223333", "941011******3333"),
        ("9410-1111-2222-3333", "9410-11**-****-3333"),
        ("6250111122223331", "625011******3331"),
        ("8171111122223331", "817111******3331"),
        ("625011 1122223331123", "625011 *********1123"),
        ("\"cardNo\": \"4111111111111112\"", "\"cardNo\": \"411111******1112\""),
        ("카드 번호=4111111111111112", "카드 번호=411111******1112"),
        ("PAN: 4111111111111112", "PAN: 411111******1112"),
    ] {
        assert_eq!(masked(text), clean);
    }
    for text in ["4111111111111112", "span 4111111111111112", "panel 4111111111111112"] {
        stays(text);
    }
}

#[test]
fn other_numbers_stay() {
    for text in [
        "1763935200123",
        "1763935200123456",
        "1763935200123456789",
        "00-0af7651916cd43dd8448eb211c80319c-6011000990139424-01",
        "0af7651916cd43dd8448eb4111111111111111",
        "0.4111111111111111",
        "6234567890123456.5e3 is a card, 0.6234567890123456 is not".split_at(24).1,
        "+82 10-1234-5678",
        "+639171234567",
        "10.0.0.1 172.16.254.12 200 512",
        "Content-Length: 41111111",
        "110-123-456789",
        "20261123-123456789012",
        "1024 2048 4096 8192",
    ] {
        stays(text);
    }
}

#[test]
fn a_run_of_many_digits_hides_no_card() {
    for before in 4..40 {
        for after in 0..40 {
            let text = "1".repeat(before) + "4012888888881881" + &"7".repeat(after);
            let clean = masked(&text);
            assert!(!clean.contains("4012888888881881"), "{text}: {clean}");
            assert_eq!(clean.len(), text.len());
        }
    }
}

#[test]
fn a_few_digits_before_or_behind_a_card_do_not_hide_it() {
    for (text, clean) in [
        // As ISO 8583 writes it, with its length.
        ("164111111111111111", "16411111******1111"),
        ("084111111111111111", "08411111******1111"),
        ("0004111111111111111", "000411111******1111"),
        // With its security code.
        ("4111111111111111123", "411111******1111123"),
        ("5555555555554444999 ok", "555555******4444999 ok"),
        ("n=1234-164111111111111111,", "n=1234-16411111******1111,"),
    ] {
        assert_eq!(masked(text), clean);
    }
    // A time in nanoseconds, and what begins with a date.
    for text in ["1764111111111111111", "2014111111111111111"] {
        stays(text);
    }
}

/// Where bytes are taken in one by one, a line costs several times as much.
#[test]
fn numbers_that_stand_alone_are_judged_at_once() {
    for text in [
        "INFO card=4111111111111111 order placed",
        "2026-11-24T10:11:12.123Z INFO pan=4111-1111-1111-1111 order placed",
        "amex 371449635398431, visa 4222222222222%, 4111 1111 1111 1111",
        "{\"time\":1763935200123,\"pan\":\"9410.1111.2222.3333\"}",
    ] {
        let mut bytes = text.as_bytes().to_vec();
        let length = u32::try_from(bytes.len()).unwrap();
        let mut state = State::NEW;
        while state.at() < length {
            let text = &mut bytes[..];
            assert!(
                pass(text, &mut state, length, false) || alone(text, &mut state, length, false, may_be) != 0
            );
        }
        assert_eq!(String::from_utf8(bytes).unwrap(), masked(text));
    }
}

#[test]
fn all_bytes_are_taken() {
    let text: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    assert_eq!(mask(&text).0, text);
    assert_eq!(mask(b"").0, b"");
    let text = [b"\xff\xfe4111111111111111\xc3".as_slice(), &[0; 3]].concat();
    assert_eq!(mask(&text).1, 1);
}
