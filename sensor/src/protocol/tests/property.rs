//! Random connections: every exchange is told exactly, and under lost events every request is accounted for.

mod model;

use std::collections::HashMap;

use proptest::prelude::*;

use self::model::{Entropy, Expected, Plan, play};
use super::*;

/// A random connection is made from a list of numbers, so that a failing one shrinks.
fn entropy() -> impl Strategy<Value = Vec<u16>> {
    proptest::collection::vec(any::<u16>(), 20..600)
}

fn roles() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

fn check(expected: &Expected, exchange: &Exchange) -> Result<(), TestCaseError> {
    prop_assert_eq!(&exchange.method, &expected.method);
    prop_assert_eq!(exchange.path.as_ref(), Some(&expected.path));
    prop_assert_eq!(exchange.status, Some(expected.status));
    prop_assert_eq!(exchange.end, End::Complete);
    let response = exchange.response.expect("a response");
    prop_assert_eq!(response.body_bytes, Some(expected.response_body));
    prop_assert_eq!(exchange.request.first_ns, expected.request_ns.0);
    prop_assert_eq!((response.first_ns, response.last_ns), expected.response_ns);
    prop_assert_eq!(exchange.end_ns, expected.response_ns.1);
    if expected.is_early {
        prop_assert!(exchange.request.body_bytes.is_some_and(|bytes| bytes <= expected.request_body));
    } else {
        prop_assert_eq!(exchange.request.body_bytes, Some(expected.request_body));
        prop_assert_eq!(exchange.request.last_ns, expected.request_ns.1);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_exchange_is_told_exactly(role in roles(), is_pipelined: bool, entropy in entropy()) {
        // Pipelining behind chunked bodies that are not seen whole is not told.
        let plan = Plan {
            has_chunked_requests: !is_pipelined,
            has_chunked_responses: !is_pipelined,
            is_pipelined,
            has_traps: true,
            splits_heads: true,
        };
        let mut bench = Bench::new(role);
        let expected = play(&mut bench, plan, &mut Entropy::new(entropy), |_| false);
        let exchanges = bench.exchanges();
        prop_assert_eq!(exchanges.len(), expected.len(), "{:?}", bench.losses());
        for (expected, exchange) in expected.iter().zip(&exchanges) {
            check(expected, exchange)?;
        }
        prop_assert_eq!(bench.losses(), vec![]);
    }

    #[test]
    fn lost_events_lose_requests_by_count_and_never_mix_them(
        role in roles(),
        is_pipelined: bool,
        entropy in entropy(),
        lost in proptest::collection::vec(0_u8..100, 1..100),
        share in 0_u8..60,
    ) {
        // That a connection is pipelined must be known before something is lost on it.
        let spared = usize::from(is_pipelined);
        // In a chunked upload beyond the capture, bytes like a request's count as body, even if they are not.
        let plan = Plan {
            has_chunked_requests: false,
            has_chunked_responses: true,
            is_pipelined,
            has_traps: false,
            splits_heads: false,
        };
        let mut bench = Bench::new(role);
        let expected = play(&mut bench, plan, &mut Entropy::new(entropy), |event: usize| {
            event >= spared && lost[event % lost.len()] < share
        });
        let exchanges = bench.exchanges();
        let by_path: HashMap<_, _> = expected.iter().map(|expected| (expected.path.as_str(), expected)).collect();
        let seen = expected.iter().filter(|expected| expected.is_seen).count() as u64;
        prop_assert_eq!(exchanges.len() as u64 + bench.tracker.counts().lost_requests(), seen, "{:?}", bench.losses());
        for exchange in &exchanges {
            let expected = by_path[exchange.path.as_deref().expect("a path")];
            prop_assert!(expected.is_seen);
            prop_assert_eq!(&exchange.method, &expected.method);
            prop_assert_eq!(exchange.status, Some(expected.status));
            prop_assert_eq!(exchange.end, End::Complete);
        }
    }
}
