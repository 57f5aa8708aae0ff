//! Card numbers, masked in place.
//!
//! One source for the kernel and the daemon: no allocation, no call that could panic, every step bounded. The text is
//! read once from its first byte to its last; what is remembered is one [`State`] of fixed size, so that the time is
//! linear in the text's length whatever it holds.
//!
//! - A *group* is a run of ASCII digits. A *chain* is groups that single separators join: space, dash, dot, plus sign, or
//!   one of these percent-encoded.
//! - Where a group or a chain ends, the digits before are judged by brand, length and the Luhn test ([`brand`],
//!   [`State::check`]). A run of more than 19 digits is judged from each of its digits.
//! - Of a card of 16 digits and more the first six and the last four digits stay, of a shorter one the last four. All
//!   else becomes `*`, and no byte is added or taken away.
//!
//! [`in_place`] is the whole of it for a text in memory. The kernel calls the same parts, each in a function that its
//! verifier can look at alone.

pub mod brand;
pub mod card;
pub mod chain;

pub use card::{MASK, STRICT};
pub use chain::{CHAIN, GROUP, RUN, State};

/// The most bytes at the end of a chunk that are left for the next one.
pub const HELD_BACK: u32 = 64;
/// How far a chain that is longer than that is searched for a place to cut it.
const SEARCHED: u32 = 24;

/// The bytes at hand.
pub trait Text {
    /// The byte at an offset.
    fn byte(&self, at: u32) -> u8;
    /// Puts [`MASK`] there.
    fn hide(&mut self, at: u32);
}

impl Text for [u8] {
    fn byte(&self, at: u32) -> u8 {
        self.get(at as usize).copied().unwrap_or_default()
    }

    fn hide(&mut self, at: u32) {
        if let Some(byte) = self.get_mut(at as usize) {
            *byte = MASK;
        }
    }
}

/// Masks the cards of a chunk; how many of its bytes are done.
///
/// With `more`, another chunk of the same text follows: it starts at the first byte that is not done, read anew, with
/// the same state. At most [`HELD_BACK`] bytes are left to it. Without, all is done.
pub fn in_place(text: &mut [u8], state: &mut State, more: bool) -> usize {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let (words, _) = text.as_chunks::<8>();
    let words = u32::try_from(words.len()).unwrap_or(u32::MAX / 8);
    for word in 0..words {
        let at = 8 * word as usize;
        let bytes: [u8; 8] = text.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
        if no_digits(u64::from_le_bytes(bytes)) != NO_DIGITS || !state.is_idle() {
            (0..8).for_each(|byte| step(text, state, 8 * word + byte));
        }
    }
    (8 * words..length).for_each(|at| step(text, state, at));
    settle(text, state, length, more) as usize
}

/// The answer of [`no_digits`] when none of the eight bytes is one.
pub const NO_DIGITS: u64 = 0x8080_8080_8080_8080;

/// The high bit of each of eight bytes that is no ASCII digit.
#[inline(always)]
#[must_use]
pub const fn no_digits(word: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let value = word ^ 0x3030_3030_3030_3030;
    ((value & LOW).wrapping_add(0x7676_7676_7676_7676) | value) & NO_DIGITS
}

fn step(text: &mut [u8], state: &mut State, at: u32) {
    let byte = text.byte(at);
    let ended = state.ends(byte);
    judge(text, state, ended);
    if state.take(byte, at, ended, || text.byte(at.wrapping_sub(1))) {
        judge(text, state, RUN);
    }
}

/// Judges what has ended.
fn judge(text: &mut [u8], state: &mut State, ended: u32) {
    if ended == 0 || state.digits() < chain::SHORTEST {
        return;
    }
    each_candidate(state, ended, |state, start, lengths| {
        each_card(state.cards(start, lengths), |length, by_keyword| {
            state.cover(text, start, length, by_keyword);
        });
    });
}

/// Calls `cover` for each length that [`State::cards`] found, and whether it is a card by a keyword only.
#[inline(always)]
pub fn each_card(cards: u32, mut cover: impl FnMut(u32, bool)) {
    if cards == 0 {
        return;
    }
    for length in chain::SHORTEST..=chain::LONGEST {
        if cards >> length & 1 != 0 {
            cover(length, false);
        } else if cards >> (length + brand::UNCHECKED) & 1 != 0 {
            cover(length, true);
        }
    }
}

/// Calls `check` with the first digit and the lengths of each place where digits may be a card, now that something has
/// ended.
#[inline(always)]
pub fn each_candidate(state: &mut State, ended: u32, mut check: impl FnMut(&mut State, u32, u32)) {
    let digits = state.digits();
    if ended == RUN {
        check(state, digits.wrapping_sub(chain::LONGEST + 1), brand::LENGTHS | STRICT);
        return;
    }
    if state.group() > chain::LONGEST {
        if ended & GROUP != 0 {
            // The digits that were not far enough from the end of the run until now.
            for length in chain::SHORTEST..=chain::LONGEST {
                if digits >= length {
                    let shorter = (2 << length) - 1;
                    check(state, digits - length, brand::LENGTHS & shorter | STRICT);
                }
            }
        }
        return;
    }
    let (lenient, strict) = state.candidates(ended);
    for length in chain::SHORTEST..=chain::LONGEST {
        let bit = 1 << length;
        if (lenient | strict) & bit != 0 {
            let strict = if lenient & bit == 0 { STRICT } else { 0 };
            check(state, digits.wrapping_sub(length), bit | strict);
        }
    }
}

/// Ends a chunk: how many of its bytes are done.
fn settle(text: &mut [u8], state: &mut State, length: u32, more: bool) -> u32 {
    if !more {
        judge(text, state, state.ends_at_last());
    }
    cut(text, state, length, more)
}

/// The end of a chunk whose last chain was judged: masks again what the chunk before had masked, and says where the
/// next one starts.
#[inline(always)]
pub fn cut(text: &mut (impl Text + ?Sized), state: &mut State, length: u32, more: bool) -> u32 {
    let again = state.again;
    if again != 0 {
        for at in 0..HELD_BACK {
            if again >> at & 1 != 0 && at < length {
                text.hide(at);
            }
        }
    }
    let pending =
        if more && length != 0 { state.pending(length, text.byte(length - 1)) } else { 0 };
    state.forget();
    if pending <= HELD_BACK {
        return length - pending;
    }
    // Before the first group that starts within the last bytes, or anywhere in a run of digits.
    let mut start = length - HELD_BACK;
    let mut run = chain::LONGEST + 1;
    for ahead in 0..SEARCHED {
        let byte = text.byte(length - HELD_BACK + ahead);
        if byte == b'%' || chain::separator(byte) != 0 {
            start = length - HELD_BACK + ahead;
            run = 0;
            break;
        }
    }
    state.run = run;
    let mut masked = 0;
    for at in 0..HELD_BACK {
        if start + at < length && text.byte(start + at) == MASK {
            masked |= 1 << at;
        }
    }
    state.again = masked;
    start
}

#[cfg(test)]
mod tests;
