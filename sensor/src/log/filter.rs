//! Which records are told.

use std::collections::HashMap;
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use regex::RegexSet;

use super::{Names, Record, Severity};

/// A minute, over which a service's bytes are counted.
pub(super) const MINUTE_NS: u64 = 60_000_000_000;
/// Services whose bytes are counted apart; further ones are counted together.
const SERVICES: usize = 10_000;

/// What is told.
#[derive(Debug)]
pub struct Filter {
    /// The least severity; a record without one passes.
    pub floor: Option<Severity>,
    /// Records that one of these matches are left out.
    pub drop: RegexSet,
    /// Where there are any, only records that one of these matches are told.
    pub keep: RegexSet,
    /// Share of records that are told, 0 to 1.
    pub sample: f64,
    /// Bytes of body a minute and service; `None` is no limit.
    pub bytes_per_minute: Option<u64>,
    /// Services that are told.
    pub services: Names,
    budgets: HashMap<Arc<str>, Budget>,
    random: SmallRng,
}

/// Why a record is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filtered {
    /// Its service is not chosen.
    Service,
    /// It is less severe than the floor.
    Severity,
    /// A pattern of `drop` matches.
    Drop,
    /// No pattern of `keep` matches.
    Keep,
    /// Sampling left it out.
    Sample,
    /// Its service has used up its bytes of this minute.
    Bytes,
}

impl Filtered {
    /// All, in order.
    pub const ALL: [Self; 6] =
        [Self::Service, Self::Severity, Self::Drop, Self::Keep, Self::Sample, Self::Bytes];

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Severity => "severity",
            Self::Drop => "drop",
            Self::Keep => "keep",
            Self::Sample => "sample",
            Self::Bytes => "bytes_per_minute",
        }
    }
}

#[derive(Debug, Default)]
struct Budget {
    /// When its minute began.
    since_ns: u64,
    used: u64,
    dropped_records: u64,
    dropped_bytes: u64,
    /// A record of the stream, for the notice.
    last: Option<Record>,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            floor: None,
            drop: RegexSet::empty(),
            keep: RegexSet::empty(),
            sample: 1.0,
            bytes_per_minute: None,
            services: Names::default(),
            budgets: HashMap::new(),
            random: SmallRng::from_os_rng(),
        }
    }
}

impl Filter {
    /// Whether a record is told, and if not, why. `now_ns` is any clock that does not go back.
    pub fn check(&mut self, record: &Record, now_ns: u64) -> Option<Filtered> {
        if !self.services.has(&record.service_name) {
            return Some(Filtered::Service);
        }
        if let (Some(floor), Some(severity)) = (self.floor, record.severity)
            && severity < floor
        {
            return Some(Filtered::Severity);
        }
        if !self.drop.is_empty() && self.drop.is_match(&record.body) {
            return Some(Filtered::Drop);
        }
        if !self.keep.is_empty() && !self.keep.is_match(&record.body) {
            return Some(Filtered::Keep);
        }
        if self.sample < 1.0 && !self.random.random_bool(self.sample) {
            return Some(Filtered::Sample);
        }
        let limit = self.bytes_per_minute?;
        let bytes = record.body.len() as u64;
        let service = if self.budgets.len() < SERVICES || self.budgets.contains_key(&record.service_name) {
            Arc::clone(&record.service_name)
        } else {
            Arc::from("")
        };
        let budget =
            self.budgets.entry(service).or_insert_with(|| Budget { since_ns: now_ns, ..Budget::default() });
        if budget.used.saturating_add(bytes) <= limit {
            budget.used += bytes;
            return None;
        }
        budget.dropped_records += 1;
        budget.dropped_bytes += bytes;
        budget.last.get_or_insert_with(|| Record {
            body: String::new(),
            attributes: serde_json::Map::new(),
            trace_id: None,
            span_id: None,
            ..record.clone()
        });
        Some(Filtered::Bytes)
    }

    /// Ends the minutes that are over: hands on a notice for each service of which something was left out.
    pub fn turn(&mut self, now_ns: u64, time_unix_ns: u64, mut notice: impl FnMut(Record)) {
        let Some(limit) = self.bytes_per_minute else { return };
        self.budgets.retain(|_, budget| {
            if budget.since_ns.saturating_add(MINUTE_NS) > now_ns {
                return true;
            }
            let Some(last) = budget.last.take() else { return false };
            notice(Record {
                time_unix_ns,
                observed_time_unix_ns: time_unix_ns,
                severity: Some(Severity::WARN),
                body: format!(
                    "sensor: {} records ({} bytes) of this service were left out in the last minute: more than \
                     logs.bytes_per_minute ({limit})",
                    budget.dropped_records, budget.dropped_bytes
                ),
                is_cut: false,
                ..last
            });
            false
        });
    }
}
