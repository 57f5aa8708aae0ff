//! Card numbers are masked where a record is put together, before it is written to the ring buffer.
//!
//! The work is that of [`sensor_common::mask`], in a few functions for each map whose slots hold text. They are global
//! functions: the verifier looks at each once, for any arguments, so that neither the loop over the text nor the
//! programs that call them multiply what it has to go through. That works since 5.6 and needs no `bpf_loop`. On 5.10
//! such a function takes numbers only, so each finds the slot itself. The stacks of all functions that are called from
//! each other may take 512 bytes together before 6.8: the deep ones are called from shallow ones only.

use sensor_common::{
    cause::Counter,
    log::CHUNK_CAPACITY,
    mask::{Text, WORD, gathered},
    record::HEAD_CAPACITY,
};

use crate::{
    count::count,
    log::LOG_SCRATCH,
    maps::{FRAME_SCRATCH, SCRATCH, STARTED_SCRATCH},
    started::TEXT_CAPACITY,
};

/// Steps that are made by one function, so that the verifier goes through a loop of loops.
pub(crate) const STEPS: u32 = 56;

/// Text in a map's slot.
pub(crate) struct Slot {
    text: *mut u8,
    mask: u32,
}

impl Slot {
    /// # Safety
    /// `text` is aligned to eight bytes and has room for `mask` bytes and [`WORD`] times eight more; `mask` is one less than a
    /// power of two.
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
}

impl Text for Slot {
    #[inline(always)]
    fn byte(&self, at: u32) -> u8 {
        // VERIFIER: all kernels: volatile, so that a byte that is read twice is not one that a comparison has changed.
        // SAFETY: as above.
        unsafe { self.at(at).read_volatile() }
    }

    #[inline(always)]
    fn hide(&mut self, at: u32) {
        // SAFETY: as above.
        unsafe { self.at(at).write(sensor_common::mask::MASK) }
    }

    #[inline(always)]
    fn word(&self, at: u32) -> u64 {
        let words = self.at(at & !(WORD - 1)).cast::<u64>();
        // SAFETY: as above, and a word more is within the room.
        let (first, next) = unsafe { (words.read(), words.add(1).read()) };
        let skip = 8 * (at & (WORD - 1));
        // Two shifts, because one by 64 is none.
        first >> skip | next << 1 << (63 - skip)
    }

    #[inline(always)]
    fn bits<const WORDS: u32>(&self, at: u32, outside: impl Fn(u64) -> u64) -> u64 {
        let words = self.at(at & !(WORD - 1)).cast::<u64>();
        let mut bits = 0;
        for word in 0..WORDS {
            // SAFETY: as above, and eight words more is within the room.
            bits |= gathered(outside(unsafe { words.add(word as usize).read() })) << (WORD * word);
        }
        !bits
    }
}

