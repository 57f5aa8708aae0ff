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

mod alone;
pub mod brand;
pub mod card;
pub mod chain;
mod memory;
mod name;
mod pass;
mod take;
mod text;

pub use alone::{MASKED, alone};
pub use card::{MASK, STRICT, may_be};
pub use chain::{CHAIN, GROUP, RUN, State};
pub use memory::rolled;
pub use name::{PATH_WORDS, name, path};
pub use pass::pass;
pub use text::{Text, WORD, gathered, no_digits};

/// The most bytes at the end of a chunk that are left for the next one.
pub const HELD_BACK: u32 = 64;
/// How far a chain that is longer than that is searched for a place to cut it.
const SEARCHED: u32 = 24;

/// The most bytes that one [`step`] takes in.
pub const STEP: u32 = 8;

/// The most calls of [`step`] that a text of `length` takes, in each of which something may have to be judged: whole steps,
/// those that end at a judgement, and the one behind each. What is judged has five bytes at least.
#[must_use]
pub const fn most_steps(length: u32) -> u32 {
    length / STEP + 2 * (length / 5) + 4
}

/// Masks the cards of a chunk; how many of its bytes are done.
///
/// With `more`, another chunk of the same text follows: it starts at the first byte that is not done, read anew, with
/// the same state. At most [`HELD_BACK`] bytes are left to it. Without, all is done.
pub fn in_place(text: &mut [u8], state: &mut State, more: bool) -> usize {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    all(text, length, state, more)
}

/// The same for the first `length` bytes of any text, as the kernel does it.
fn all(text: &mut (impl Text + ?Sized), length: u32, state: &mut State, more: bool) -> usize {
    let mut steps = 0;
    while state.at() < length {
        steps += 1;
        if state.can_pass()
            && (pass(text, state, length, more) || alone(text, state, length, more, may_be) != 0)
        {
            continue;
        }
        let ended = step(text, state, length);
        judge(text, state, ended);
    }
    debug_assert!(steps <= most_steps(length), "the kernel would stop before the end");
    if !more {
        judge(text, state, state.ends_at_last());
    }
    cut(text, state, length, more) as usize
}

/// Reads on a few bytes; fewer where something ended that has to be judged. That is the result: what ended, or 0.
#[inline(always)]
pub fn step(text: &(impl Text + ?Sized), state: &mut State, length: u32) -> u32 {
    let mut at = state.at();
    for _ in 0..rolled(STEP) {
        if at >= length {
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

/// Whether a text may hold a card. Where it does not, which is quickly said of most texts, [`in_place`] changes nothing.
#[must_use]
pub fn may_hold(text: &[u8]) -> bool {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let mut state = State::NEW;
    while state.at() < length {
        if !pass(text, &mut state, length, false) {
            return true;
        }
    }
    false
}

/// Judges what has ended.
fn judge(text: &mut (impl Text + ?Sized), state: &mut State, ended: u32) {
    if ended == 0 || state.digits() < chain::SHORTEST {
        return;
    }
    state.candidates(ended);
    each_candidate(state, ended, |state, start, lengths| {
        each_card(state.cards(start, lengths), |length, by_keyword| {
            state.cover(text, start, length, by_keyword, may_be);
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
        if byte == b'%' || take::separator(byte) != 0 {
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
