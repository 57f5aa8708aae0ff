//! Cards of all brands and lengths. The daemon's tests have them too.

use std::format;
use std::string::String;
use std::vec::Vec;

use proptest::prelude::*;

/// First digits and lengths.
const BRANDS: [(&str, &[usize]); 32] = [
    ("4", &[13, 16, 18, 19]),
    ("51", &[16]),
    ("55", &[16]),
    ("2221", &[16]),
    ("2500", &[16]),
    ("2720", &[16]),
    ("34", &[15]),
    ("37", &[15]),
    ("300", &[14, 16, 19]),
    ("305", &[14, 16, 19]),
    ("36", &[14, 16, 19]),
    ("38", &[14, 16, 19]),
    ("39", &[14, 16, 19]),
    ("6011", &[16, 19]),
    ("644", &[16, 19]),
    ("649", &[16, 19]),
    ("65", &[16, 19]),
    ("3528", &[16, 17, 18, 19]),
    ("3589", &[16, 17, 18, 19]),
    ("2131", &[15]),
    ("1800", &[15]),
    ("62", &[14, 15, 16, 17, 18, 19]),
    ("81", &[14, 15, 16, 17, 18, 19]),
    ("50", &[12, 13, 14, 15, 16, 17, 18, 19]),
    ("56", &[12, 13, 14, 15, 16, 17, 18, 19]),
    ("57", &[12, 13, 14, 15, 16, 17, 18, 19]),
    ("58", &[12, 13, 14, 15, 16, 17, 18, 19]),
    ("59", &[12, 13, 14, 15, 16, 17, 18, 19]),
    ("63", &[12, 13, 14, 15, 16, 17, 18, 19]),
    ("67", &[12, 13, 14, 15, 16, 17, 18, 19]),
    ("69", &[12, 13, 14, 15, 16, 17, 18, 19]),
    ("9", &[16]),
];
pub(super) const SEPARATORS: [&str; 7] = ["", " ", "-", ".", "+", "%20", "%2D"];

/// Digits with their check digit (ISO/IEC 7812-1, annex B).
fn with_luhn(digits: &str) -> String {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(index, byte)| {
            let digit = u32::from(byte - b'0');
            match (index % 2, digit) {
                (0, 5..) => 2 * digit - 9,
                (0, _) => 2 * digit,
                _ => digit,
            }
        })
        .sum();
    format!("{digits}{}", (10 - sum % 10) % 10)
}

pub(super) fn card() -> impl Strategy<Value = String> {
    proptest::sample::select(&BRANDS[..])
        .prop_flat_map(|(prefix, lengths)| (Just(prefix), proptest::sample::select(lengths), "[0-9]{19}"))
        .prop_map(|(prefix, length, rest)| with_luhn(&format!("{prefix}{rest}")[..length - 1]))
}

/// Numbers of brands that need not pass the Luhn test, which these do not.
pub(super) fn unchecked() -> impl Strategy<Value = String> {
    let digits = prop_oneof![
        (Just("9"), Just(16_usize), "[0-9]{19}"),
        (Just("62"), 14_usize..=19, "[0-9]{19}"),
        (Just("81"), 14_usize..=19, "[0-9]{19}"),
    ];
    (digits, 1_u8..=9).prop_map(|((prefix, length, rest), off)| {
        let good = with_luhn(&format!("{prefix}{rest}")[..length - 1]);
        let (start, last) = good.split_at(length - 1);
        format!("{start}{}", (last.as_bytes()[0] - b'0' + off) % 10)
    })
}

/// As it is printed: fours, 4-6-5 for 15 digits, 4-6-4 for 14, or as one.
pub(super) fn printed(card: &str, separator: &str) -> String {
    let sizes: &[usize] = match card.len() {
        14 => &[4, 6, 4],
        15 => &[4, 6, 5],
        _ => &[4, 4, 4, 4, 4],
    };
    let mut groups = Vec::new();
    let mut rest = card;
    for size in sizes {
        let (group, behind) = rest.split_at((*size).min(rest.len()));
        groups.push(group);
        rest = behind;
    }
    groups.retain(|group| !group.is_empty());
    groups.join(separator)
}
