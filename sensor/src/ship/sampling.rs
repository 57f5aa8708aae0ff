//! Which traces leave the node.
//!
//! The decision follows OpenTelemetry's consistent probability sampling: with the rejection threshold T, a trace is
//! kept when R ≥ T, where R is the low 56 bits of its id. All nodes decide alike, so a trace is kept whole or not at
//! all, and the span carries T as `ot=th:` in its `tracestate`. A caller's threshold is honoured: T is never below it.
//!
//! Beyond that failed and slow requests are kept, within a budget. Such spans carry no threshold, as they stand for
//! themselves alone, and say so by the attribute [`KEPT`]; the rest of their trace may be missing.

use std::time::Duration;

use hashbrown::HashMap;

use super::budget::Stage;
use crate::config::ship::Traces;
use crate::identity::Observed;
use crate::semantic::{self, ErrorType};
use crate::trace::{ObservedHandshake, SpanIds};

/// The attribute that says why a span was kept that was not sampled: `error` or `slow`.
pub const KEPT: &str = "lionpay.sampling.kept";
/// R and T are below this: 56 bits.
const RANGE: u64 = 1 << 56;

/// What is decided of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Kept, with the threshold that it passed.
    Sampled(Threshold),
    /// Kept beyond the sample, for this reason.
    Kept(&'static str),
    /// Not kept.
    Dropped,
    /// It would have been kept beyond the sample, but the budget is used up.
    OverBudget,
}

/// A rejection threshold: 0 keeps all, 2^56 none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Threshold(u64);

impl Threshold {
    /// The one that keeps this share, 0 to 100.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "0 to 2^56"
    )]
    pub fn of_percent(percent: f64) -> Self {
        let rejected = (1.0 - percent.clamp(0.0, 100.0) / 100.0) * RANGE as f64;
        Self(rejected.round() as u64)
    }

    /// The one that keeps as much less as the stage asks for.
    #[must_use]
    const fn on(self, stage: Stage) -> Self {
        let kept = RANGE.saturating_sub(self.0);
        Self(match stage {
            Stage::Open => self.0,
            Stage::Saving => RANGE - kept / 2,
            Stage::Sparing | Stage::Errors | Stage::Closed => RANGE - kept / 4,
        })
    }

    /// Reads `th` of the `ot` entry of a `tracestate`.
    #[must_use]
    pub fn parse(tracestate: &str) -> Option<Self> {
        let entry = tracestate.split(',').find_map(|entry| entry.trim().strip_prefix("ot="))?;
        let digits = entry.split(';').find_map(|field| field.strip_prefix("th:"))?;
        let is_hex = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        if digits.is_empty() || digits.len() > 14 || !is_hex {
            return None;
        }
        let value = u64::from_str_radix(digits, 16).ok()?;
        Some(Self(value << (4 * (14 - digits.len()))))
    }

    /// Whether it keeps a trace whose id has these low 56 bits.
    #[must_use]
    pub const fn keeps(self, random: u64) -> bool {
        random >= self.0
    }

    /// As `tracestate` carries it: trailing zeros are left out.
    #[must_use]
    pub fn text(self) -> String {
        let digits = format!("{:014x}", self.0);
        match digits.trim_end_matches('0') {
            "" => "0".to_owned(),
            short => short.to_owned(),
        }
    }
}

/// The low 56 bits of a trace's id.
#[must_use]
pub fn random_of(trace_id: [u8; 16]) -> u64 {
    let mut low = [0; 8];
    low[1..].copy_from_slice(&trace_id[9..]);
    u64::from_be_bytes(low)
}

/// What is decided about.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Whose span it is.
    pub service_name: &'a str,
    /// Its ids.
    pub span: &'a SpanIds,
    /// Whether it failed.
    pub is_failed: bool,
    /// How long it took, in nanoseconds.
    pub duration_ns: u64,
    /// When it was over; nanoseconds of `CLOCK_MONOTONIC`.
    pub end_ns: u64,
}

impl<'a> From<&'a Observed> for Case<'a> {
    fn from(observed: &'a Observed) -> Self {
        Self {
            service_name: &observed.service_name,
            span: &observed.span,
            is_failed: ErrorType::of(&observed.exchange).is_some(),
            duration_ns: semantic::duration_ns(&observed.exchange),
            end_ns: observed.exchange.end_ns,
        }
    }
}

