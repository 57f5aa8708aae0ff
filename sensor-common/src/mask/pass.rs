//! Passing what can be no part of a card, many bytes at once.
//!
//! Every separator of a chain, those of escapes too, is one byte with a digit on either side. So a chain lies within a
//! *stretch*: digits, and single other bytes between two of them. A stretch with fewer than [`SHORTEST`] digits holds no
//! card, and is passed with all that is in none. One bit a byte says so for 64 bytes in a few operations.

use super::chain::SHORTEST;
use super::memory::rolled;
use super::text::{Text, WORD, no_digits, no_percent_signs, no_separators};
use super::{HELD_BACK, State};

/// Bytes that a turn moves on.
const STRIDE: u32 = 6 * WORD;
/// Bytes that it sees again, of those before: more than a card's shortest stretch.
const SEEN: u32 = 64 - STRIDE;
/// Turns of one [`pass`].
const TURNS: u32 = 12;
/// The most stretches of a card's length in 64 bytes, one byte between two.
const STRETCHES: u32 = 64 / SHORTEST;
/// Bytes at the end of a text that goes on which are not passed: a stretch with too few digits for a card, and an escape
/// behind it, may belong to a card of the next chunk.
const OPEN: u32 = 32;
/// The most bytes of an escape before a stretch, whose digits are none of a number.
const ESCAPE: u32 = 3;

const _: () = assert!(2 * SHORTEST + ESCAPE <= OPEN && OPEN <= HELD_BACK);
const _: () = assert!(SEEN > SHORTEST);

/// Passes what can be no part of a card, where [`State::can_pass`] says so. With `more`, what may go on in the next chunk is
/// not passed. `true` says that no byte has to be taken in yet: the text has come to its end, or there may be more to pass.
#[inline(always)]
pub fn pass(text: &(impl Text + ?Sized), state: &mut State, length: u32, more: bool) -> bool {
    let from = state.at();
    let until = until(length, more);
    state.come_upon(0, 0);
    if from >= until {
        return false;
    }
    let mut base = from & !(WORD - 1);
    // What is before `from` is done.
    let mut skip = from & (WORD - 1);
    // Digits of the `SEEN` bytes before `base`, and the bytes from there.
    let mut digits = 0_u64;
    for _ in 0..rolled(TURNS) {
        let rest = length.wrapping_sub(base);
        let ends = rest <= STRIDE;
        let mut new = text.bits::<{ STRIDE / WORD }>(base, no_digits) & (!0 >> SEEN);
        if ends {
            new &= (1 << (rest & 63)) - 1;
        }
        digits = digits >> STRIDE | (new >> skip << skip) << SEEN;
        skip = 0;
        let joints = !digits & digits << 1 & digits >> 1;
        if long(digits | joints) != 0 {
            match look(text, base, digits, joints, ends) {
                Look::Clear => {}
                Look::Anew(at) => {
                    base = state.recall(base.wrapping_sub(SEEN).wrapping_add(at)) & !(WORD - 1);
                    digits = 0;
                    continue;
                }
                Look::Found(at, stretch) => {
                    let start = base.wrapping_add(at).wrapping_sub(SEEN);
                    state.come_upon(start, stretch);
                    let at = start.wrapping_sub(ESCAPE);
                    // Before the text, or before what is done.
                    state.come_to(if at.wrapping_sub(from) > length { from } else { at });
                    return false;
                }
            }
        }
        if ends {
            state.come_to(until);
            return true;
        }
        // VERIFIER: before 6.8: so that all turns look alike.
        base = state.recall(base.wrapping_add(STRIDE));
    }
    // A stretch that ends behind here begins within what is seen again.
    let at = base.wrapping_sub(SEEN);
    state.come_to(if at > until { until } else { at });
    true
}

/// The end of what can be passed of a text of `length`.
#[inline(always)]
pub(super) const fn until(length: u32, more: bool) -> u32 {
    if more { length.saturating_sub(OPEN) } else { length }
}

/// Places from which a stretch goes on for so many bytes as a card has at least.
#[inline(always)]
const fn long(stretches: u64) -> u64 {
    let two = stretches & stretches >> 1;
    let four = two & two >> 2;
    let eight = four & four >> 4;
    eight & eight >> (SHORTEST - 8)
}

/// What 64 bytes hold; places are among them.
enum Look {
    /// No card that begins before the bytes that are seen again.
    Clear,
    /// A stretch whose end is not to be seen: from its beginning, it may be.
    Anew(u32),
    /// A stretch with so many digits as a card has; and its digits from there, one bit a byte, where its end is to be seen.
    Found(u32, u64),
}

/// [`Text::bits`] of the bytes that are seen again, and those from `base`. The two are read apart: a text in the kernel has other
/// bytes before its first, where nothing is seen again.
#[inline(always)]
fn around(text: &(impl Text + ?Sized), base: u32, outside: impl Fn(u64) -> u64 + Copy) -> u64 {
    let seen = text.bits::<{ SEEN / WORD }>(base.wrapping_sub(SEEN), outside) & ((1 << SEEN) - 1);
    text.bits::<{ STRIDE / WORD }>(base, outside) << SEEN | seen
}

/// Looks at the stretches closely: which bytes between digits are separators, and how many digits there are.
#[inline(always)]
fn look(text: &(impl Text + ?Sized), base: u32, digits: u64, joints: u64, ends: bool) -> Look {
    let separators = around(text, base, no_separators);
    // The last byte of an escape may be a letter.
    let letters = around(text, base, no_percent_signs) << 2;
    let stretches = digits | joints & (separators | letters);
    let mut places = long(stretches);
    for _ in 0..rolled(STRETCHES) {
        if places == 0 {
            break;
        }
        let first = places & places.wrapping_neg();
        let stretch = stretches & !stretches.wrapping_add(first);
        let at = (first - 1).count_ones();
        if stretch >> 62 != 0 && !ends {
            // It may go on behind the 64 bytes.
            return if at >= STRIDE {
                Look::Clear
            } else if at < SEEN + WORD {
                Look::Found(at, 0)
            } else {
                Look::Anew(at)
            };
        }
        if (digits & stretch).count_ones() >= SHORTEST {
            return Look::Found(at, (digits & stretch) >> (at & 63));
        }
        places &= !stretch;
    }
    Look::Clear
}
