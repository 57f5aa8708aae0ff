//! Card numbers of the tests' own, and looking for them where none may be.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use memchr::memmem;

/// Sixteen digits of a brand.
const DIGITS: usize = 16;

/// A Visa number of its own for each index below 100 000, with its check digit.
#[must_use]
pub fn card(index: u64) -> String {
    let start = format!("402400{index:05}7193");
    let sum: u32 = start
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, byte)| {
            let digit = u32::from(byte - b'0');
            let doubled = if digit > 4 { 2 * digit - 9 } else { 2 * digit };
            if place % 2 == 0 { doubled } else { digit }
        })
        .sum();
    format!("{start}{}", (10 - sum % 10) % 10)
}

/// A number of sixteen digits, with separators or without, as it may be told.
#[must_use]
pub fn masked(card: &str) -> String {
    let mut digits = 0;
    card.chars()
        .map(|character| {
            digits += u32::from(character.is_ascii_digit());
            if character.is_ascii_digit() && (7..=12).contains(&digits) { '*' } else { character }
        })
        .collect()
}

/// Where numbers of [`card`] stand whole in a text, without separators or with one of any kind between two digits.
pub fn whole(text: &[u8]) -> impl Iterator<Item = (usize, String)> + '_ {
    memmem::find_iter(text, b"4024").filter_map(|offset| Some((offset, number(&text[offset..])?)))
}

fn number(text: &[u8]) -> Option<String> {
    let mut digits = String::with_capacity(DIGITS);
    let mut is_joined = true;
    for byte in text {
        if byte.is_ascii_digit() {
            digits.push(char::from(*byte));
            is_joined = false;
        } else if is_joined || !matches!(byte, b' ' | b'-' | b'.' | b'+') {
            return None;
        } else {
            is_joined = true;
        }
        if digits.len() == DIGITS {
            return (digits.starts_with("402400") && &digits[11..15] == "7193").then_some(digits);
        }
    }
    None
}

/// All numbers of [`card`] that stand whole in the memory of a process, and whether a masked one is in the memory of an
/// eBPF map.
///
/// # Panics
/// When the memory cannot be read.
#[must_use]
pub fn search(pid: u32) -> (HashSet<String>, bool) {
    let memory = File::open(format!("/proc/{pid}/mem")).expect("open the memory");
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("read the mappings");
    let (mut found, mut in_ring) = (HashSet::new(), false);
    for line in maps.lines() {
        let Some((start, rest)) = line.split_once('-') else { continue };
        let Some((end, rest)) = rest.split_once(' ') else { continue };
        let bounds = [start, end].map(|bound| u64::from_str_radix(bound, 16).expect("an address"));
        if !rest.starts_with('r') || rest.contains("[v") {
            continue;
        }
        let mut page = vec![0; 1 << 20];
        let mut at = bounds[0];
        while at < bounds[1] {
            let length = usize::try_from(bounds[1] - at).expect("a size").min(page.len());
            // Not all that is mapped can be read.
            let Ok(read) = memory.read_at(&mut page[..length], at) else {
                at += 4096;
                continue;
            };
            let bytes = &page[..read];
            in_ring |= rest.contains("bpf-map") && memmem::find(bytes, b"402400******").is_some();
            for (offset, number) in whole(bytes) {
                found.insert(format!("{number} at {:x}", at + offset as u64));
            }
            // The windows of two pieces overlap.
            let step = if read == length && length > 4096 { read - 64 } else { read };
            at += step.max(1) as u64;
        }
    }
    (found, in_ring)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_found_and_masked_ones_are_not() {
        let card = card(7);
        let spaced = format!("{} {}-{}.{}", &card[..4], &card[4..8], &card[8..12], &card[12..]);
        let text = format!("4024 {card},{spaced} {} {}", masked(&card), masked(&spaced));
        assert_eq!(whole(text.as_bytes()).collect::<Vec<_>>(), [(5, card.clone()), (22, card)]);
        assert_eq!(whole(b"402400000071930").count() + whole(b"4024--000000071930").count(), 0);
    }
}
