//! Card numbers, masked in place.
//!
//! One source for the kernel and the daemon: no allocation, no call that could panic, every step bounded. The text is
//! read once from its first byte to its last; what is remembered is one [`State`] of fixed size, so that the time is
//! linear in the text's length whatever it holds.
//!
//! - A *group* is a run of ASCII digits. A *chain* is groups that single separators join: space, dash, dot, plus sign, or
//!   one of these percent-encoded.
//! - Where a group or a chain ends, the digits before are judged by brand, length and the Luhn test ([`brand`],
//!   [`State::cards`]). A run of more than 19 digits is judged from each of its digits.
//! - Of a card of 16 digits and more the first six and the last four digits stay, of a shorter one the last four. All
//!   else becomes `*`, and no byte is added or taken away.
//!
//! [`in_place`] is the whole of it for a text in memory. The kernel calls the same parts, each in a function that its
//! verifier can look at alone.

#![expect(
    clippy::cast_possible_truncation,
    reason = "members are taken out of words by shift and mask; a checked conversion would be a panic path"
)]

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
    /// The [`WORD`] bytes from `at`, a multiple of it, the first in the lowest byte; zeros behind the end.
    fn word(&self, at: u32) -> u64;
    /// Whether one of the [`BLOCK`] bytes from `at`, a multiple of [`WORD`], is a digit.
    fn has_digits(&self, at: u32) -> bool;
}

/// Bytes that are looked at together: without a digit in them, that is all.
pub const BLOCK: u32 = 64;
/// Bytes that are read together.
pub const WORD: u32 = 8;
/// A word within a chain has so many digits at least, those of escapes among them.
const SPARSE: u32 = 4;
/// The most bytes that one [`step`] takes in.
pub const STEP: u32 = 2;
/// Blocks that one [`pass`] passes.
const BLOCKS: u32 = 16;
/// Words that it passes then.
const WORDS: u32 = BLOCK / WORD;

impl Text for [u8] {
    fn byte(&self, at: u32) -> u8 {
        self.get(at as usize).copied().unwrap_or_default()
    }

    fn hide(&mut self, at: u32) {
        if let Some(byte) = self.get_mut(at as usize) {
            *byte = MASK;
        }
    }

    fn word(&self, at: u32) -> u64 {
        let rest = self.get(at as usize..).unwrap_or_default();
        match rest.first_chunk() {
            Some(word) => u64::from_le_bytes(*word),
            None => rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
        }
    }

    fn has_digits(&self, at: u32) -> bool {
        match self.get(at as usize..).and_then(<[u8]>::first_chunk::<{ BLOCK as usize }>) {
            Some(block) => block.iter().fold(false, |found, byte| found | byte.is_ascii_digit()),
            None => true,
        }
    }
}

/// Masks the cards of a chunk; how many of its bytes are done.
///
/// With `more`, another chunk of the same text follows: it starts at the first byte that is not done, read anew, with
/// the same state. At most [`HELD_BACK`] bytes are left to it. Without, all is done.
pub fn in_place(text: &mut [u8], state: &mut State, more: bool) -> usize {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    while state.at() < length {
        if state.can_pass() && pass(text, state, length, more) {
            continue;
        }
        let ended = step(text, state, length);
        judge(text, state, ended);
    }
    if !more {
        judge(text, state, state.ends_at_last());
    }
    cut(text, state, length, more) as usize
}

/// The high bit of each of eight bytes that is an ASCII digit.
#[inline(always)]
#[must_use]
pub const fn digits(word: u64) -> u64 {
    within(word, b'0', b'9')
}

/// The high bit of each of eight bytes that ends a chain for sure: all but space to `9`, and the letters around those of
/// escapes.
#[inline(always)]
const fn breaks(word: u64) -> u64 {
    const LOWER_CASE: u64 = 0x2020_2020_2020_2020;
    !(within(word, b' ', b'9') | within(word | LOWER_CASE, b'b', b'e')) & HIGH
}

const HIGH: u64 = 0x8080_8080_8080_8080;
const LOW: u64 = 0x0101_0101_0101_0101;

/// The high bit of each of eight bytes that is one of `first` to `last`, which are below 0x80.
#[inline(always)]
const fn within(word: u64, first: u8, last: u8) -> u64 {
    let low = word & !HIGH;
    let from = low.wrapping_add((0x80 - first as u64) * LOW);
    let to = low.wrapping_add((0x7f - last as u64) * LOW);
    from & !to & !word & HIGH
}

/// How many high bits of bytes there are.
#[inline(always)]
const fn count(bits: u64) -> u32 {
    (bits >> 7).wrapping_mul(LOW).wrapping_shr(56) as u32
}

