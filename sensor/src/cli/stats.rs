//! What the table and the lines know of some exchanges.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::protocol::{Exchange, Message, Role};
use crate::semantic::{self, ErrorType};

/// Digits of a duration that are kept.
const DIGITS: u8 = 2;
/// A longer duration counts as this long: the histogram's memory grows with the longest.
const LONGEST_MICROS: u64 = 3_600_000_000;

/// Counts, bytes and durations of exchanges.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Exchanges.
    pub requests: u64,
    /// Exchanges that failed.
    pub errors: u64,
    /// Bytes of the messages that came in, heads included, as far as they are known.
    pub received: u64,
    /// Bytes of the messages that went out, likewise.
    pub sent: u64,
    /// Durations in microseconds.
    micros: Histogram<u32>,
}

impl Default for Stats {
    fn default() -> Self {
        let micros = Histogram::new(DIGITS).expect("two digits are allowed");
        Self { requests: 0, errors: 0, received: 0, sent: 0, micros }
    }
}

impl Stats {
    /// Counts an exchange.
    pub fn record(&mut self, exchange: &Exchange) {
        self.requests += 1;
        self.errors += u64::from(ErrorType::of(exchange).is_some());
        let request = size(Some(exchange.request));
        let response = size(exchange.response);
        let (received, sent) = match exchange.role {
            Role::Server => (request, response),
            Role::Client => (response, request),
        };
        self.received = self.received.saturating_add(received);
        self.sent = self.sent.saturating_add(sent);
        // The saturating way to record would not let the histogram grow.
        let micros = (semantic::duration_ns(exchange) / 1_000).min(LONGEST_MICROS);
        self.micros.record(micros).expect("a histogram that resizes takes what is not too long");
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.received = self.received.saturating_add(other.received);
        self.sent = self.sent.saturating_add(other.sent);
        self.micros.add(&other.micros).expect("a histogram that resizes takes any other");
    }

    /// The duration that a share (0 to 1) of the exchanges did not exceed.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        if self.requests == 0 {
            return Duration::ZERO;
        }
        Duration::from_micros(self.micros.median_equivalent(self.micros.value_at_quantile(share)))
    }

    /// The share of exchanges that failed, 0 to 1.
    #[must_use]
    pub fn error_share(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.errors as f64 / self.requests as f64 }
    }
}

fn size(message: Option<Message>) -> u64 {
    let Some(message) = message else { return 0 };
    message.head_bytes.unwrap_or(0).saturating_add(message.body_bytes.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::fixture::exchange;

    #[test]
    fn both_sides_are_told_apart() {
        let mut stats = Stats::default();
        stats.record(&exchange());
        assert_eq!((stats.received, stats.sent), (80, 632));
        stats.record(&Exchange { role: Role::Client, status: Some(404), ..exchange() });
        assert_eq!((stats.received, stats.sent), (712, 712));
        assert_eq!((stats.requests, stats.error_share()), (2, 0.5));
    }

    #[test]
    fn quantiles_are_near_and_sums_are_sums() {
        let mut halves = [Stats::default(), Stats::default()];
        for millis in 1..=100_u64 {
            let end_ns = 1_000_000 * (millis + 1);
            halves[usize::from(millis > 50)].record(&Exchange { end_ns, ..exchange() });
        }
        let mut all = Stats::default();
        assert_eq!(all.quantile(0.5), Duration::ZERO);
        halves.iter().for_each(|half| all.add(half));
        assert_eq!(all.requests, 100);
        for (share, millis) in [(0.5, 50.0), (0.95, 95.0), (0.99, 99.0)] {
            let found = all.quantile(share).as_secs_f64() * 1e3;
            assert!((found - millis).abs() <= millis * 0.01, "{share}: {found} ms");
        }
    }

    #[test]
    fn an_endless_duration_takes_little_memory() {
        let mut stats = Stats::default();
        stats.record(&Exchange { end_ns: u64::MAX, ..exchange() });
        assert!(stats.micros.distinct_values() * size_of::<u32>() < 16 * 1024);
    }
}
