//! Eight times the text takes about eight times as long, whatever it holds, in both layers.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use sensor_common::mask::{State, in_place};

use super::*;

const TIMES: usize = 8;
/// Rounds, of which the quickest of each length counts, in time of the processor.
const ROUNDS: usize = 5;
/// Bytes of a chunk of a write, as the kernel masks it.
const CHUNK: usize = 4096;

/// What the rules like least: digits and separators without an end, matches that are refused, quotes that are not closed,
/// bytes that are no UTF-8.
const PATTERNS: [&[u8]; 20] = [
    b"7",
    b"4111111111111111",
    b"4 ",
    b"4111 1111 1111 1111 ",
    b"1-2.",
    b"%2",
    b"%20",
    b"010-1234-56789-",
    b"900101-12345678-",
    b"a@",
    b"a.b@c.",
    b"password=\"\\\"",
    b"cookie: ",
    b"eyJ",
    b",**",
    "\u{ff14}".as_bytes(),
    b"x",
    b"\xff",
    b"\xff4111111111111111\xc3",
    b"\xef\xbc",
];

/// Of what a line of a mebibyte is: text without anything, digits, cards, and no text at all.
const LINES: [&[u8]; 4] = [b"x", b"7", b"4111111111111111, ", b"\xff"];

/// Compares the time that a text takes with that of one [`TIMES`] as long, in alternating rounds.
#[track_caller]
fn is_linear(pattern: &[u8], long: usize, work: impl Fn(&[u8])) {
    let long: Vec<u8> = pattern.iter().copied().cycle().take(long).collect();
    let short = &long[..long.len() / TIMES];
    let time = |text: &[u8]| {
        let start = thread_time();
        work(std::hint::black_box(text));
        thread_time() - start
    };
    let (mut of_short, mut of_long) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        of_short = of_short.min(time(short));
        of_long = of_long.min(time(&long));
    }
    let ratio = of_long.as_secs_f64() / of_short.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let most = 2.5 * TIMES as f64;
    let name = String::from_utf8_lossy(pattern);
    assert!(ratio < most, "{name:?}: {of_short:?}, then {of_long:?}");
}

#[test]
fn time_is_linear_in_the_length() {
    let masker = masker();
    for pattern in PATTERNS {
        is_linear(pattern, 100_000, |text| {
            std::hint::black_box(masker.bytes(text));
        });
    }
    for pattern in LINES {
        is_linear(pattern, 1 << 20, |text| {
            std::hint::black_box(masker.bytes(text));
        });
    }
}

#[test]
fn time_is_linear_in_the_kernels_layer() {
    for pattern in PATTERNS {
        // In chunks, each read from where the one before was done.
        is_linear(pattern, 200_000, |text| {
            let (mut state, mut done) = (State::NEW, 0);
            while done < text.len() {
                let end = text.len().min(done + CHUNK);
                done += in_place(&mut text[done..end].to_vec(), &mut state, end < text.len());
            }
        });
    }
    for pattern in LINES {
        is_linear(pattern, 1 << 20, |text| {
            in_place(&mut text.to_vec(), &mut State::NEW.clone(), false);
        });
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.try_into().unwrap())
}