/// Passes what can be no part of a card, where [`State::can_pass`] says so. With `more`, what may go on in the next chunk is
/// not passed. `true` says that no byte has to be taken in yet: the text has come to its end, or there may be more to pass.
///
/// A card has at least [`chain::SHORTEST`] digits with no byte among them that [`breaks`] a chain. Within it at least half
/// of the bytes of a word are digits, so no card lies on both sides of a word with fewer.
#[inline(always)]
pub fn pass(text: &(impl Text + ?Sized), state: &mut State, length: u32, more: bool) -> bool {
    let from = state.at();
    let mut at = from;
    // Digits that a card may have before `at`, and the word in which it may begin.
    let mut run = 0;
    let mut start = from;
    for _ in 0..rolled(BLOCKS) {
        if at.wrapping_add(BLOCK) > length || text.has_digits(at) {
            break;
        }
        at = at.wrapping_add(BLOCK);
        start = at.wrapping_sub(WORD);
    }
    let mut goes_on = true;
    for _ in 0..rolled(WORDS) {
        let end = at.wrapping_add(if more { WORD } else { 1 });
        if end > length {
            goes_on = false;
            break;
        }
        let word = text.word(at);
        let digits = digits(word);
        if digits == 0 {
            run = 0;
            start = at;
        } else {
            let breaks = breaks(word);
            let first = breaks & breaks.wrapping_neg();
            let before = count(digits & first.wrapping_sub(1));
            if run + before >= chain::SHORTEST {
                goes_on = false;
                break;
            }
            // All bytes up to the last that breaks.
            let mut until = breaks;
            until |= until >> 8;
            until |= until >> 16;
            until |= until >> 32;
            let after = count(digits & !until);
            if breaks != 0 || before < SPARSE {
                run = after;
                start = at;
            } else {
                run += after;
            }
        }
        at = at.wrapping_add(WORD);
        // VERIFIER: before 6.8: so that all turns look alike.
        (run, start) = (state.recall(run), state.recall_also(start));
    }
    if at >= length && !more {
        state.come_to(at);
        return true;
    }
    // An escape before the card may begin a word earlier.
    let start = start.wrapping_sub(WORD);
    if start.wrapping_sub(from) > length {
        return false;
    }
    state.come_to(start);
    goes_on && start != from
}

/// Reads on a few bytes; fewer where something ended that has to be judged. That is the result: what ended, or 0.
#[inline(always)]
pub fn step(text: &(impl Text + ?Sized), state: &mut State, length: u32) -> u32 {
    let mut at = state.at();
    let end = at | (STEP - 1);
    for _ in 0..rolled(STEP) {
        if at > end || at >= length {
            break;
        }
        let ended = state.ends(text.byte(at));
        let ended = state.recall(ended);
        if ended != 0 && state.is_worth(ended) {
            state.come_to(at);
            return ended;
        }
        // VERIFIER: all kernels: read anew, for the reason of `recall`.
        let byte = text.byte(at);
        let before = || if at == 0 { 0 } else { text.byte(at.wrapping_sub(1)) };
        let run = state.take(byte, at, ended, before);
        at = at.wrapping_add(1);
        if run {
            state.come_to(at);
            return RUN;
        }
    }
    state.come_to(at);
    0
}

/// Judges what has ended.
fn judge(text: &mut (impl Text + ?Sized), state: &mut State, ended: u32) {
    if ended == 0 || state.digits() < chain::SHORTEST {
        return;
    }
    state.candidates(ended);
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
    for length in chain::SHORTEST..rolled(chain::LONGEST + 1) {
        if cards >> (length & 31) & 1 != 0 {
            cover(length, false);
        } else if cards >> ((length + brand::UNCHECKED) & 31) & 1 != 0 {
            cover(length, true);
        }
    }
}

/// Calls `check` with the first digit and the lengths of each place where digits may be a card, now that something has
/// ended and [`State::candidates`] has found where.
#[inline(always)]
pub fn each_candidate(state: &mut State, ended: u32, mut check: impl FnMut(&mut State, u32, u32)) {
    for turn in 0..rolled(chain::TURNS) {
        let Some((start, lengths)) = state.candidate(turn, ended) else { break };
        if lengths != 0 {
            check(state, start, lengths);
        }
    }
}

/// The end of a loop that the compiler shall leave one.
// VERIFIER: all kernels: the stacks of a chain of calls may take 512 bytes together, and unrolled loops spill. What is
// in a read-only map is known.
#[inline(always)]
#[must_use]
pub fn rolled(end: u32) -> u32 {
    static NOTHING: u32 = 0;
    if cfg!(target_arch = "bpf") {
        // SAFETY: the static is initialised.
        end + unsafe { core::ptr::read_volatile(&raw const NOTHING) }
    } else {
        end
    }
}

/// The end of a chunk whose last chain was judged: masks again what the chunk before had masked, and says where the
/// next one starts.
#[inline(always)]
pub fn cut(text: &mut (impl Text + ?Sized), state: &mut State, length: u32, more: bool) -> u32 {
    let again = state.again;
    if again != 0 {
        for at in 0..rolled(HELD_BACK) {
            if again >> (at & 63) & 1 != 0 && at < length {
                text.hide(at);
            }
        }
    }
    let pending = if more && length != 0 { state.pending(length, text.byte(length - 1)) } else { 0 };
    state.forget();
    if pending <= HELD_BACK {
        return length - pending;
    }
    // Before the first group that starts within the last bytes, or anywhere in a run of digits.
    let mut start = length - HELD_BACK;
    let mut run = chain::LONGEST + 1;
    for ahead in 0..rolled(SEARCHED) {
        let byte = text.byte(length - HELD_BACK + ahead);
        if byte == b'%' || chain::separator(byte) != 0 {
            start = length - HELD_BACK + ahead;
            run = 0;
            break;
        }
    }
    state.run = run;
    for at in 0..rolled(HELD_BACK) {
        if start + at < length && text.byte(start + at) == MASK {
            state.mask_again(at);
        }
    }
    start
}

#[cfg(test)]
mod tests;
