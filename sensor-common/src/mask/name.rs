//! The name of a process as the kernel keeps it (`task_struct.comm`): fifteen bytes, in which a card number has room.

use super::chain::SHORTEST;
use super::text::{HIGH, LOW, gathered, no_digits};

/// The bytes of the second word that may not be among a name's last four.
const NOT_LAST: u64 = 0x00ff_ffff;

/// A name without its digits, but for those in its last four bytes, where it has as many digits as a card; whatever the
/// digits are. Any other name stays as it is. Both words are in the order of the bytes.
#[inline(always)]
#[must_use]
pub const fn name(words: [u64; 2]) -> [u64; 2] {
    let [first, last] = words;
    let digits = gathered(!no_digits(first)) | gathered(!no_digits(last)) << 8;
    if digits.count_ones() < SHORTEST {
        return words;
    }
    [starred(first, !0), starred(last, NOT_LAST)]
}

/// The digits of these bytes as [`MASK`](super::MASK).
#[inline(always)]
const fn starred(word: u64, bytes: u64) -> u64 {
    let digits = (((!no_digits(word) & HIGH) >> 7) * 0xff) & bytes;
    (word & !digits) | ((super::MASK as u64 * LOW) & digits)
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;

    fn masked(text: &str) -> String {
        let mut bytes = [0; 16];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        let (words, _) = bytes.as_chunks::<8>();
        let words = name([u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])]);
        let bytes: std::vec::Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        String::from_utf8(bytes).unwrap().trim_end_matches('\0').into()
    }

    #[test]
    fn a_number_as_long_as_a_cards_is_masked() {
        assert_eq!(masked("371449635398431"), "***********8431");
        assert_eq!(masked("p-4222222222222"), "p-*********2222");
        assert_eq!(masked("630000000000"), "***********0");
        for plain in ["", "java", "worker-12345678", "http-nio-8080-e", "1.2.3.4:5678901"] {
            assert_eq!(masked(plain), plain);
        }
    }
}
