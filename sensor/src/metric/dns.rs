//! Metrics of lookups by the clients of the name service.

use std::sync::Arc;

use super::flow::labels_of;
use super::group::{Group, Values};
use super::histogram::{Histogram, LATENCY, LATENCY_SLOTS};
use super::room::Room;
use super::{Labels, Sample, Source, family};
use crate::identity::Service;

/// An answered lookup.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// The process that asked; empty where it is not known.
    pub service: &'a Service,
    /// What it asked for; of a bounded number of names.
    pub name: &'a Arc<str>,
    /// The response code.
    pub code: &'static str,
    /// Why it failed; empty when it did not.
    pub error: &'static str,
}

type Key = (Service, Arc<str>, &'static str, &'static str);

/// How long lookups took.
#[derive(Debug, Default)]
pub struct LookupValues(Histogram<LATENCY_SLOTS>);

impl Values for LookupValues {
    fn sample(&self, _: usize) -> Option<Sample<'_>> {
        self.0.read(&LATENCY).map(Sample::Histogram)
    }

    fn make_native(&mut self) {
        self.0.make_native();
    }
}

/// A counter.
#[derive(Debug, Default)]
pub struct Count(u64);

impl Values for Count {
    fn sample(&self, _: usize) -> Option<Sample<'_>> {
        Some(Sample::Counter(self.0 as f64))
    }
}

/// All metrics of lookups.
pub struct DnsMetrics {
    answered: Group<Key, LookupValues>,
    unanswered: Group<(Service, Arc<str>), Count>,
}

impl DnsMetrics {
    /// Holds at most `limit` label sets for each family.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            answered: Group::new(&family::DNS, limit),
            unanswered: Group::new(&family::DNS_UNANSWERED, limit),
        }
    }

    /// With room that it shares with others.
    #[must_use]
    pub fn within(self, room: &Room) -> Self {
        Self { answered: self.answered.within(room), unanswered: self.unanswered.within(room) }
    }

    /// A question was answered after so many nanoseconds.
    pub fn answered(&mut self, lookup: &Lookup<'_>, took_ns: u64, now_ns: u64) {
        let key: Key = (lookup.service.clone(), Arc::clone(lookup.name), lookup.code, lookup.error);
        let make = || {
            let told = [
                ("service_name", (*key.0).into()),
                ("dns_question_name", (*key.1).into()),
                ("dns_response_code", key.2.into()),
                ("error_type", key.3.into()),
            ];
            (key.clone(), Labels::new(told.into_iter().chain(labels_of(&key.0))))
        };
        self.answered.values(&key, now_ns, make).0.record(&LATENCY, took_ns);
    }

    /// A question was not answered in time.
    pub fn unanswered(&mut self, service: &Service, name: &Arc<str>, now_ns: u64) {
        let key = (service.clone(), Arc::clone(name));
        let make = || {
            let told = [("service_name", (*key.0).into()), ("dns_question_name", (*key.1).into())];
            (key.clone(), Labels::new(told.into_iter().chain(labels_of(&key.0))))
        };
        self.unanswered.values(&key, now_ns, make).0 += 1;
    }

    /// Drops the series that were last written before `before_ns`, and says how many.
    pub fn expire(&mut self, before_ns: u64) -> usize {
        self.answered.expire(before_ns) + self.unanswered.expire(before_ns)
    }

    /// Label sets held and recordings that found no room, by family.
    pub fn fill(&self) -> impl Iterator<Item = (&'static family::Family, usize, u64)> {
        [
            (family::DNS[0], self.answered.len(), self.answered.folded()),
            (family::DNS_UNANSWERED[0], self.unanswered.len(), self.unanswered.folded()),
        ]
        .into_iter()
    }

    /// All families and their series.
    #[must_use]
    pub fn sources(&self) -> [&dyn Source; 2] {
        [&self.answered, &self.unanswered]
    }
}
