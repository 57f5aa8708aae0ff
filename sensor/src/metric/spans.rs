//! Span metrics, under the names that Tempo's metrics generator gives them and Application Observability reads. They
//! are made of every exchange, whatever of them is sampled.

use std::borrow::Cow;

use hashbrown::Equivalent;

use super::group::{Group, Values};
use super::histogram::{DURATION, DURATION_SLOTS, Histogram};
use super::labels::sanitise;
use super::room::Room;
use super::{Exemplar, Labels, Sample, family};
use crate::identity::Observed;
use crate::protocol::Role;
use crate::semantic::{self, ErrorType};
use crate::trace;

/// The spans of all services.
pub struct SpanMetrics {
    /// By name of the span.
    pub spans: Group<Key<Box<str>>, SpanValues>,
    /// The services.
    pub targets: Group<Box<str>, Target>,
}

/// What tells one label set from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key<S> {
    job: S,
    service: S,
    name: S,
    role: Role,
    is_failed: bool,
}

impl Equivalent<Key<Box<str>>> for Key<&str> {
    fn equivalent(&self, key: &Key<Box<str>>) -> bool {
        self.role == key.role
            && self.is_failed == key.is_failed
            && self.job == &*key.job
            && self.service == &*key.service
            && self.name == &*key.name
    }
}

/// What is kept of the spans of one label set, in the order of [`family::SPANS`].
#[derive(Debug, Default)]
pub struct SpanValues {
    calls: u64,
    latency: Histogram<DURATION_SLOTS>,
}

impl Values for SpanValues {
    fn sample(&self, family: usize) -> Option<Sample<'_>> {
        match family {
            0 => Some(Sample::Counter(self.calls as f64)),
            1 => self.latency.read(&DURATION).map(Sample::Histogram),
            _ => None,
        }
    }

    fn make_native(&mut self) {
        self.latency.make_native();
    }
}

/// A service that there is.
#[derive(Debug, Default)]
pub struct Target;

impl Values for Target {
    fn sample(&self, family: usize) -> Option<Sample<'_>> {
        (family == 0).then_some(Sample::Gauge(1.0))
    }
}

impl SpanMetrics {
    /// Holds at most `limit` label sets for each family.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { spans: Group::new(&family::SPANS, limit), targets: Group::new(&family::TARGETS, limit) }
    }

    /// With room that it shares with others.
    #[must_use]
    pub fn within(self, room: &Room) -> Self {
        Self { spans: self.spans.within(room), targets: self.targets.within(room) }
    }

    /// Counts the span of an exchange.
    pub fn record(&mut self, observed: &Observed) {
        let exchange = &observed.exchange;
        with_key(observed, |key| {
            let values = self.spans.values(key, exchange.end_ns, || (key.to_owned(), key.labels()));
            values.calls += 1;
            values.latency.record(&DURATION, semantic::duration_ns(exchange));
            self.targets.values(key.job, exchange.end_ns, || {
                let labels = [("job", Cow::Borrowed(key.job)), ("service_name", Cow::Borrowed(key.service))];
                (key.job.into(), Labels::new(labels))
            });
        });
    }

    /// Notes an exemplar of an exchange that was recorded.
    pub fn exemplar(&mut self, observed: &Observed, exemplar: Exemplar) {
        with_key(observed, |key| {
            if let Some(values) = self.spans.known(key) {
                values.latency.note(exemplar);
            }
        });
    }

    /// Drops the series that were last written before `before_ns`, and says how many.
    pub fn expire(&mut self, before_ns: u64) -> usize {
        self.spans.expire(before_ns) + self.targets.expire(before_ns)
    }
}

fn with_key(observed: &Observed, then: impl FnOnce(&Key<&str>)) {
    let exchange = &observed.exchange;
    let service = sanitise(&observed.service_name);
    let job = match observed.workload().map(|workload| &*workload.service_namespace) {
        Some(namespace) if !namespace.is_empty() => format!("{namespace}/{service}"),
        _ => service.to_string(),
    };
    let job = sanitise(&job);
    let name = trace::span_name(observed);
    let name = sanitise(&name);
    let is_failed = ErrorType::of(exchange).is_some();
    let key = Key { job: &*job, service: &*service, name: &*name, role: exchange.role, is_failed };
    then(&key);
}

impl Key<&str> {
    fn to_owned(&self) -> Key<Box<str>> {
        Key {
            job: self.job.into(),
            service: self.service.into(),
            name: self.name.into(),
            role: self.role,
            is_failed: self.is_failed,
        }
    }

    /// As Tempo writes them: `job` is `namespace/service`, or the service where no namespace is known.
    fn labels(&self) -> Labels {
        let kind = match self.role {
            Role::Server => "SPAN_KIND_SERVER",
            Role::Client => "SPAN_KIND_CLIENT",
        };
        let status = if self.is_failed { "STATUS_CODE_ERROR" } else { "STATUS_CODE_UNSET" };
        Labels::new([
            ("job", self.job.into()),
            ("service", self.service.into()),
            ("span_kind", kind.into()),
            ("span_name", self.name.into()),
            ("status_code", status.into()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Source as _;
    use crate::metric::fixture::{exchange, observed};
    use crate::protocol::Exchange;

    #[test]
    fn every_exchange_is_a_call_of_its_span() {
        let mut metrics = SpanMetrics::new(10);
        metrics.record(&observed(exchange()));
        metrics.record(&observed(exchange()));
        metrics.record(&observed(Exchange { status: Some(500), ..exchange() }));
        metrics.record(&observed(Exchange { role: Role::Client, ..exchange() }));
        let read: Vec<String> = (0..metrics.spans.slots())
            .map(|slot| {
                let (labels, sample) = metrics.spans.read(0, slot).unwrap();
                let (_, latency) = metrics.spans.read(1, slot).unwrap();
                let (Sample::Counter(calls), Sample::Histogram(latency)) = (sample, latency) else {
                    panic!("{sample:?}")
                };
                let values: Vec<&str> = labels.iter().map(|(_, value)| value).collect();
                format!("{} {calls} {}", values.join(","), latency.count())
            })
            .collect();
        let expected = [
            "shop,shop,SPAN_KIND_SERVER,GET /items/{id},STATUS_CODE_UNSET 2 2",
            "shop,shop,SPAN_KIND_SERVER,GET /items/{id},STATUS_CODE_ERROR 1 1",
            "shop,shop,SPAN_KIND_CLIENT,GET,STATUS_CODE_UNSET 1 1",
        ];
        assert_eq!(read, expected);
        let (labels, sample) = metrics.targets.read(0, 0).unwrap();
        assert_eq!((labels.get("job"), sample), ("shop", Sample::Gauge(1.0)));
        assert_eq!(metrics.targets.len(), 1);
        assert_eq!(metrics.expire(u64::MAX), 4);
    }
}
