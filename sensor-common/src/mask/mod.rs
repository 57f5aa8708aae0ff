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
    /// Whether one of the eight bytes from `at`, a multiple of eight, is a digit.
    fn has_digit(&self, at: u32) -> bool;
    /// Whether one of the [`BLOCK`] bytes from `at`, a multiple of eight, is a digit.
    fn has_digits(&self, at: u32) -> bool;
}

/// Bytes that are looked at together: without a digit in them, that is all.
pub const BLOCK: u32 = 64;
/// Bytes that are read together.
pub const WORD: u32 = 8;
/// The most bytes that one [`step`] takes in, beside those that it passes.
pub const STEP: u32 = 2;
/// Blocks without a digit that one [`step`] passes.
const BLOCKS: u32 = 64;

impl Text for [u8] {
    fn byte(&self, at: u32) -> u8 {
        self.get(at as usize).copied().unwrap_or_default()
    }

    fn hide(&mut self, at: u32) {
        if let Some(byte) = self.get_mut(at as usize) {
            *byte = MASK;
        }
    }

    fn has_digit(&self, at: u32) -> bool {
        self.iter().skip(at as usize).take(WORD as usize).any(u8::is_ascii_digit)
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
        let ended = step(text, state, length);
        judge(text, state, ended);
    }
    if !more {
        judge(text, state, state.ends_at_last());
    }
    cut(text, state, length, more) as usize
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

/// Reads on, past what holds no digit and then a few bytes; earlier where something ended that has to be judged.
/// That is the result: what ended, or 0.
#[inline(always)]
pub fn step(text: &(impl Text + ?Sized), state: &mut State, length: u32) -> u32 {
    let mut at = state.at();
    if state.is_idle() && at.is_multiple_of(WORD) {
        for _ in 0..rolled(BLOCKS) {
            if at >= length || text.has_digits(at) {
                break;
            }
            at = at.wrapping_add(BLOCK);
        }
        for _ in 0..rolled(BLOCK / WORD) {
            if at >= length || text.has_digit(at) {
                break;
            }
            at = at.wrapping_add(WORD);
        }
    }
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
fn judge(text: &mut [u8], state: &mut State, ended: u32) {
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
