//! Eight bytes at a time, as the word whose lowest byte is the first: the kernel's verifier counts the branches of a loop over
//! bytes.

/// One in each byte.
pub const LOW: u64 = 0x0101_0101_0101_0101;
/// The high bit of each byte.
pub const HIGH: u64 = 0x8080_8080_8080_8080;

/// The high bit of each byte whose lower seven bits are at least `bound`, which is at most 0x80.
#[must_use]
#[inline(always)]
pub const fn at_least(word: u64, bound: u8) -> u64 {
    (word & !HIGH) + (0x80 - bound as u64) * LOW
}

/// The high bit of each byte that equals `byte`.
#[must_use]
#[inline(always)]
pub const fn equal(word: u64, byte: u8) -> u64 {
    let difference = word ^ (byte as u64 * LOW);
    !(((difference & !HIGH) + !HIGH) | difference) & HIGH
}

/// The first `count` (0-8) bytes of a word, all bits set.
#[must_use]
#[inline(always)]
pub const fn first(count: u32) -> u64 {
    if count < 8 { (1 << (8 * (count & 7))) - 1 } else { u64::MAX }
}