impl<'a> From<&'a ObservedHandshake> for Case<'a> {
    fn from(observed: &'a ObservedHandshake) -> Self {
        Self {
            service_name: &observed.identity.service_name,
            span: &observed.span,
            is_failed: observed.handshake.error.is_some(),
            duration_ns: observed.handshake.duration_ns,
            end_ns: observed.end_ns(),
        }
    }
}

/// Decides by the settings.
#[derive(Clone, Debug)]
pub struct Sampler {
    default: Threshold,
    services: HashMap<String, Threshold>,
    keep_errors: bool,
    keep_slower_ns: u64,
    budget: Budget,
}

/// A token bucket of one second's tokens.
#[derive(Clone, Debug)]
struct Budget {
    rate: u32,
    /// Below 0 when more was spent than there was.
    tokens: i64,
    filled_ns: u64,
}

impl Sampler {
    /// By these settings.
    #[must_use]
    pub fn new(settings: &Traces) -> Self {
        let services = settings.services.iter();
        Self {
            default: Threshold::of_percent(settings.sample_percent),
            services: services
                .map(|(name, percent)| (name.clone(), Threshold::of_percent(*percent)))
                .collect(),
            keep_errors: settings.keep_errors,
            keep_slower_ns: match settings.keep_slower {
                Duration::ZERO => u64::MAX,
                time => u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
            },
            budget: Budget {
                rate: settings.keep_per_second,
                tokens: i64::from(settings.keep_per_second),
                filled_ns: 0,
            },
        }
    }

    /// Decides about a request or a handshake, on a day that is as far as `stage`.
    pub fn decide<'a>(&mut self, case: impl Into<Case<'a>>, stage: Stage) -> Decision {
        let case = case.into();
        let own = self.services.get(case.service_name).copied().unwrap_or(self.default).on(stage);
        let callers = Threshold::parse(&case.span.trace_state);
        let threshold = callers.map_or(own, |callers| callers.max(own));
        if threshold.keeps(random_of(case.span.trace_id)) {
            return Decision::Sampled(threshold);
        }
        let reason = if self.keep_errors && case.is_failed {
            "error"
        } else if case.duration_ns > self.keep_slower_ns {
            "slow"
        } else {
            return Decision::Dropped;
        };
        if self.budget.take(case.end_ns) { Decision::Kept(reason) } else { Decision::OverBudget }
    }

    /// Spans that are kept for another span's sake count too: a whole trace is kept, and what is too much is taken from the
    /// seconds to come.
    pub fn spend(&mut self, spans: usize) {
        self.budget.tokens -= i64::try_from(spans).unwrap_or(i64::MAX);
    }
}

/// A `tracestate` with this threshold in its `ot` entry, which comes first as W3C Trace Context has it; without one, any
/// that was there goes: the span no longer stands for others.
#[must_use]
pub fn trace_state(before: &str, threshold: Option<Threshold>) -> String {
    let entries: Vec<&str> = before.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    let known = entries.iter().find_map(|entry| entry.strip_prefix("ot=")).unwrap_or_default();
    let fields: Vec<String> = threshold
        .map(|threshold| format!("th:{}", threshold.text()))
        .into_iter()
        .chain(
            known
                .split(';')
                .filter(|field| !field.is_empty() && !field.starts_with("th:"))
                .map(str::to_owned),
        )
        .collect();
    let own = if fields.is_empty() { String::new() } else { format!("ot={}", fields.join(";")) };
    let others = entries.into_iter().filter(|entry| !entry.starts_with("ot=")).map(str::to_owned);
    std::iter::once(own).filter(|own| !own.is_empty()).chain(others).collect::<Vec<_>>().join(",")
}

