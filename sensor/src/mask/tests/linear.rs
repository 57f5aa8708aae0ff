//! Eight times the text takes about eight times as long, whatever it holds.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::*;

const SHORT: usize = 25_000;
const TIMES: usize = 8;
/// Rounds, of which the quickest of each length counts, in time of the processor.
const ROUNDS: usize = 7;

/// What the rules like least: digits and separators without an end, matches that are refused, quotes that are not closed.
const PATTERNS: [&str; 16] = [
    "7",
    "4111111111111111",
    "4 ",
    "4111 1111 1111 1111 ",
    "1-2.",
    "%2",
    "%20",
    "010-1234-56789-",
    "900101-12345678-",
    "a@",
    "a.b@c.",
    "password=\"\\\"",
    "cookie: ",
    "eyJ",
    ",**",
    "\u{ff14}",
];

#[test]
fn time_is_linear_in_the_length() {
    let masker = masker();
    for pattern in PATTERNS {
        let short: String = pattern.chars().cycle().take(SHORT).collect();
        let long: String = pattern.chars().cycle().take(SHORT * TIMES).collect();
        let time = |text: &str| {
            let start = thread_time();
            std::hint::black_box(masker.text(std::hint::black_box(text)));
            thread_time() - start
        };
        let (mut of_short, mut of_long) = (Duration::MAX, Duration::MAX);
        for _ in 0..ROUNDS {
            of_short = of_short.min(time(&short));
            of_long = of_long.min(time(&long));
        }
        let ratio = of_long.as_secs_f64() / of_short.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let most = 2.5 * TIMES as f64;
        assert!(ratio < most, "{pattern:?}: {of_short:?}, then {of_long:?}");
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.try_into().unwrap())
}
