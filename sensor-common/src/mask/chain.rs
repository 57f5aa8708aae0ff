//! Digits that belong together: what the scan remembers while it goes from byte to byte.

use super::brand::LENGTHS;
use super::card::STRICT;

/// A card has at most this many digits; an unbroken run of more is looked at from each of its digits.
pub const LONGEST: u32 = 19;
/// A card has at least this many digits.
pub const SHORTEST: u32 = 12;
/// Digits that are remembered: a power of two, more than [`LONGEST`].
const REMEMBERED: u32 = 32;

/// A run of digits ended.
pub const GROUP: u32 = 1;
/// Digits that single separators join ended.
pub const CHAIN: u32 = 2;

/// A run of more than [`LONGEST`] digits has come [`RUN_STEP`] further.
pub const RUN: u32 = 4;
/// How often a run is judged: what is remembered is enough for the digits since and a whole card.
const RUN_STEP: u32 = 8;

/// What ended the chain is a letter that is a hexadecimal digit.
pub const GLUED: u32 = 8;

/// The most places to look at when something ended: all from which nothing was judged of a run, or one a length.
pub const TURNS: u32 = RUN_STEP + LONGEST - SHORTEST + 3;

/// The last byte was no separator.
const NONE: u32 = 0;
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

/// The separators, as [`State::separator`] and the shape of a chain name them.
const SPACE: u32 = 1;
pub(super) const DASH: u32 = 2;
pub(super) const DOT: u32 = 3;
const PLUS: u32 = 4;
const ESCAPED: u32 = 5;

/// The scan's memory. All zeros is the beginning of a text.
///
/// It is a plain structure because it rests in a map of the kernel. One that says that another digit is needed says
/// so by position: positions are offsets into the text at hand.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct State {
    /// The last digits of the chain, by their number in it: see [`Place`].
    places: [u64; REMEMBERED as usize],
    /// Eight bits a group, the newest lowest: its length (at most 31), and above that the separator before it.
    shape: u64,
    /// Bytes at the start of the next chunk that are masked already, one bit a byte.
    pub(super) again: u64,
    /// Digits in the chain.
    digits: u32,
    /// Digits in the group.
    group: u32,
    /// Luhn sums of all digits of the chain modulo 10: the digits with an odd number doubled, …
    even: u32,
    /// … and those with an even number.
    odd: u32,
    /// The separators within the chain, one bit each.
    pub(super) separators: u32,
    /// Where the chain starts.
    start: u32,
    /// What the last bytes were.
    link: u32,
    /// The separator before the next group; while an escape is swallowed, its first digit.
    separator: u32,
    /// 1 when a part of the chain is masked.
    found: u32,
    /// Digits that came before the first of this chunk without a break.
    pub(super) run: u32,
    /// Numbers masked since the beginning.
    pub masked: u32,
    /// Where the scan has come.
    at: u32,
    /// 1 when what the next byte ends was judged.
    judged: u32,
    /// The first digit of the run of which nothing was judged yet.
    done: u32,
    /// Lengths at which the chain's last digits may be a card, …
    pub(super) lenient: u32,
    /// … and at which they may if they pass the Luhn test.
    pub(super) strict: u32,
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

    /// The same for another number.
    #[inline(always)]
    pub(super) fn recall_also(&mut self, number: u32) -> u32 {
        by_memory(&mut self.room[1], number)
    }

    /// Says that a byte of the next chunk is masked already.
    #[inline(always)]
    pub(super) fn mask_again(&mut self, at: u32) {
        let again = &raw mut self.again;
        // VERIFIER: all kernels: volatile for the reason of `by_memory`.
        // SAFETY: a reference can be read and written.
        unsafe { again.write_volatile(again.read_volatile() | 1 << (at & 63)) };
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
            return None;
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

    /// Whether [`super::pass`] may be called: a byte that is no digit would change nothing, and a word begins.
    #[inline(always)]
    #[must_use]
    pub fn can_pass(&self) -> bool {
        fresh(&self.digits) | fresh(&self.link) | fresh(&self.run) == 0
            && self.at().is_multiple_of(super::WORD)
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

/// The member as it is in memory.
// VERIFIER: all kernels: kept in a register, what one byte taught about it would multiply the states of the next.
#[inline(always)]
fn fresh(member: &u32) -> u32 {
    if cfg!(target_arch = "bpf") {
        // SAFETY: a reference can be read.
        unsafe { core::ptr::read_volatile(member) }
    } else {
        *member
    }
}

/// `value`, by way of the state's memory.
// VERIFIER: all kernels: what comes from a map is unknown, so that ways that led to different values meet again.
#[inline(always)]
pub(super) fn by_memory(member: &mut u32, value: u32) -> u32 {
    if cfg!(target_arch = "bpf") {
        // SAFETY: a reference can be written and read.
        unsafe {
            core::ptr::write_volatile(member, value);
            core::ptr::read_volatile(member)
        }
    } else {
        value
    }
}

#[inline(always)]
fn modulo_10(sum: u32) -> u32 {
    if sum > 9 { sum - 10 } else { sum }
}

/// Whether the byte is an ASCII digit.
#[inline(always)]
#[must_use]
pub const fn is_digit(byte: u8) -> bool {
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

const _: () = assert!(size_of::<State>() == 344);
