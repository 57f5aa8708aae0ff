//! Digits that belong together: what the scan remembers while it goes from byte to byte.

use super::brand::LENGTHS;
use super::card::{STRICT, USUAL};
use super::memory::{by_memory, fresh};
use super::take::NONE;

/// A card has at most this many digits; an unbroken run of more is looked at from each of its digits.
pub const LONGEST: u32 = 19;
/// A card has at least this many digits.
pub const SHORTEST: u32 = 12;
/// Digits that are remembered: a power of two, more than [`LONGEST`].
pub(super) const REMEMBERED: u32 = 32;

/// A run of digits ended.
pub const GROUP: u32 = 1;
/// Digits that single separators join ended.
pub const CHAIN: u32 = 2;

/// A run of more than [`LONGEST`] digits has come [`RUN_STEP`] further.
pub const RUN: u32 = 4;
/// How often a run is judged: what is remembered is enough for the digits since and a whole card.
pub(super) const RUN_STEP: u32 = 8;

/// What ended the chain is a letter that is a hexadecimal digit.
pub const GLUED: u32 = 8;

/// The most places to look at when something ended: all from which nothing was judged of a run, or one a length.
pub const TURNS: u32 = RUN_STEP + LONGEST - SHORTEST + 3;

/// The scan's memory. All zeros is the beginning of a text.
///
/// It is a plain structure because it rests in a map of the kernel. One that says that another digit is needed says
/// so by position: positions are offsets into the text at hand.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct State {
    /// The last digits of the chain, by their number in it: see [`Place`].
    pub(super) places: [u64; REMEMBERED as usize],
    /// Eight bits a group, the newest lowest: its length (at most 31), and above that the separator before it.
    pub(super) shape: u64,
    /// Bytes at the start of the next chunk that are masked already, one bit a byte.
    pub(super) again: u64,
    /// Digits in the chain.
    pub(super) digits: u32,
    /// Digits in the group.
    pub(super) group: u32,
    /// Luhn sums of all digits of the chain modulo 10: the digits with an odd number doubled, …
    pub(super) even: u32,
    /// … and those with an even number.
    pub(super) odd: u32,
    /// The separators within the chain, one bit each.
    pub(super) separators: u32,
    /// Where the chain starts.
    pub(super) start: u32,
    /// What the last bytes were.
    pub(super) link: u32,
    /// The separator before the next group; while an escape is swallowed, its first digit.
    pub(super) separator: u32,
    /// 1 when a part of the chain is masked.
    pub(super) found: u32,
    /// Digits that came before the first of this chunk without a break.
    pub(super) run: u32,
    /// Numbers masked since the beginning.
    pub masked: u32,
    /// Where the scan has come.
    at: u32,
    /// 1 when what the next byte ends was judged.
    judged: u32,
    /// The first digit of the run of which nothing was judged yet.
    pub(super) done: u32,
    /// Lengths at which the chain's last digits may be a card, …
    pub(super) lenient: u32,
    /// … and at which they may if they pass the Luhn test.
    pub(super) strict: u32,
    /// 1 when the chain's last run may begin with a card of [`USUAL`] digits.
    pub(super) inner: u32,
    /// Where the stretch starts that was found.
    stretch: u32,
    /// The digits of it, from its first, one bit a byte; 0 when its end was not seen.
    stretch_digits: u64,
    /// Room for [`by_memory`].
    pub(super) room: [u32; 2],
}

/// One digit: its value (4 bits), both Luhn sums before it (4 bits each), whether it starts a group (1 bit), and
/// its position (32 bits from bit 32).
#[derive(Clone, Copy)]
pub(super) struct Place(u64);

impl Place {
    #[inline(always)]
    pub(super) fn digit(self) -> u32 {
        self.0 as u32 & 15
    }

    #[inline(always)]
    pub(super) fn at(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline(always)]
    fn sum(self, odd: bool) -> u32 {
        self.0 as u32 >> if odd { 8 } else { 4 } & 15
    }
}

impl State {
    /// The beginning of a text.
    pub const NEW: Self = Self {
        places: [0; REMEMBERED as usize],
        shape: 0,
        again: 0,
        digits: 0,
        group: 0,
        even: 0,
        odd: 0,
        separators: 0,
        start: 0,
        link: NONE,
        separator: 0,
        found: 0,
        run: 0,
        masked: 0,
        at: 0,
        judged: 0,
        done: 0,
        lenient: 0,
        strict: 0,
        inner: 0,
        stretch: 0,
        stretch_digits: 0,
        room: [0; 2],
    };

    /// Forgets the chain: what follows has nothing to do with what came before.
    #[inline(always)]
    pub fn forget(&mut self) {
        self.digits = 0;
        self.link = NONE;
        self.run = 0;
        self.again = 0;
        self.at = 0;
        self.judged = 0;
    }

    /// Where the scan has come.
    #[inline(always)]
    #[must_use]
    pub fn at(&self) -> u32 {
        fresh(&self.at)
    }

    /// The same number, unknown to the verifier: see [`by_memory`].
    #[inline(always)]
    pub(super) fn recall(&mut self, number: u32) -> u32 {
        by_memory(&mut self.room[0], number)
    }

