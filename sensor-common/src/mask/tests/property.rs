//! Cards of all brands, lengths and separators, in any text.

use std::format;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::cards::{SEPARATORS, card, printed, unchecked};
use super::*;

/// Any grouping.
fn grouped(card: &str, cuts: &[bool], separators: &[&str]) -> String {
    let mut text = String::new();
    for (index, digit) in card.chars().enumerate() {
        if index > 0 && cuts[index] {
            text.push_str(separators[index % separators.len()]);
        }
        text.push(digit);
    }
    text
}

/// Text without digits; a card in it is not told from a longer number by any means otherwise.
fn surroundings() -> impl Strategy<Value = String> {
    prop_oneof![
        "[^0-9]{0,40}",
        "[a-z_ =:\"{},&?/가-힣]{0,40}",
        Just(String::new()),
        // Numbers that a space parts from the card.
        "[0-9]{1,5} ",
        "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}[.,][0-9]{3} ",
        "/pay\\?q=%20",
    ]
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// Whether some of the groups, but not all, are a card: then it is that one that is masked.
fn has_shorter_card(written: &str) -> bool {
    let bare = written.replace("%20", " ").replace("%2D", "-");
    let groups: Vec<_> = bare.split([' ', '-', '+', '.']).collect();
    (0..groups.len()).any(|first| {
        (first + 1..=groups.len())
            .filter(|end| end - first < groups.len())
            .any(|end| mask(groups[first..end].concat().as_bytes()).1 > 0)
    })
}

/// The card is masked where it stands, and nothing but its digits is.
fn assert_covered(before: &str, written: &str, after: &str) -> Result<(), TestCaseError> {
    let text = format!("{before}{written}{after}");
    let clean = masked(&text);
    prop_assert_eq!(clean.len(), text.len());
    let inside = &clean[before.len()..before.len() + written.len()];
    let bare = written.replace("%20", "").replace("%2D", "");
    let count = digits(&bare).len();
    let left = digits(&inside.replace("%20", "").replace("%2D", "")).len();
    let most = if count >= 16 { 10 } else { 4 };
    prop_assert!(left <= most, "{} digits of {} are left: {}", left, count, clean);
    prop_assert_eq!(&clean[..before.len()], before);
    prop_assert_eq!(&clean[before.len() + written.len()..], after);
    Ok(())
}

/// A text of which every byte is taken in.
struct Unpassed(Vec<u8>);

impl Text for Unpassed {
    fn byte(&self, at: u32) -> u8 {
        self.0.byte(at)
    }

    fn hide(&mut self, at: u32) {
        self.0.hide(at);
    }

    fn word(&self, at: u32) -> u64 {
        self.0.word(at)
    }

    fn bits<const WORDS: u32>(&self, at: u32, outside: impl Fn(u64) -> u64) -> u64 {
        self.0.bits::<WORDS>(at, outside)
    }
}

impl Unpassed {
    fn mask(&mut self, state: &mut State, more: bool) -> u32 {
        let length = u32::try_from(self.0.len()).unwrap();
        while state.at() < length {
            let ended = step(self, state, length);
            judge(self, state, ended);
        }
        if !more {
            judge(self, state, state.ends_at_last());
        }
        cut(self, state, length, more)
    }
}

/// Passing and judging at once change nothing of what taking in each byte does, in a whole text and in two chunks.
fn assert_taken_alike(text: &[u8], cut: usize) -> Result<(), TestCaseError> {
    let (quick, cards) = mask(text);
    prop_assert!(may_hold(text) || cards == 0);
    let mut slow = Unpassed(text.to_vec());
    let mut state = State::NEW;
    slow.mask(&mut state, false);
    prop_assert_eq!(String::from_utf8_lossy(&quick), String::from_utf8_lossy(&slow.0));
    prop_assert_eq!(cards, state.masked);

    let (mut slow_state, mut quick_state) = (State::NEW, State::NEW);
    let mut done = 0;
    for (end, more) in [(cut.min(text.len()), true), (text.len(), false)] {
        let mut slow = Unpassed(text[done..end].to_vec());
        let slow_done = slow.mask(&mut slow_state, more);
        let mut quick = text[done..end].to_vec();
        let quick_done = in_place(&mut quick, &mut quick_state, more);
        prop_assert_eq!(quick_done, slow_done as usize);
        prop_assert_eq!(String::from_utf8_lossy(&quick), String::from_utf8_lossy(&slow.0));
        prop_assert_eq!(quick_state.masked, slow_state.masked);
        done += quick_done;
    }
    Ok(())
}

proptest! {
    // A fifth of the groupings has a shorter card in it.
    #![proptest_config(ProptestConfig { max_global_rejects: 65_536, ..ProptestConfig::with_cases(4096) })]

    #[test]
    fn every_card_is_masked(
        card in card(), separator in proptest::sample::select(&SEPARATORS[..]),
        before in surroundings(), after in "([^0-9].{0,40})?",
    ) {
        // Numbers before a card belong to it where it has no shape of its own.
        let shapeless = card.len() < 13 || !separator.is_empty() && !(14..=16).contains(&card.len());
        let before = if shapeless { before.replace(|c: char| c.is_ascii_digit(), "") } else { before };
        let before = before.trim_end_matches(['+', '%']);
        // A separator after the card joins it to digits that follow.
        let after = if after.starts_with([' ', '-', '.', '+', '%']) { String::new() } else { after };
        prop_assume!(!digits(&after).contains("00000000"));
        let written = printed(&card, separator);
        let (clean, _) = mask(format!("{before}{written}").as_bytes());
        prop_assert!(!String::from_utf8_lossy(&clean).contains(&written));
        assert_covered(before, &written, "")?;
        let text = masked(&format!("{before}{written}{after}"));
        prop_assert!(!text.contains(&written));
    }

    #[test]
    fn any_grouping_is_masked(
        card in card(), cuts in proptest::collection::vec(any::<bool>(), 19),
        separators in prop_oneof![
            proptest::sample::subsequence(vec![" ", "-", "+", "%20", "%2D"], 1..=5),
            Just(vec!["."]),
        ],
        before in "[a-z_ =:\"가-힣]{0,20}", after in "([g-z_=:\"가-힣][^0-9]{0,20})?",
    ) {
        let written = grouped(&card, &cuts, &separators);
        // One dot makes a decimal number.
        prop_assume!(written.matches('.').count() != 1);
        prop_assume!(!has_shorter_card(&written));
        assert_covered(&before, &written, &after)?;
    }

    #[test]
    fn brands_without_luhn_are_masked(
        card in unchecked(), separator in proptest::sample::select(&SEPARATORS[..]),
        before in surroundings(), after in "([a-z_=:\"가-힣][^0-9]{0,20})?",
    ) {
        let before = before.trim_end_matches(['+', '%']);
        let written = printed(&card, separator);
        // 6-13 and fours are printed; 17 digits and more in fours too.
        assert_covered(before, &written, &after)?;
    }

    #[test]
    fn a_card_within_a_longer_number_is_masked(
        card in card(), before in "[0-9]{1,3}", after in "[0-9]{3}", long in "[0-9]{4,30}",
    ) {
        prop_assume!(card.len() == 16);
        // Its length, or zeros, before it; its security code behind it. Not what begins with a date.
        let date = before.starts_with("20");
        for text in [format!("{before}{card}"), format!("{card}{after}"), format!("{long}{card}"), format!("{card}{long}")] {
            let time = text.len() == 19 && text.starts_with('1');
            prop_assert!(time || date || !masked(&text).contains(&card), "{}", text);
        }
    }

    #[test]
    fn what_is_passed_holds_no_card(
        text in proptest::collection::vec(
            prop_oneof![
                "[0-9]{1,9}", "[ .+-]", "%2[0dDeEbB]?", "[a-fx:%]{1,9}", card(), " {1,40}",
            ],
            0..60,
        ),
        skew in 0..8_usize, cut in 0..400_usize,
    ) {
        let text = format!("{}{}", &"        "[..skew], text.concat());
        assert_taken_alike(text.as_bytes(), cut)?;
    }

    #[test]
    fn what_is_judged_at_once_is_judged_alike(
        text in proptest::collection::vec(
            prop_oneof![
                3 => (
                    prop_oneof![card(), unchecked(), "[1-9][0-9]{11,18}"],
                    proptest::sample::select(&SEPARATORS[..]), proptest::sample::select(&SEPARATORS[..]), 0..20_usize,
                )
                    .prop_map(|(number, separator, other, at)| {
                        // One of the separators may be another.
                        let written = printed(&number, separator);
                        match written.char_indices().filter(|(_, c)| !c.is_ascii_digit()).nth(at) {
                            Some((index, _)) if separator.len() == 1 => {
                                format!("{}{other}{}", &written[..index], &written[index + 1..])
                            }
                            _ => written,
                        }
                    }),
                2 => "card|PAN|pan |카드|span|[a-f0-9]{5,7}|[a-f0-9]{16}-|0\\.|[+%]|%[0-9a-f]|%2[0b]|[0-9]{1,6}",
                2 => "[ ,.%+*x/-]{1,3}",
                1 => "[a-z ]{1,40}",
            ],
            0..24,
        ),
        skew in 0..8_usize, cut in 0..400_usize,
    ) {
        let text = format!("{}{}", &"        "[..skew], text.concat());
        assert_taken_alike(text.as_bytes(), cut)?;
    }

    #[test]
    fn any_bytes_keep_their_length(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (clean, _) = mask(&bytes);
        prop_assert_eq!(clean.len(), bytes.len());
        for (old, new) in bytes.iter().zip(&clean) {
            prop_assert!(old == new || *new == MASK && old.is_ascii_digit());
        }
    }

    #[test]
    fn what_is_masked_stays(text in "[0-9 .%+-]{0,200}") {
        let once = masked(&text);
        let twice = masked(&once);
        prop_assert_eq!(twice.to_string().len(), text.len());
    }
}
