//! Card numbers are masked where a record is put together, before it is written to the ring buffer.
//!
//! The work is that of [`sensor_common::mask`], in four functions for each map whose slots hold text. They are global
//! functions: the verifier looks at each once, for any arguments, so that neither the loop over the text nor the many
//! places that call them multiply what it has to go through. That works since 5.6 and needs no `bpf_loop`. Such a
//! function takes numbers only on 5.10, so each finds the slot itself.

use sensor_common::{
    mask::{NO_DIGITS, Text, no_digits},
    record::HEAD_CAPACITY,
};

use crate::maps::SCRATCH;

/// Bytes that are looked at together: without a digit in them, that is all.
pub(crate) const BLOCK: u32 = 64;
/// Bytes that are read together.
pub(crate) const WORD: u32 = 8;

/// Text in a map's slot.
pub(crate) struct Slot {
    text: *mut u8,
    mask: u32,
}

impl Slot {
    /// # Safety
    /// `text` has room for `mask` bytes and [`BLOCK`] more; `mask` is one less than a power of two.
    #[inline(always)]
    pub(crate) unsafe fn new(text: *mut u8, mask: u32) -> Self {
        Self { text, mask }
    }

    #[inline(always)]
    fn at(&self, at: u32) -> *mut u8 {
        // VERIFIER: all kernels: the compiler may know the bound and drop the mask.
        let offset = core::hint::black_box(at) & self.mask;
        // SAFETY: the caller of `new` vouches for offsets up to the mask.
        unsafe { self.text.add(offset as usize) }
    }

    /// Whether one of the eight bytes from `at`, a multiple of eight, is a digit.
    #[inline(always)]
    pub(crate) fn has_digit(&self, at: u32) -> bool {
        // SAFETY: as above, and seven bytes more are within the room.
        let word = unsafe { self.at(at).cast::<u64>().read() };
        no_digits(word) != NO_DIGITS
    }

    /// Whether one of the bytes of the block from `at` is a digit.
    #[inline(always)]
    pub(crate) fn has_digits(&self, at: u32) -> bool {
        let words = self.at(at).cast::<u64>();
        let mut none = NO_DIGITS;
        for word in 0..BLOCK as usize / size_of::<u64>() {
            // SAFETY: as above, and a block more is within the room.
            none &= no_digits(unsafe { words.add(word).read() });
        }
        none != NO_DIGITS
    }
}

impl Text for Slot {
    #[inline(always)]
    fn byte(&self, at: u32) -> u8 {
        // SAFETY: as above.
        unsafe { self.at(at).read() }
    }

    #[inline(always)]
    fn hide(&mut self, at: u32) {
        // SAFETY: as above.
        unsafe { self.at(at).write(sensor_common::mask::MASK) }
    }
}

/// Defines `$in_place(slot, length, more)` for the slots of the per-CPU array `$map`: the member `$text` holds the text,
/// with room for `$capacity` bytes and [`BLOCK`] more, and `$state` is a [`sensor_common::mask::State`].
///
/// `$in_place` masks the first `length` bytes and returns how many of them are done: all, unless `more` is not 0, which
/// says that the write goes on. What is done can be written to the ring buffer. The next call is given the text from
/// there on, in the same slot with the same state. A new text starts with [`State::forget`]; `State::masked` counts on.
macro_rules! masker {
    ($map:ident, $text:ident, $capacity:expr, $state:ident; $in_place:ident, $word:ident, $judge:ident, $cover:ident) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $in_place(slot: u32, length: u32, more: u32) -> u32 {
            let Some(found) = $map.get_ptr_mut(slot) else { return 0 };
            // SAFETY: the slot is this processor's, and only the functions of this masker use the members meanwhile.
            let (mut text, state) = unsafe {
                ($crate::mask::Slot::new((&raw mut (*found).$text).cast(), $capacity - 1), &raw mut (*found).$state)
            };
            for block in 0..$capacity / $crate::mask::BLOCK {
                let at = block * $crate::mask::BLOCK;
                if at >= length {
                    break;
                }
                // SAFETY: as above.
                if !text.has_digits(at) && unsafe { (*state).is_idle() } {
                    continue;
                }
                for word in 0..$crate::mask::BLOCK / $crate::mask::WORD {
                    let at = at + $crate::mask::WORD * word;
                    // SAFETY: as above.
                    if text.has_digit(at) || !unsafe { (*state).is_idle() } {
                        $word(slot, at, length);
                    }
                }
            }
            // SAFETY: as above.
            let state = unsafe { &mut *state };
            if more == 0 && state.digits() >= sensor_common::mask::chain::SHORTEST {
                $judge(slot, state.ends_at_last());
            }
            sensor_common::mask::cut(&mut text, state, length, more != 0)
        }

        /// Reads eight bytes.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $word(slot: u32, at: u32, length: u32) -> u32 {
            let Some(found) = $map.get_ptr_mut(slot) else { return 0 };
            // SAFETY: as above.
            let (text, state) = unsafe {
                ($crate::mask::Slot::new((&raw mut (*found).$text).cast(), $capacity - 1), &raw mut (*found).$state)
            };
            for byte in 0..$crate::mask::WORD {
                let at = at.wrapping_add(byte);
                if at >= length {
                    break;
                }
                let byte = sensor_common::mask::Text::byte(&text, at);
                // SAFETY: as above.
                let ended = unsafe { (*state).ends(byte) };
                // SAFETY: as above.
                if ended != 0 && unsafe { (*state).digits() } >= sensor_common::mask::chain::SHORTEST {
                    $judge(slot, ended);
                }
                let before =
                    || if at == 0 { 0 } else { sensor_common::mask::Text::byte(&text, at.wrapping_sub(1)) };
                // SAFETY: as above.
                if unsafe { (*state).take(byte, at, ended, before) } {
                    $judge(slot, sensor_common::mask::RUN);
                }
            }
            0
        }

        /// Judges what has ended.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $judge(slot: u32, ended: u32) -> u32 {
            let Some(found) = $map.get_ptr_mut(slot) else { return 0 };
            // SAFETY: as above.
            let state = unsafe { &mut (*found).$state };
            sensor_common::mask::each_candidate(state, ended, |state, start, lengths| {
                sensor_common::mask::each_card(state.cards(start, lengths), |length, by_keyword| {
                    $cover(slot, start, length, by_keyword.into());
                });
            });
            0
        }

        /// Masks a card.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $cover(slot: u32, start: u32, length: u32, by_keyword: u32) -> u32 {
            let Some(found) = $map.get_ptr_mut(slot) else { return 0 };
            // SAFETY: as above.
            let (mut text, state) = unsafe {
                ($crate::mask::Slot::new((&raw mut (*found).$text).cast(), $capacity - 1), &mut (*found).$state)
            };
            state.cover(&mut text, start, length, by_keyword != 0);
            0
        }
    };
}

masker!(SCRATCH, payload, HEAD_CAPACITY as u32, mask; mask_head, mask_head_word, mask_head_judge, mask_head_cover);
