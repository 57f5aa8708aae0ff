//! A card number to be put into a text.

use arbitrary::Arbitrary;

/// First digits and a length of each brand's.
const BRANDS: [(&str, usize); 16] = [
    ("4", 13),
    ("4", 16),
    ("4", 19),
    ("51", 16),
    ("2221", 16),
    ("34", 15),
    ("36", 14),
    ("38", 19),
    ("6011", 16),
    ("3528", 17),
    ("2131", 15),
    ("62", 18),
    ("81", 16),
    ("50", 12),
    ("67", 13),
    ("9", 16),
];

/// What the fuzzer chooses of it.
#[derive(Arbitrary, Debug)]
pub struct Card {
    brand: u8,
    digits: u64,
}

impl Card {
    /// The number, with its check digit (ISO/IEC 7812-1, annex B), between letters that are part of no other number.
    pub fn written(&self) -> String {
        let (prefix, length) = BRANDS[usize::from(self.brand) % BRANDS.len()];
        let mut number = format!("{prefix}{:020}", self.digits);
        number.truncate(length - 1);
        let doubled = |digit: u32| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
        let digits = number.bytes().rev().map(|byte| u32::from(byte - b'0')).enumerate();
        let sum: u32 = digits.map(|(index, digit)| if index % 2 == 0 { doubled(digit) } else { digit }).sum();
        format!("x{number}{}x", (10 - sum % 10) % 10)
    }
}