/// Defines `$in_place(slot, length, more)` for the slots of the per-CPU array `$map`: the member `$text` holds the text,
/// with room for `$capacity` bytes and [`WORD`] times eight more, and `$state` is a [`sensor_common::mask::State`].
///
/// `$in_place` masks the first `length` bytes and returns how many of them are done: all, unless `more` is not 0, which
/// says that the write goes on. What is done can be written to the ring buffer. The next call is given the text from
/// there on, at the start of the same slot with the same state. A new text starts with `State::forget`; `State::masked`
/// counts on.
macro_rules! masker {
    (
        $map:ident, $text:ident, $capacity:expr, $state:ident;
        $in_place:ident, $steps:ident, $pass:ident, $alone:ident, $step:ident, $ended:ident, $shape:ident, $judge:ident, $may_be:ident, $cover:ident, $cut:ident
    ) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(crate) extern "C" fn $in_place(slot: u32, length: u32, more: u32) -> u32 {
            const STEPS: u32 = sensor_common::mask::most_steps($capacity);
            #[cfg(feature = "bench")]
            if $crate::globals::leaves_unmasked() {
                return length;
            }
            let Some(found) = $map.get_ptr_mut(slot) else { return 0 };
            // SAFETY: the slot is this processor's, and only the functions of this masker use the members meanwhile.
            let state = unsafe { &raw mut (*found).$state };
            for _ in 0..sensor_common::mask::rolled(STEPS / $crate::mask::STEPS + 1) {
                // SAFETY: as above.
                if unsafe { (*state).at() } >= length {
                    break;
                }
                $steps(slot, length, more);
            }
            // Most texts end with nothing that is left to do.
            // SAFETY: as above.
            if more == 0 && unsafe { (*state).is_done(length) } {
                // SAFETY: as above.
                unsafe { (*state).forget() };
                return length;
            }
            if more == 0 {
                // SAFETY: as above.
                $ended(slot, unsafe { (*state).ends_at_last() });
            }
            $cut(slot, length, more)
        }

        /// Reads on, and judges.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $steps(slot: u32, length: u32, more: u32) -> u32 {
            let Some(found) = $map.get_ptr_mut(slot) else { return 0 };
            // SAFETY: as above.
            let state = unsafe { &raw mut (*found).$state };
            for _ in 0..sensor_common::mask::rolled($crate::mask::STEPS) {
                // SAFETY: as above.
                if unsafe { (*state).at() } >= length {
                    break;
                }
                // SAFETY: as above.
                if unsafe { (*state).can_pass() }
                    && ($pass(slot, length, more) != 0 || $alone(slot, length, more) != 0)
                {
                    continue;
                }
                let ended = $step(slot, length);
                if ended != 0 {
                    $ended(slot, ended);
                }
            }
            0
        }

        /// Passes what can be no part of a card.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $pass(slot: u32, length: u32, more: u32) -> u32 {
            let Some(found) = $map.get_ptr_mut(slot) else { return 0 };
            // SAFETY: as above.
            let (text, state) = unsafe {
                (
                    $crate::mask::Slot::new((&raw mut (*found).$text).cast(), $capacity - 1),
                    &mut (*found).$state,
                )
            };
            sensor_common::mask::pass(&text, state, length, more != 0).into()
        }

        /// Judges a number that stands alone.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $alone(slot: u32, length: u32, more: u32) -> u32 {
            let Some(found) = $map.get_ptr_mut(slot) else { return 0 };
            // SAFETY: as above.
            let (mut text, state) = unsafe {
                (
                    $crate::mask::Slot::new((&raw mut (*found).$text).cast(), $capacity - 1),
                    &mut (*found).$state,
                )
            };
            let judged = sensor_common::mask::alone(
                &mut text,
                state,
                length,
                more != 0,
                |_, at, length, by_keyword| $may_be(slot, at, length, by_keyword.into()) != 0,
            );
            if judged == sensor_common::mask::MASKED {
                count(Counter::CardsMasked);
            }
            judged
        }

        /// Reads on.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $step(slot: u32, length: u32) -> u32 {
            let Some(found) = $map.get_ptr_mut(slot) else { return 0 };
            // SAFETY: as above.
            let (text, state) = unsafe {
                (
                    $crate::mask::Slot::new((&raw mut (*found).$text).cast(), $capacity - 1),
                    &mut (*found).$state,
                )
            };
            sensor_common::mask::step(&text, state, length)
        }

        /// Judges what has ended.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $ended(slot: u32, ended: u32) -> u32 {
            let Some(found) = $map.get_ptr_mut(slot) else { return 0 };
            // SAFETY: as above.
            let state = unsafe { &mut (*found).$state };
            if state.digits() < sensor_common::mask::chain::SHORTEST {
                return 0;
            }
            $shape(slot, ended);
            sensor_common::mask::each_candidate(state, ended, |_, start, lengths| {
                let cards = $judge(slot, start, lengths);
                sensor_common::mask::each_card(cards, |length, by_keyword| {
                    $cover(slot, start, length, by_keyword.into());
                });
            });
            0
        }

        /// Finds the lengths that come into question.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $shape(slot: u32, ended: u32) -> u32 {
            let Some(found) = $map.get_ptr_mut(slot) else { return 0 };
            // SAFETY: as above.
            unsafe { (*found).$state.candidates(ended) };
            0
        }

        /// Which of the lengths are a card's.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $judge(slot: u32, start: u32, lengths: u32) -> u32 {
            let Some(found) = $map.get_ptr_mut(slot) else { return 0 };
            // SAFETY: as above.
            unsafe { (*found).$state.cards(start, lengths) }
        }

        /// Whether what stands before a number lets it be a card.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $may_be(slot: u32, at: u32, length: u32, by_keyword: u32) -> u32 {
            let Some(found) = $map.get_ptr_mut(slot) else { return 0 };
            // SAFETY: as above.
            let text = unsafe { $crate::mask::Slot::new((&raw mut (*found).$text).cast(), $capacity - 1) };
            sensor_common::mask::may_be(&text, at, length, by_keyword != 0).into()
        }

        /// Masks a card.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $cover(slot: u32, start: u32, length: u32, by_keyword: u32) -> u32 {
            let Some(found) = $map.get_ptr_mut(slot) else { return 0 };
            // SAFETY: as above.
            let (mut text, state) = unsafe {
                (
                    $crate::mask::Slot::new((&raw mut (*found).$text).cast(), $capacity - 1),
                    &mut (*found).$state,
                )
            };
            let covered =
                state.cover(&mut text, start, length, by_keyword != 0, |_, at, length, by_keyword| {
                    $may_be(slot, at, length, by_keyword.into()) != 0
                });
            if covered {
                count(Counter::CardsMasked);
            }
            0
        }

        /// Ends the chunk.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $cut(slot: u32, length: u32, more: u32) -> u32 {
            let Some(found) = $map.get_ptr_mut(slot) else { return 0 };
            // SAFETY: as above.
            let (mut text, state) = unsafe {
                (
                    $crate::mask::Slot::new((&raw mut (*found).$text).cast(), $capacity - 1),
                    &mut (*found).$state,
                )
            };
            sensor_common::mask::cut(&mut text, state, length, more != 0)
        }
    };
}

masker!(
    SCRATCH, payload, HEAD_CAPACITY as u32, mask;
    mask_head, mask_head_steps, mask_head_pass, mask_head_alone, mask_head_step, mask_head_ended, mask_head_shape, mask_head_judge, mask_head_may_be, mask_head_cover, mask_head_cut
);
masker!(
    FRAME_SCRATCH, payload, HEAD_CAPACITY as u32, mask;
    mask_frames, mask_frames_steps, mask_frames_pass, mask_frames_alone, mask_frames_step, mask_frames_ended, mask_frames_shape, mask_frames_judge, mask_frames_may_be, mask_frames_cover, mask_frames_cut
);
masker!(
    LOG_SCRATCH, payload, CHUNK_CAPACITY as u32, mask;
    mask_log, mask_log_steps, mask_log_pass, mask_log_alone, mask_log_step, mask_log_ended, mask_log_shape, mask_log_judge, mask_log_may_be, mask_log_cover, mask_log_cut
);
masker!(
    STARTED_SCRATCH, text, TEXT_CAPACITY as u32, mask;
    mask_started, mask_started_steps, mask_started_pass, mask_started_alone, mask_started_step, mask_started_ended, mask_started_shape, mask_started_judge, mask_started_may_be, mask_started_cover, mask_started_cut
);
