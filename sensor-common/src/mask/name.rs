//! Short texts that the kernel keeps and nobody writes, in which a card number has room: the name of a process
//! (`task_struct.comm`, fifteen bytes), the path of a Unix-domain socket.

use super::chain::SHORTEST;
use super::text::{HIGH, LOW, gathered, no_digits, no_separators};

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

/// Words of a path: a power of two, and no fewer than a `sun_path` needs.
pub const PATH_WORDS: usize = 16;

/// Hides the digits of a path that has as many of them as a card, in a row or with nothing but separators between them; whatever
/// they are. Words are in the order of the bytes.
#[inline(always)]
pub fn path(words: &mut [u64; PATH_WORDS]) {
    let (mut digits, mut row) = ([0; 2], [0; 2]);
    for (at, word) in words.iter().enumerate() {
        let (half, place) = (at / 8, 8 * (at % 8));
        digits[half] |= gathered(!no_digits(*word)) << place;
        row[half] |= gathered(!no_digits(*word) | !no_separators(*word)) << place;
    }
    // Places at which so many of a row begin: by doubling.
    let from = |[low, high]: [u64; 2], by: u32| [low & (low >> by | high << (64 - by)), high & high >> by];
    let eight = from(from(from(row, 1), 2), 4);
    let four = from(from(row, 1), 2);
    let twelve = [eight[0] & (four[0] >> 8 | four[1] << 56), eight[1] & four[1] >> 8];
    if twelve[0] | twelve[1] == 0 || digits[0].count_ones() + digits[1].count_ones() < SHORTEST {
        return;
    }
    words.iter_mut().for_each(|word| *word = starred(*word, !0));
}

const _: () = assert!(SHORTEST == 12 && PATH_WORDS == 16);

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

    fn masked_path(text: &str) -> String {
        let mut bytes = [0; 8 * PATH_WORDS];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        let mut words = [0; PATH_WORDS];
        bytes
            .as_chunks::<8>()
            .0
            .iter()
            .zip(&mut words)
            .for_each(|(from, to)| *to = u64::from_le_bytes(*from));
        path(&mut words);
        let bytes: std::vec::Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        String::from_utf8(bytes).unwrap().trim_end_matches('\0').into()
    }

    #[test]
    fn a_path_with_a_number_as_long_as_a_cards_has_no_digits() {
        let long = "/".repeat(50) + "4111-1111.1111 1111/a1";
        assert_eq!(masked_path(&long), "/".repeat(50) + "****-****.**** ****/a*");
        assert_eq!(masked_path("371449635398431"), "*".repeat(15));
        let end = "/".repeat(116) + "123456789012";
        assert_eq!(masked_path(&end), "/".repeat(116) + &"*".repeat(12));
        for plain in [
            "",
            "/run/docker.sock",
            "/run/1732780800.1/s",
            "/run/9f1c2e4a-77b0-4c1d-8a52-0e6f3b9d1c27/s",
            "/run/2024-11-28.10.sock",
        ] {
            assert_eq!(masked_path(plain), plain);
        }
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