impl Budget {
    fn take(&mut self, now_ns: u64) -> bool {
        if now_ns.saturating_sub(self.filled_ns) >= 1_000_000_000 {
            self.tokens = self.tokens.saturating_add(i64::from(self.rate)).min(i64::from(self.rate));
            self.filled_ns = now_ns;
        }
        let is_left = self.tokens > 0;
        self.tokens -= i64::from(is_left);
        is_left
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metric::fixture::{exchange, observed};
    use crate::protocol::Exchange;

    fn with(exchange: Exchange, random: u64) -> Observed {
        let mut observed = observed(exchange);
        observed.span.trace_id = [7; 16];
        observed.span.trace_id[9..].copy_from_slice(&random.to_be_bytes()[1..]);
        observed
    }

    #[test]
    fn thresholds_are_written_as_the_specification_says() {
        for (percent, text) in [(100.0, "0"), (50.0, "8"), (25.0, "c"), (1.0, "fd70a3d70a3d7")] {
            let threshold = Threshold::of_percent(percent);
            let close = threshold.text();
            assert!(close.starts_with(&text[..text.len().min(6)]), "{percent}: {close}");
            assert_eq!(Threshold::parse(&format!("a=b, ot=p:1;th:{close}")), Some(threshold));
        }
        assert_eq!(Threshold::parse("ot=th:8"), Some(Threshold(1 << 55)));
        for wrong in ["", "ot=", "ot=th:", "ot=th:X", "ot=th:123456789012345", "xot=th:8", "ot=th:-1"] {
            assert_eq!(Threshold::parse(wrong), None, "{wrong}");
        }
        assert!(!Threshold::of_percent(0.0).keeps(RANGE - 1));
    }

    proptest! {
        #[test]
        fn all_nodes_decide_alike_and_the_share_is_kept(percent in 0.0_f64..=100.0, random in 0..RANGE) {
            let settings = Traces { sample_percent: percent, keep_errors: false, ..Traces::default() };
            let decide = || Sampler::new(&settings).decide(&with(exchange(), random), Stage::Open);
            prop_assert_eq!(decide(), decide());
            let kept = matches!(decide(), Decision::Sampled(_));
            #[expect(clippy::cast_precision_loss, reason = "a share")]
            let place = random as f64 / RANGE as f64;
            prop_assert!((place - (1.0 - percent / 100.0)).abs() < 1e-9 || kept == (place > 1.0 - percent / 100.0));
        }
    }

    #[test]
    fn a_callers_threshold_is_never_lowered() {
        let called = |random: u64| {
            let mut called = with(exchange(), random);
            called.span.trace_state = "x=y,ot=th:c".to_owned();
            called
        };
        let mut sampler = Sampler::new(&Traces { sample_percent: 50.0, ..Traces::default() });
        assert_eq!(sampler.decide(&called(RANGE / 10 * 6), Stage::Open), Decision::Dropped);
        assert_eq!(
            sampler.decide(&called(RANGE - 1), Stage::Open),
            Decision::Sampled(Threshold(RANGE / 4 * 3))
        );
        let mut lower = Sampler::new(&Traces { sample_percent: 10.0, ..Traces::default() });
        assert_eq!(
            lower.decide(&called(RANGE / 10 * 8), Stage::Open),
            Decision::Dropped,
            "a higher one of its own counts"
        );
    }

    #[test]
    fn the_threshold_is_written_into_what_was_there() {
        let half = Some(Threshold::of_percent(50.0));
        assert_eq!(trace_state("", half), "ot=th:8");
        assert_eq!(trace_state("a=b, ot=rv:1;th:4,c=d", half), "ot=th:8;rv:1,a=b,c=d");
        assert_eq!(trace_state("a=b,ot=th:4", None), "a=b");
        assert_eq!(trace_state("", None), "");
    }

    #[test]
    fn failures_and_slow_ones_are_kept_within_the_budget() {
        let services = [("bank".to_owned(), 100.0)].into();
        let settings = Traces { sample_percent: 0.0, services, keep_per_second: 2, ..Traces::default() };
        let mut sampler = Sampler::new(&settings);
        let failed = with(Exchange { status: Some(500), ..exchange() }, 1);
        let slow = with(Exchange { end_ns: exchange().end_ns + 3_000_000_000, ..exchange() }, 1);
        assert_eq!(sampler.decide(&with(exchange(), 1), Stage::Open), Decision::Dropped);
        assert_eq!(sampler.decide(&failed, Stage::Open), Decision::Kept("error"));
        assert_eq!(sampler.decide(&slow, Stage::Open), Decision::Kept("slow"));
        assert_eq!(
            sampler.decide(&slow, Stage::Open),
            Decision::Kept("slow"),
            "a second later there is a new budget"
        );
        assert_eq!(sampler.decide(&slow, Stage::Open), Decision::OverBudget);
        let mut other = with(exchange(), 0);
        other.service_name = "bank".into();
        assert!(matches!(sampler.decide(&other, Stage::Open), Decision::Sampled(_)));
    }
}
