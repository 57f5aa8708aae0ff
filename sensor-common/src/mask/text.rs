//! The bytes at hand, one by one and many at once.

/// Bytes that are read together.
pub const WORD: u32 = 8;

pub(super) use crate::bytes::{HIGH, LOW};

/// The bytes at hand.
pub trait Text {
    /// The byte at an offset.
    fn byte(&self, at: u32) -> u8;
    /// Puts [`MASK`](super::MASK) there.
    fn hide(&mut self, at: u32);
    /// The eight bytes from an offset, the first the lowest. What stands for bytes behind the end means nothing.
    fn word(&self, at: u32) -> u64;
    /// One bit a byte, the first the lowest, of `WORDS` words (at most eight) from `at`, a multiple of [`WORD`]: those of
    /// which `outside` leaves the high bit clear. What stands for bytes behind the end means nothing.
    fn bits<const WORDS: u32>(&self, at: u32, outside: impl Fn(u64) -> u64) -> u64;
}

impl Text for [u8] {
    fn byte(&self, at: u32) -> u8 {
        self.get(at as usize).copied().unwrap_or_default()
    }

    fn hide(&mut self, at: u32) {
        if let Some(byte) = self.get_mut(at as usize) {
            *byte = super::MASK;
        }
    }

    fn word(&self, at: u32) -> u64 {
        let rest = self.get(at as usize..).unwrap_or_default();
        let mut word = [0; WORD as usize];
        let length = rest.len().min(word.len());
        word[..length].copy_from_slice(&rest[..length]);
        u64::from_le_bytes(word)
    }

    #[inline]
    fn bits<const WORDS: u32>(&self, at: u32, outside: impl Fn(u64) -> u64) -> u64 {
        let rest = self.get(at as usize..).unwrap_or_default();
        let mut end = [0; 64];
        let block = rest.get(..(WORDS * WORD) as usize).unwrap_or_else(|| {
            end[..rest.len()].copy_from_slice(rest);
            &end
        });
        let words = block.as_chunks::<{ WORD as usize }>().0;
        collect((0..WORDS).zip(words).map(|(_, word)| u64::from_le_bytes(*word)), outside)
    }
}

#[inline(always)]
fn collect(words: impl Iterator<Item = u64>, outside: impl Fn(u64) -> u64) -> u64 {
    let mut bits = 0;
    for (index, word) in words.enumerate() {
        bits |= gathered(outside(word)) << (8 * index);
    }
    !bits
}

/// The high bits of eight bytes, side by side.
#[inline(always)]
#[must_use]
pub const fn gathered(word: u64) -> u64 {
    // Each factor moves one of them to its place in the highest byte.
    (word & HIGH).wrapping_mul(0x0002_0408_1020_4081) >> 56
}

/// The high bit of each of eight bytes that is none of the `count` (at most 0x80) values from `first` on; `first` has no bit
/// set below the highest of `count - 1`. All other bits mean nothing.
#[inline(always)]
const fn outside(word: u64, first: u8, count: u8) -> u64 {
    let value = word ^ (first as u64 * LOW);
    (value & !HIGH).wrapping_add((0x80 - count as u64) * LOW) | value
}

/// [`outside`] of ASCII digits.
#[inline(always)]
#[must_use]
pub const fn no_digits(word: u64) -> u64 {
    outside(word, b'0', 10)
}

/// [`outside`] of space to `.`, among which are all separators.
#[inline(always)]
pub(super) const fn no_separators(word: u64) -> u64 {
    outside(word, b' ', b'.' - b' ' + 1)
}

/// [`outside`] of percent signs.
#[inline(always)]
pub(super) const fn no_percent_signs(word: u64) -> u64 {
    outside(word, b'%', 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_bytes() {
        for byte in 0..=u8::MAX {
            for (place, other) in [(0, 0), (3, b'0'), (7, 0xff)] {
                let mut bytes = [other; 8];
                bytes[place] = byte;
                let word = u64::from_le_bytes(bytes);
                let is = |class: u64| gathered(class) >> place & 1 == 0;
                assert_eq!(is(no_digits(word)), byte.is_ascii_digit(), "{byte}");
                assert_eq!(is(no_separators(word)), (b' '..=b'.').contains(&byte), "{byte}");
                assert_eq!(is(no_percent_signs(word)), byte == b'%', "{byte}");
                let rest = gathered(no_digits(word)) | 1 << place;
                assert_eq!(rest, if other == b'0' { 1 << place } else { 0xff });
            }
        }
    }

    #[test]
    fn bits_are_in_order_up_to_the_end() {
        let text = b"0a1b2c3d 4e5f6g7h";
        assert_eq!(text[..].bits::<2>(0, no_digits) & 0xffff, 0b1010_1010_0101_0101);
        assert_eq!(text[..].bits::<1>(8, no_digits) & 0xff, 0b1010_1010);
        assert_eq!(text[..].bits::<1>(16, no_digits) & 0xff, 0);
        assert_eq!(text[..].bits::<1>(u32::MAX - 7, no_digits) & 0xff, 0);
    }
}
