//! Judging a number that stands alone, all of it at once.
//!
//! Most numbers that [`pass`](super::pass()) finds are of two forms: one run of 12 to 16 digits, or groups of 4-4-4 and one to
//! four more with one kind of separator. Taken in byte by byte, either is judged once, where its last digit is known, as a
//! card of all its digits ([`State::candidates`]); whatever follows it changes nothing. So it is judged from words here,
//! with the same result.

use super::State;
use super::brand::{self, UNCHECKED};
use super::card::{KEEP_FIRST, KEEP_LAST, LONG, USUAL};
use super::chain::SHORTEST;
use super::memory::rolled;
use super::pass::until;
use super::take::separator;
use super::text::{LOW, Text};

/// What became of the number that was found.
pub const MASKED: u32 = 2;
/// It is no card, or is left for what stands before it.
const LEFT: u32 = 1;
/// It has to be taken in byte by byte.
const OTHER: u32 = 0;

/// The digits of three groups of four, one bit a byte.
const FOURS: u64 = 0b01111_01111_01111;
/// The bits of [`FOURS`] and the separators behind them.
const BEFORE_LAST: u32 = 15;
/// The values of eight digits.
const VALUES: u64 = 0x0f * LOW;
/// Every second byte, the first among them.
const EVEN: u64 = 0x00ff_00ff_00ff_00ff;

/// Judges the number that [`pass`](super::pass()) found, and masks it. [`MASKED`] and [`LEFT`] say that the scan has come to
/// its end; 0 that it has to be taken in. With `more`, another chunk of the same text follows. `may_be` is
/// [`may_be`](super::may_be()), or a call of it.
#[inline(always)]
pub fn alone<T: Text + ?Sized>(
    text: &mut T,
    state: &mut State,
    length: u32,
    more: bool,
    may_be: impl FnOnce(&T, u32, u32, bool) -> bool,
) -> u32 {
    let (start, digits) = state.found();
    let (gap, last) =
        if digits & ((1 << BEFORE_LAST) - 1) == FOURS { (1, digits >> BEFORE_LAST) } else { (0, digits) };
    let count = digits.count_ones();
    if last & last.wrapping_add(1) != 0
        || !(SHORTEST..=USUAL).contains(&count)
        || gap != 0 && !(1..=15).contains(&last)
    {
        return OTHER;
    }
    let end = start.wrapping_add(count + 3 * gap);
    if end > until(length, more) || start != 0 && text.byte(start.wrapping_sub(1)) == b'%' {
        return OTHER;
    }
    if gap != 0 {
        let between = |index: u32| text.byte(start.wrapping_add(5 * index - 1));
        let first = between(1);
        let others = [between(2), between(3)];
        if separator(first) == 0 || others != [first; 2] {
            return OTHER;
        }
    }
    state.come_to(end);
    // The two forms meet again.
    let gap = state.recall(gap);
    let group = |index: u32| start.wrapping_add(index * (4 + gap));
    let eight =
        |index: u32| (text.word(group(index)) & 0xffff_ffff | text.word(group(index + 1)) << 32) & VALUES;
    let digits = [eight(0), eight(2) & (!0 >> ((8 * (USUAL - count)) & 63))];
    let brand = state.recall(brand::lengths(prefix(digits[0])));
    let possible = brand >> (count & 31) & 1;
    if possible == 0 {
        return LEFT;
    }
    let known = passes_luhn(digits, count) || brand >> ((count + UNCHECKED) & 31) & 1 != 0;
    if !may_be(text, start, count, !known) {
        return LEFT;
    }
    let first = if count >= LONG { KEEP_FIRST } else { 0 };
    for index in first..rolled(USUAL - KEEP_LAST) {
        if index + KEEP_LAST < count {
            text.hide(start.wrapping_add(index + gap * (index / 4)));
        }
    }
    state.find();
    MASKED
}

/// The first six of eight digits as one number.
#[inline(always)]
const fn prefix(digits: u64) -> u32 {
    let mut prefix = 0;
    let mut index = 0;
    while index < 6 {
        prefix = prefix * 10 + (digits >> (8 * index)) as u32 % 16;
        index += 1;
    }
    prefix
}

/// Whether the first `count` digits, behind which are zeros, pass the Luhn test (ISO/IEC 7812-1, annex B).
#[inline(always)]
const fn passes_luhn(digits: [u64; 2], count: u32) -> bool {
    // The last digit is not doubled.
    let doubled = if count & 1 == 0 { EVEN } else { EVEN << 8 };
    let [first, last] = digits;
    let (first, last) = (first & doubled, last & doubled);
    // Nine less of a digit of five and more is one more, modulo 10.
    let large = ((first + 0x7b * LOW) >> 7 & LOW) + ((last + 0x7b * LOW) >> 7 & LOW);
    // At most 16 digits, half of them twice, and eight more: less than a byte holds.
    let sums = digits[0] + digits[1] + first + last + large;
    (sums.wrapping_mul(LOW) >> 56).is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_tested_as_digits_are() {
        let mut number = 0x9e37_79b9_7f4a_7c15_u64;
        for turn in 0..20_000_u32 {
            number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let count = 12 + turn % 5;
            let digits: std::vec::Vec<u8> =
                (0..16).map(|at| if at < count { (number >> (4 * at) & 15) as u8 % 10 } else { 0 }).collect();
            let sum: u32 = (0..count)
                .map(|at| (u32::from(digits[at as usize]), (count - at).is_multiple_of(2)))
                .map(|(digit, doubled)| match (doubled, digit) {
                    (true, 5..) => 2 * digit - 9,
                    (true, _) => 2 * digit,
                    _ => digit,
                })
                .sum();
            let (words, _) = digits.as_chunks::<8>();
            let words = [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])];
            assert_eq!(passes_luhn(words, count), sum.is_multiple_of(10), "{digits:?}");
            let first = digits[..6].iter().fold(0, |first, digit| 10 * first + u32::from(*digit));
            assert_eq!(prefix(words[0]), first);
        }
        // The most that the sums can be: 144.
        assert!(!passes_luhn([9 * LOW; 2], 16));
    }
}