    /// Says that a byte of the next chunk is masked already.
    #[inline(always)]
    pub(super) fn mask_again(&mut self, at: u32) {
        let again = &raw mut self.again;
        // VERIFIER: all kernels: volatile for the reason of `by_memory`.
        // SAFETY: a reference can be read and written.
        unsafe { again.write_volatile(again.read_volatile() | 1 << (at & 63)) };
    }

    /// Says where [`super::pass()`] has found digits that may be a card, and which bytes from there they are.
    #[inline(always)]
    pub(super) fn come_upon(&mut self, start: u32, digits: u64) {
        self.stretch = start;
        self.stretch_digits = digits;
    }

    /// What [`State::come_upon`] said.
    #[inline(always)]
    pub(super) fn found(&self) -> (u32, u64) {
        (self.stretch, self.stretch_digits)
    }

    #[inline(always)]
    pub(super) fn come_to(&mut self, at: u32) {
        self.at = at;
    }

    /// Whether what ended has to be judged now. Said once.
    #[inline(always)]
    pub(super) fn is_worth(&mut self, ended: u32) -> bool {
        if fresh(&self.judged) != 0 {
            self.judged = 0;
            return false;
        }
        let previous = (self.shape >> 8) as u32 & 31;
        let group = ended & CHAIN != 0 || self.group >= SHORTEST || previous.wrapping_sub(4) < 3;
        if fresh(&self.digits) < SHORTEST || !group {
            return false;
        }
        self.judged = 1;
        true
    }

    /// Where to look when something has ended, turn by turn: a digit of the chain, and the lengths (one bit each, and
    /// [`STRICT`]); `None` when there is nothing more.
    #[inline(always)]
    pub(super) fn candidate(&mut self, turn: u32, ended: u32) -> Option<(u32, u32)> {
        let digits = fresh(&self.digits);
        if fresh(&self.group) > LONGEST {
            let start = fresh(&self.done);
            let left = digits.wrapping_sub(start);
            if ended & (GROUP | RUN) == 0 || left < SHORTEST || ended == RUN && left <= LONGEST {
                return None;
            }
            self.done = start.wrapping_add(1);
            let longest = if left < LONGEST { left } else { LONGEST };
            return Some((start, LENGTHS & ((2 << longest) - 1) | STRICT));
        }
        let back = turn + SHORTEST;
        if back > LONGEST {
            let inner = fresh(&self.inner);
            self.inner = 0;
            let start = digits.wrapping_sub(fresh(&self.group));
            return (inner != 0).then_some((start, 1 << USUAL | STRICT));
        }
        let bit = 1 << (back & 31);
        let lengths = if fresh(&self.lenient) & bit != 0 {
            bit
        } else if fresh(&self.strict) & bit != 0 && (back != digits || fresh(&self.found) == 0) {
            // A whole chain is one card only where no part of it is.
            bit | STRICT
        } else {
            0
        };
        Some((digits.wrapping_sub(back), lengths))
    }

    /// Whether [`super::pass()`] may be called: a byte that is no digit would change nothing.
    #[inline(always)]
    #[must_use]
    pub fn can_pass(&self) -> bool {
        fresh(&self.digits) | fresh(&self.link) | fresh(&self.run) == 0
    }

    /// Whether the scan has come to the end of a text of `length`, where nothing goes on and nothing is left to do.
    #[inline(always)]
    #[must_use]
    pub fn is_done(&self, length: u32) -> bool {
        self.at() >= length && self.can_pass() && self.again == 0
    }

    /// Digits in the chain.
    #[inline(always)]
    #[must_use]
    pub fn digits(&self) -> u32 {
        fresh(&self.digits)
    }

    /// Digits in the run that the chain ends with, those of earlier chunks included.
    #[inline(always)]
    #[must_use]
    pub fn group(&self) -> u32 {
        self.group
    }

    /// A digit of the chain by its number.
    #[inline(always)]
    pub(super) fn place(&self, index: u32) -> Place {
        Place(self.places[(index & (REMEMBERED - 1)) as usize])
    }

    /// Whether digits `start` to `end` (exclusive) of the chain pass the Luhn test (ISO/IEC 7812-1, annex B).
    #[inline(always)]
    pub(super) fn passes_luhn(&self, start: u32, end: u32) -> bool {
        // The last digit is not doubled, so the sum that doubles digits of the other parity is the one.
        let odd = end & 1 == 0;
        let until = if end != self.digits {
            self.place(end).sum(odd)
        } else if odd {
            self.odd
        } else {
            self.even
        };
        until == self.place(start).sum(odd)
    }

    /// The shape of the chain so far: see [`State::shape`].
    #[inline(always)]
    pub(super) fn shape(&self) -> u64 {
        self.shape | if self.group < 31 { self.group as u64 } else { 31 }
    }

    #[inline(always)]
    pub(super) fn find(&mut self) {
        self.found = 1;
        self.masked = self.masked.wrapping_add(1);
    }

    /// Bytes at the end of a text of `length` that belong to a chain or an escape which may go on.
    #[inline(always)]
    pub(super) fn pending(&self, length: u32, last: u8) -> u32 {
        if self.digits != 0 {
            length.wrapping_sub(self.start)
        } else if self.link != NONE {
            2
        } else if last == b'%' {
            1
        } else {
            0
        }
    }
}

const _: () = assert!(size_of::<State>() == 360);
