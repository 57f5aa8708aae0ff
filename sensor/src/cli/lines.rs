//! One line a service, when standard output is not a terminal.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::display::{duration, percent, quoted};
use super::stats::Stats;
use crate::identity::Observed;
use crate::protocol::Role;
use crate::semantic;

/// The time between two sets of lines.
pub const INTERVAL: Duration = Duration::from_secs(10);
/// Services and roles kept in one interval; further ones become the service [`OTHER`].
pub const SERVICES_MAX: usize = 1_000;
/// The service of what found no room.
pub const OTHER: &str = "other";

/// The exchanges of the current interval.
pub struct Lines {
    services: HashMap<(Arc<str>, Role), Stats>,
    since: Instant,
}

impl Lines {
    /// Starts the first interval at `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { services: HashMap::new(), since: now }
    }

    /// Counts an exchange.
    pub fn record(&mut self, observed: &Observed) {
        let exchange = &observed.exchange;
        let mut key = (Arc::clone(&observed.service_name), exchange.role);
        if self.services.len() >= SERVICES_MAX && !self.services.contains_key(&key) {
            key.0 = OTHER.into();
        }
        self.services.entry(key).or_default().record(exchange);
    }

    /// Ends the interval, which may be a shorter one, and gives its lines: the busiest service first, each with a
    /// line feed. Empty when nothing happened.
    pub fn flush(&mut self, now: Instant) -> String {
        let seconds = now.saturating_duration_since(self.since).as_secs_f64().max(f64::MIN_POSITIVE);
        self.since = now;
        let mut services: Vec<_> = std::mem::take(&mut self.services).into_iter().collect();
        services.sort_unstable_by(|(a, x), (b, y)| y.requests.cmp(&x.requests).then_with(|| a.cmp(b)));
        let mut text = String::new();
        for ((service, role), stats) in services {
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "service={} role={} requests={} rate={:.1}/s p50={} p95={} p99={} errors={} received={} sent={}",
                quoted(&service),
                semantic::role_name(role),
                stats.requests,
                stats.requests as f64 / seconds,
                duration(stats.quantile(0.5)),
                duration(stats.quantile(0.95)),
                duration(stats.quantile(0.99)),
                percent(stats.error_share()),
                stats.received,
                stats.sent,
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::fixture::{exchange, observed};
    use crate::protocol::Exchange;

    fn of(service: &str, exchange: Exchange) -> Observed {
        Observed { service_name: service.into(), ..observed(exchange) }
    }

    #[test]
    fn a_service_has_a_line() {
        let now = Instant::now();
        let mut lines = Lines::new(now);
        for _ in 0..123 {
            lines.record(&of("nginx", exchange()));
        }
        lines.record(&of("my shop\u{1b}", Exchange { role: Role::Client, status: Some(404), ..exchange() }));
        let expected = "\
service=nginx role=server requests=123 rate=12.3/s p50=6.00ms p95=6.00ms p99=6.00ms errors=0.0% received=9840 sent=77736
service=\"my shop\\u{1b}\" role=client requests=1 rate=0.1/s p50=6.00ms p95=6.00ms p99=6.00ms errors=100% received=632 sent=80
";
        assert_eq!(lines.flush(now + INTERVAL), expected);
        assert_eq!(lines.flush(now + 2 * INTERVAL), "", "what was told is not told again");
    }

    #[test]
    fn a_short_interval_has_its_own_rate() {
        let now = Instant::now();
        let mut lines = Lines::new(now);
        lines.record(&of("nginx", exchange()));
        lines.flush(now + INTERVAL);
        lines.record(&of("nginx", exchange()));
        assert!(lines.flush(now + INTERVAL + Duration::from_millis(500)).contains(" rate=2.0/s "));
    }

    #[test]
    fn services_are_bounded() {
        let now = Instant::now();
        let mut lines = Lines::new(now);
        for service in 0..SERVICES_MAX + 5 {
            lines.record(&of(&service.to_string(), exchange()));
        }
        let text = lines.flush(now + INTERVAL);
        assert_eq!(text.lines().count(), SERVICES_MAX + 1);
        assert!(text.starts_with("service=other role=server requests=5 "), "{text}");
    }
}
