//! Which digits of a chain are a card, and masking them.

use super::brand::{self, LENGTHS, UNCHECKED};
use super::chain::{CHAIN, GLUED, GROUP, LONGEST, SHORTEST, State};
use super::memory::{by_memory, rolled};
use super::take::{DASH, DOT};
use super::text::Text;

/// In the lengths that [`State::cards`] is given: the number must pass the Luhn test, whatever its brand.
pub const STRICT: u32 = 1 << 31;

/// What becomes of a digit.
pub const MASK: u8 = b'*';
/// The last digits that stay.
pub(super) const KEEP_LAST: u32 = 4;
/// The first digits that stay of a number of [`LONG`] digits and more; of a shorter one, none does.
pub(super) const KEEP_FIRST: u32 = 6;
pub(super) const LONG: u32 = 16;
/// Bytes before a number in which a word says that it is a card.
const NEAR: u32 = 24;
/// Hexadecimal digits before a run that make it a part of one number with them.
const HEXADECIMAL: u32 = 6;
/// The same where a dash is between: a trace id has 32.
const TRACE_ID: u32 = 16;
/// Digits of the cards that are looked for within a run of a few more.
pub(super) const USUAL: u32 = 16;
/// The longest telephone number that is written with a plus sign and could be taken for a card.
const PHONE: u32 = 13;

impl State {
    /// Finds the lengths at which the digits that end here may be a card, given what ended.
    ///
    /// A card is a run of its own; or groups as they are printed (4-4-4-4 and longer, 4-6-5, 4-6-4, 4-5-6, 6-13) with
    /// one kind of separator, among whatever other numbers; or a whole chain with any grouping that passes the Luhn
    /// test. Runs of more than [`LONGEST`] digits are none of these: they are looked at from each digit. A run of a few
    /// digits more than a card usually has may hold one that passes the Luhn test, at its beginning or its end: behind its
    /// length, before its security code.
    #[inline(always)]
    pub fn candidates(&mut self, ended: u32) {
        let shape = self.shape();
        let (mut lenient, mut strict) = (0, 0);
        self.inner = 0;
        let last = self.group();
        if ended & GROUP != 0 {
            let length = |group: u32| (shape >> (8 * group)) as u32 & 31;
            let separator = |group: u32| (shape >> (8 * group + 5)) as u32 & 7;
            if separator(0) == separator(1) && length(2) == 4 {
                if length(1) == 4 && length(3) == 4 && separator(1) == separator(2) {
                    if last <= 4 {
                        lenient |= 1 << (12 + last);
                    }
                    if length(4) == 4 && separator(2) == separator(3) && last <= 3 {
                        lenient |= 1 << (16 + last);
                    }
                }
                let amex_or_diners = length(1) == 6 && (last == 5 || last == 4);
                if amex_or_diners || length(1) == 5 && last == 6 {
                    lenient |= 1 << ((4 + length(1) + last) & 31);
                }
            }
            if length(1) == 6 && last == 13 {
                lenient |= 1 << LONGEST;
            }
            let start = self.digits().wrapping_sub(last);
            if last > USUAL && last <= LONGEST && !self.is_time(start, last) {
                strict |= 1 << USUAL;
                self.inner = 1;
            }
            if (SHORTEST..=LONGEST).contains(&last) {
                // What follows "0." is a fraction.
                let zero = shape >> 16 == 0 && length(1) == 1 && self.place(0).digit() == 0;
                if separator(0) != DOT {
                    lenient |= 1 << last;
                } else if !zero {
                    strict |= 1 << last;
                }
            }
        }
        let digits = self.digits();
        // With one dot it is a decimal number; with dots among others an address, a version or a time.
        let dots = self.separators & 1 << DOT != 0;
        let number = dots && (self.separators != 1 << DOT || shape >> 16 == 0);
        // A UUID has groups with dashes; fours are a card's.
        let fours = shape & 0x1f_1f1f == 0x04_0404;
        let uuid = ended & GLUED != 0 && (shape >> 5 & 7) as u32 == DASH && !fours;
        if ended & CHAIN != 0 && !uuid && (SHORTEST..=LONGEST).contains(&digits) && shape >> 8 != 0 && !number
        {
            strict |= 1 << digits;
        }
        self.lenient = lenient & LENGTHS;
        self.strict = strict & LENGTHS;
    }

    /// Whether a run that begins with digit number `start` is a time in nanoseconds or begins with a date of this century.
    #[inline(always)]
    fn is_time(&self, start: u32, length: u32) -> bool {
        let two = |at: u32| {
            let at = start.wrapping_add(at);
            10 * self.place(at).digit() + self.place(at.wrapping_add(1)).digit()
        };
        let month = two(4);
        length == LONGEST && self.place(start).digit() == 1 || two(0) == 20 && (1..=12).contains(&month)
    }

