//! From bytes to chains: what each byte ends and what it adds.

use super::chain::{CHAIN, GLUED, GROUP, LONGEST, REMEMBERED, RUN_STEP, State};
use super::memory::fresh;

/// The last byte was no separator.
pub(super) const NONE: u32 = 0;
/// A separator joins what came before to the next digit.
const JOINED: u32 = 1;
/// `%` came after a digit.
const PERCENT: u32 = 2;
/// `%2` came after a digit.
const ESCAPE: u32 = 3;
/// One digit of an escape that joins nothing; the next one is its second.
const SWALLOW: u32 = 4;
/// The same if the next digit is a zero: `%40` and `%60` are escapes, `%41` is written by nobody.
const SWALLOW_ZERO: u32 = 5;

/// The separators, as [`State`] and the shape of a chain name them.
const SPACE: u32 = 1;
pub(super) const DASH: u32 = 2;
pub(super) const DOT: u32 = 3;
const PLUS: u32 = 4;
const ESCAPED: u32 = 5;

impl State {
    /// What `byte` ends: [`GROUP`], [`CHAIN`] (with [`GLUED`]), both or neither.
    #[inline(always)]
    #[must_use]
    pub fn ends(&self, byte: u8) -> u32 {
        if fresh(&self.digits) == 0 {
            return 0;
        }
        let digit = is_digit(byte);
        match fresh(&self.link) {
            NONE if digit => 0,
            NONE if separator(byte) != 0 || byte == b'%' => GROUP,
            NONE if (byte | 0x20).wrapping_sub(b'a') < 6 => GROUP | CHAIN | GLUED,
            NONE => GROUP | CHAIN,
            JOINED if digit => 0,
            PERCENT if byte == b'2' => 0,
            // An escaped space, dash, dot or plus sign.
            ESCAPE if matches!(byte | 0x20, b'0' | b'b' | b'd' | b'e') => 0,
            _ => CHAIN,
        }
    }

    /// What the end of the text ends.
    #[inline(always)]
    #[must_use]
    pub fn ends_at_last(&self) -> u32 {
        if self.link == NONE { GROUP | CHAIN } else { CHAIN }
    }

    /// Takes a byte in, after what it `ended` was looked at. `before` tells the byte before it. `true` says that
    /// a run of more than [`LONGEST`] digits has to be judged.
    #[inline(always)]
    pub fn take(&mut self, byte: u8, at: u32, ended: u32, before: impl FnOnce() -> u8) -> bool {
        if ended & CHAIN != 0 {
            self.digits = 0;
            let link = fresh(&self.link);
            self.link = NONE;
            if link == ESCAPE {
                // Both digits of an escape that joins nothing.
                return false;
            }
        }
        if !is_digit(byte) {
            self.take_other(byte);
            return false;
        }
        match fresh(&self.link) {
            PERCENT => self.link = ESCAPE,
            ESCAPE => self.escaped(),
            SWALLOW => self.link = NONE,
            SWALLOW_ZERO => {
                self.link = NONE;
                if byte == b'0' {
                    return false;
                }
                let first = self.separator;
                self.push(first, at.wrapping_sub(1));
                return self.push(byte.wrapping_sub(b'0').into(), at);
            }
            _ => {
                if fresh(&self.digits) == 0 && before() == b'%' {
                    match byte {
                        b'0' | b'2' | b'8' | b'9' => {
                            self.link = SWALLOW;
                            return false;
                        }
                        b'4' | b'6' => {
                            self.link = SWALLOW_ZERO;
                            self.separator = byte.wrapping_sub(b'0').into();
                            return false;
                        }
                        _ => {}
                    }
                }
                return self.push(byte.wrapping_sub(b'0').into(), at);
            }
        }
        false
    }

    #[inline(always)]
    fn take_other(&mut self, byte: u8) {
        if fresh(&self.digits) == 0 {
            self.link = NONE;
        } else if fresh(&self.link) == ESCAPE {
            self.escaped();
        } else if byte == b'%' {
            self.link = PERCENT;
        } else {
            self.link = JOINED;
            self.separator = separator(byte);
        }
    }

    #[inline(always)]
    fn escaped(&mut self) {
        self.link = JOINED;
        self.separator = ESCAPED;
    }

    #[inline(always)]
    fn push(&mut self, digit: u32, at: u32) -> bool {
        let index = fresh(&self.digits);
        let mut starts = 0;
        if index == 0 {
            self.start = at;
            self.even = 0;
            self.odd = 0;
            self.shape = 0;
            self.separators = 0;
            self.found = 0;
            self.group = self.run;
            self.run = 0;
            self.done = 0;
            starts = 1;
        } else if fresh(&self.link) == JOINED {
            self.shape = self.shape() << 8 | (self.separator as u64) << 5;
            self.separators |= 1 << (self.separator & 31);
            self.group = 0;
            self.done = index;
            self.link = NONE;
            starts = 1;
        }
        let place = digit | self.even << 4 | self.odd << 8 | starts << 12;
        self.places[(index & (REMEMBERED - 1)) as usize] = place as u64 | (at as u64) << 32;
        let doubled = if digit > 4 { 2 * digit - 9 } else { 2 * digit };
        let (even, odd) = if index & 1 == 0 { (digit, doubled) } else { (doubled, digit) };
        self.even = modulo_10(self.even + even);
        self.odd = modulo_10(self.odd + odd);
        self.digits = index.wrapping_add(1);
        self.group = self.group.wrapping_add(1);
        self.group > LONGEST && self.digits > LONGEST && self.digits.is_multiple_of(RUN_STEP)
    }
}

#[inline(always)]
fn modulo_10(sum: u32) -> u32 {
    if sum > 9 { sum - 10 } else { sum }
}

/// Whether the byte is an ASCII digit.
#[inline(always)]
#[must_use]
pub(super) const fn is_digit(byte: u8) -> bool {
    byte.wrapping_sub(b'0') < 10
}

/// The separator that `byte` is, or 0.
#[inline(always)]
pub(super) const fn separator(byte: u8) -> u32 {
    match byte {
        b' ' => SPACE,
        b'-' => DASH,
        b'.' => DOT,
        b'+' => PLUS,
        _ => 0,
    }
}
