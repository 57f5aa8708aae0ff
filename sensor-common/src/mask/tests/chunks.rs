//! A text that comes in pieces.

use proptest::prelude::*;

use super::*;

/// Masks `text` as the kernel does: pieces of `size` bytes, each read from where the one before was done.
fn in_chunks(text: &[u8], size: usize) -> Vec<u8> {
    let mut state = State::NEW;
    let mut clean = Vec::new();
    while clean.len() < text.len() {
        let rest = &text[clean.len()..];
        let mut chunk = rest[..size.min(rest.len())].to_vec();
        let more = chunk.len() < rest.len();
        let done = in_place(&mut chunk, &mut state, more);
        assert!(done > 0 && chunk.len() - done <= HELD_BACK as usize);
        assert!(more || done == chunk.len());
        clean.extend_from_slice(&chunk[..done]);
    }
    clean
}

#[test]
fn a_card_is_whole_wherever_it_is_cut() {
    for size in 65..140 {
        for before in 0..140 {
            for card in ["4111111111111111", "4111 1111 1111 1111", "3714%20496353%2098431"] {
                let text = "x".repeat(before) + card + " is it";
                let whole = mask(text.as_bytes()).0;
                let cut = in_chunks(text.as_bytes(), size);
                assert_eq!(cut, whole, "{before} {size}");
            }
        }
    }
}

#[test]
fn long_runs_and_columns_are_cut_without_a_leak() {
    let card = "4012888888881881";
    for before in 50..200 {
        for (lead, end) in [("1", "1"), ("12 ", " 12"), ("4 ", " 4")] {
            let text = lead.repeat(before) + card + &end.repeat(before);
            let cut = String::from_utf8(in_chunks(text.as_bytes(), 128)).unwrap();
            assert!(!cut.contains(card), "{cut}");
        }
    }
}

#[test]
fn a_hundred_thousand_digits_and_a_mebibyte() {
    for pattern in ["4111111111111111", "9876543210", "1", "4111 1111 1111 1111 ", "4.", "%20", "x"] {
        let text: Vec<u8> = pattern.bytes().cycle().take(100_000).collect();
        assert_eq!(in_chunks(&text, 4096).len(), text.len());
    }
    let mut text = "log line without a number ".repeat(40_330).into_bytes();
    text.truncate(1 << 20);
    let end = text.len() - 16;
    text[end..].copy_from_slice(b"4111111111111111");
    let clean = in_chunks(&text, 4096);
    assert_eq!(&clean[end..], b"411111******1111");
    assert_eq!(&clean[..end], &text[..end]);
}

/// Lines as long as a write's piece, so that numbers lie across the ends of chunks at every offset: each is masked and
/// counted once.
#[test]
fn numbers_across_the_ends_of_large_chunks_are_counted_once() {
    for shift in 0..40 {
        let mut text = "x".repeat(shift);
        let mut cards = 0;
        while text.len() < 16_000 {
            text += match cards % 3 {
                0 => "k123: 4024000000071930; é\n",
                1 => "k4567: 4024 0000 0007 1930; é\n",
                _ => "k89012: 4024-0000-0007-1930; é\n",
            };
            cards += 1;
        }
        let mut state = State::NEW;
        let (mut done, bytes) = (0, text.as_bytes());
        while done < bytes.len() {
            let end = bytes.len().min(done + 4096);
            let mut chunk = bytes[done..end].to_vec();
            done += in_place(&mut chunk, &mut state, end < bytes.len());
        }
        assert_eq!(state.masked, cards, "{shift}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn chunks_hide_no_less(
        card in super::cards::card(), separator in proptest::sample::select(&["", " ", "-", "%20"][..]),
        before in "([a-z가 =]{0,30}[0-9]{1,20}[ .+-]?){0,12}[가=]", size in 65_usize..200,
    ) {
        let written = super::cards::printed(&card, separator);
        let text = std::format!("{before}{written}, {before}{written}");
        let cut = String::from_utf8(in_chunks(text.as_bytes(), size)).unwrap();
        prop_assert_eq!(cut.len(), text.len());
        prop_assert!(!cut.contains(&written), "{}", cut);
    }
}
