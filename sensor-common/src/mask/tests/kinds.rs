//! Numbers that are no cards. The daemon's tests have them too.

use std::format;
use std::string::String;

/// Numbers of each kind.
pub(super) const EACH: u64 = 20_000;

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers in every run.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from)
    }
}

/// A name, and how one is made.
pub(super) type Kind = (&'static str, fn(&mut Random) -> String);

pub(super) const KINDS: [Kind; 21] = [
    ("epoch milliseconds", |r| format!("ts={}", 1_500_000_000_000 + r.below(400_000_000_000))),
    ("epoch microseconds", |r| format!("{}", 1_500_000_000_000_000 + r.below(400_000_000_000_000))),
    ("epoch nanoseconds", |r| format!("{}", 1_500_000_000_000_000_000 + r.below(400_000_000_000_000_000))),
    ("UUID", |r| {
        let (a, b) = (r.next(), r.next());
        let c = 0x4000 | a & 0xfff;
        let d = 0x8000 | b >> 50;
        format!("{:08x}-{:04x}-{c:04x}-{d:04x}-{:012x}", a >> 32, a >> 16 & 0xffff, b & 0xffff_ffff_ffff)
    }),
    ("trace id", |r| format!("trace_id={:016x}{:016x}", r.next(), r.next())),
    ("span id", |r| format!("\"spanId\":\"{:016x}\"", r.next())),
    ("traceparent", |r| format!("00-{:016x}{:016x}-{:016x}-01", r.next(), r.next(), r.next())),
    ("order id with a date", |r| {
        format!(
            "ORD-202{}{:02}{:02}-{:06}",
            r.below(7),
            r.between(1, 13),
            r.between(1, 29),
            r.below(1_000_000)
        )
    }),
    ("order id of digits", |r| {
        format!("202{}{:02}{:02}{:08}", r.below(7), r.between(1, 13), r.between(1, 29), r.below(100_000_000))
    }),
    ("date and time of digits", |r| {
        format!(
            "202{}{:02}{:02}{:02}{:02}{:02}{:03}",
            r.below(7),
            r.between(1, 13),
            r.between(1, 29),
            r.below(24),
            r.below(60),
            r.below(60),
            r.below(1000)
        )
    }),
    ("order id of 18 digits", |r| {
        format!(
            "202{}{:02}{:02}{:010}",
            r.below(7),
            r.between(1, 13),
            r.between(1, 29),
            r.below(10_000_000_000)
        )
    }),
    ("order id of 19 digits", |r| {
        format!(
            "202{}{:02}{:02}{:011}",
            r.below(7),
            r.between(1, 13),
            r.between(1, 29),
            r.below(100_000_000_000)
        )
    }),
    ("IPv4 addresses", |r| {
        let mut octet = || r.below(256);
        format!(
            "{}.{}.{}.{}:{} -> {}.{}.{}.{}",
            octet(),
            octet(),
            octet(),
            octet(),
            443,
            octet(),
            octet(),
            octet(),
            octet()
        )
    }),
    ("IPv6 address", |r| format!("2001:db8:{:x}:{:x}::{:x}", r.below(65536), r.below(65536), r.below(65536))),
    ("SHA-256", |r| format!("{:016x}{:016x}{:016x}{:016x}", r.next(), r.next(), r.next(), r.next())),
    ("MD5", |r| format!("{:016X}{:016X}", r.next(), r.next())),
    ("amount", |r| {
        format!("amount={}.{:02} KRW {}", r.below(100_000_000), r.below(100), r.below(1_000_000_000))
    }),
    ("fraction", |r| format!("{{\"took\":0.{:016}}}", r.below(10_000_000_000_000_000))),
    ("phone number", |r| {
        format!(
            "010-{:04}-{:04} +82-10-{:04}-{:04}",
            r.below(10_000),
            r.below(10_000),
            r.below(10_000),
            r.below(10_000)
        )
    }),
    ("version", |r| {
        format!("{}.{}.{}-{}.{}", r.below(30), r.below(100), r.below(10_000), r.below(300), r.below(100))
    }),
    ("time stamp", |r| {
        format!(
            "2026-11-{:02} {:02}:{:02}:{:02}.{:06} {}",
            r.between(1, 31),
            r.below(24),
            r.below(60),
            r.below(60),
            r.below(1_000_000),
            r.below(100_000)
        )
    }),
];