    /// Which of `lengths` (one bit each, and [`STRICT`]) the digits from number `start` of the chain are a card at: one
    /// bit a length, [`UNCHECKED`] places higher where only a word beside the number makes it a card.
    #[inline(always)]
    #[must_use]
    pub fn cards(&mut self, start: u32, lengths: u32) -> u32 {
        let mut prefix = 0;
        for index in 0..rolled(6) {
            prefix = prefix * 10 + self.place(start.wrapping_add(index)).digit();
        }
        let brand = self.recall(brand::lengths(prefix));
        let possible = brand & lengths & LENGTHS;
        if possible == 0 {
            return 0;
        }
        let mut cards = 0;
        for length in SHORTEST..rolled(LONGEST + 1) {
            if possible >> (length & 31) & 1 != 0 && self.passes_luhn(start, start.wrapping_add(length)) {
                cards = by_memory(&mut self.room[1], cards | 1 << (length & 31));
            }
        }
        // The same for the way without any.
        cards = by_memory(&mut self.room[1], cards);
        if lengths & STRICT == 0 {
            let unchecked = brand >> UNCHECKED & possible;
            cards |= unchecked | (possible & !(cards | unchecked)) << UNCHECKED;
        }
        cards
    }

    /// Masks the `length` digits from number `start` of the chain, unless what stands before them says that they are
    /// no card; if `by_keyword`, only if it says that they are one. Whether they are masked. `may_be` is [`may_be`], or a
    /// call of it.
    #[inline(always)]
    pub fn cover<T: Text + ?Sized>(
        &mut self,
        text: &mut T,
        start: u32,
        length: u32,
        by_keyword: bool,
        may_be: impl FnOnce(&T, u32, u32, bool) -> bool,
    ) -> bool {
        let at = self.place(start).at();
        if !may_be(text, at, length, by_keyword) {
            return false;
        }
        let first = if length >= LONG { KEEP_FIRST } else { 0 };
        for index in 0..rolled(LONGEST - KEEP_LAST) {
            if index >= first && index + KEEP_LAST < length {
                text.hide(self.place(start.wrapping_add(index)).at());
            }
        }
        self.find();
        true
    }
}

/// Whether what stands before the number at `at`, of `length` digits, lets it be a card; if `by_keyword`, whether it says that it is one.
#[inline(always)]
#[must_use]
pub fn may_be(text: &(impl Text + ?Sized), at: u32, length: u32, by_keyword: bool) -> bool {
    (!by_keyword || is_near_keyword(text, at)) && !is_part_of_another(text, at, length)
}

/// Whether the number at `at` belongs to a hexadecimal one, a trace context or a telephone number.
#[inline(always)]
fn is_part_of_another(text: &(impl Text + ?Sized), at: u32, length: u32) -> bool {
    if at == 0 {
        return false;
    }
    let before = text.byte(at - 1);
    if before == b'+' {
        return length <= PHONE;
    }
    let (end, wanted) = if before == b'-' { (at - 1, TRACE_ID) } else { (at, HEXADECIMAL) };
    if end < wanted {
        return false;
    }
    let mut kinds = 0;
    for back in 1..rolled(TRACE_ID + 1) {
        if back > wanted {
            break;
        }
        let byte = text.byte(end - back);
        if byte.wrapping_sub(b'0') < 10 {
            kinds |= 1;
        } else if (byte | 0x20).wrapping_sub(b'a') < 6 {
            kinds |= 2;
        } else {
            return false;
        }
    }
    // Both letters and digits.
    kinds == 3
}

/// Whether one of `card`, `pan` and `카드` stands a few bytes before `at`. Beside them a number need not pass the Luhn
/// test.
#[inline(always)]
fn is_near_keyword(text: &(impl Text + ?Sized), at: u32) -> bool {
    const CARD: u32 = u32::from_be_bytes(*b"card");
    const PAN: u32 = u32::from_be_bytes(*b"\0pan") << 8;
    // `카드` in UTF-8 after what makes ASCII letters small.
    const HANGUL: u64 = u64::from_be_bytes([0, 0, 0xec, 0xb9, 0xb4, 0xeb, 0x93 | 0x20, 0x9c | 0x20]);
    let mut word = 0_u64;
    let mut back = if at < NEAR { at } else { NEAR };
    for _ in 0..rolled(NEAR + 1) {
        let byte = text.byte(at - back) | 0x20;
        word = word << 8 | byte as u64;
        let pan = word as u32 & 0xffff_ff00 == PAN
            && !is_small_letter((word >> 32) as u8)
            && !is_small_letter(byte);
        if word as u32 == CARD || word & 0xffff_ffff_ffff == HANGUL || pan {
            return true;
        }
        if back == 0 {
            break;
        }
        back -= 1;
    }
    false
}

#[inline(always)]
const fn is_small_letter(byte: u8) -> bool {
    byte.wrapping_sub(b'a') < 26
}
