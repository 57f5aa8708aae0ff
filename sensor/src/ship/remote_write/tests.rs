use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::identity::Observed;
use crate::metric::fixture::{exchange, observed};
use crate::metric::{Registry, Shared, text};

const BATCH: usize = 50;

fn registry(routes: usize) -> Shared {
    let mut registry = Registry::new(10_000);
    for route in 0..routes {
        registry.record(&Observed { route: format!("/{route}").into(), ..observed(exchange()) });
    }
    registry.refresh().unwrap();
    Shared::new(registry)
}

fn external() -> External {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    External::new([pair("cluster", "seoul"), pair("node", "n1"), pair("empty", ""), pair("zone", "a")])
}

fn collect(collector: &mut Collector, registry: &Shared, now_ms: i64) -> Vec<Collected> {
    let mut all = Vec::new();
    collector.collect(registry, now_ms, |collected| all.push(collected));
    all
}

/// Series as the text exposition names them, without the external labels.
fn named(requests: &[Collected]) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    for series in requests.iter().flat_map(|collected| to_v1(&collected.request).unwrap().timeseries) {
        let name = &series.labels.iter().find(|label| label.name == "__name__").unwrap().value;
        let inner = series
            .labels
            .iter()
            .filter(|label| !["__name__", "cluster", "node", "zone"].contains(&label.name.as_str()));
        // In the text `le` stands last.
        let (le, others): (Vec<_>, Vec<_>) = inner.partition(|label| label.name == "le");
        let pairs: Vec<String> =
            others.into_iter().chain(le).map(|label| format!("{}=\"{}\"", label.name, label.value)).collect();
        let full = if pairs.is_empty() { name.clone() } else { format!("{name}{{{}}}", pairs.join(",")) };
        let [sample] = &series.samples[..] else { panic!("{full} has not one sample") };
        assert!(all.insert(full.clone(), sample.value).is_none(), "{full} is there twice");
    }
    all
}

#[test]
fn what_is_sent_is_what_the_text_says() {
    let registry = registry(20);
    let mut collector = Collector::new(external(), BATCH, 1_000);
    let requests = collect(&mut collector, &registry, 60_000);
    assert!(requests.len() > 3, "{} requests", requests.len());
    let text = text::exposition(&registry.lock());
    let expected: BTreeMap<String, f64> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect();
    let sent = named(&requests);
    assert_eq!(sent, expected);
    assert_eq!(collector.active(), sent.len() as u64);
}

#[test]
fn every_request_is_as_the_specification_says() {
    let registry = registry(20);
    let mut collector = Collector::new(external(), BATCH, 1_000);
    for collected in collect(&mut collector, &registry, 60_000) {
        let request = collected.request;
        assert_eq!(request.symbols[0], "");
        let distinct: BTreeSet<&String> = request.symbols.iter().collect();
        assert_eq!(distinct.len(), request.symbols.len(), "a symbol is there twice");
        let samples: usize = request.timeseries.iter().map(|series| series.samples.len()).sum();
        assert_eq!(samples, collected.samples as usize);
        let first = to_v1(&request).unwrap();
        for (series, second) in first.timeseries.iter().zip(&request.timeseries) {
            let names: Vec<&str> = series.labels.iter().map(|label| label.name.as_str()).collect();
            assert!(names.is_sorted_by(|a, b| a < b), "sorted and none twice: {names:?}");
            assert!(series.labels.iter().all(|label| !label.value.is_empty()));
            assert!(names.contains(&"cluster") && names.contains(&"node") && names.contains(&"__name__"));
            assert_eq!(second.samples[0].timestamp, 60_000);
            let is_gauge = second.metadata.unwrap().r#type == v2::GAUGE;
            assert_eq!(second.samples[0].start_timestamp, if is_gauge { 0 } else { 1_000 });
        }
        assert!(first.metadata.iter().all(|metadata| !metadata.metric_family_name.ends_with("_bucket")));
    }
}

#[test]
fn a_series_that_ends_gets_one_marker() {
    let shared = registry(2);
    let mut collector = Collector::new(external(), BATCH, 1_000);
    let before = named(&collect(&mut collector, &shared, 60_000));
    shared.lock().record(&Observed {
        route: "/new".into(),
        ..observed(crate::protocol::Exchange { end_ns: exchange().end_ns + 2, ..exchange() })
    });
    // Each of two routes has a label set of the exchanges and one of the spans.
    assert_eq!(shared.lock().expire(exchange().end_ns + 1), 4);
    let after = collect(&mut collector, &shared, 120_000);
    let is_stale = |value: &f64| value.to_bits() == STALE.to_bits();
    let ended: Vec<String> =
        named(&after).into_iter().filter(|(_, value)| is_stale(value)).map(|(name, _)| name).collect();
    let expected: Vec<String> =
        before.into_keys().filter(|name| name.contains("/0\"") || name.contains("/1\"")).collect();
    assert_eq!(ended, expected);
    let starts: BTreeSet<i64> = after
        .iter()
        .flat_map(|collected| &collected.request.timeseries)
        .filter(|series| !is_stale(&series.samples[0].value))
        .map(|series| series.samples[0].start_timestamp)
        .collect();
    assert_eq!(starts, BTreeSet::from([0, 1_000, 60_000]), "a new series began after the last collection");
    let third = named(&collect(&mut collector, &shared, 180_000));
    assert!(!third.values().any(is_stale), "a marker is sent once");
    let mut last = Vec::new();
    collector.end_all(240_000, |collected| last.push(collected));
    let last = named(&last);
    assert_eq!(last.keys().collect::<Vec<_>>(), third.keys().collect::<Vec<_>>());
    assert!(last.values().all(is_stale));
    assert_eq!(collector.active(), 0);
}

#[test]
fn a_request_is_split_without_a_loss() {
    let registry = registry(3);
    let mut collector = Collector::new(external(), usize::MAX, 0);
    let [collected] = &collect(&mut collector, &registry, 1)[..] else { panic!("one request") };
    let whole = to_v1(&collected.request).unwrap();
    let halves = split(collected.request.clone()).unwrap().map(|half| to_v1(&half).unwrap().timeseries);
    assert!(halves[0].len().abs_diff(halves[1].len()) <= 1);
    assert_eq!(halves.concat(), whole.timeseries);
    let one =
        v2::Request { timeseries: collected.request.timeseries[..1].to_vec(), ..collected.request.clone() };
    assert!(split(one).is_none());
}

#[test]
fn a_reference_to_nowhere_is_refused() {
    let series = v2::TimeSeries { labels_refs: vec![0, 7], ..v2::TimeSeries::default() };
    assert!(to_v1(&v2::Request { symbols: vec![String::new()], timeseries: vec![series] }).is_none());
    let series = v2::TimeSeries { labels_refs: vec![0], ..v2::TimeSeries::default() };
    assert!(to_v1(&v2::Request { symbols: vec![String::new()], timeseries: vec![series] }).is_none());
}

#[test]
fn what_is_not_selected_any_more_ends() {
    let registry = registry(3);
    let mut collector = Collector::new(external(), 100_000, 0);
    let names = |requests: &[Collected], is_stale: bool| -> BTreeSet<String> {
        let all = named(requests).into_iter();
        all.filter(|(_, value)| (value.to_bits() == STALE.to_bits()) == is_stale)
            .map(|(name, _)| name)
            .collect()
    };
    let before = names(&collect(&mut collector, &registry, 1_000), false);
    let drop = vec!["http_server_*".to_owned()];
    collector.select(Selection::new(&crate::config::ship::Metrics { drop, ..Default::default() }).unwrap());
    let requests = collect(&mut collector, &registry, 2_000);
    let is_dropped = |name: &String| name.starts_with("http_server_");
    assert!(!names(&requests, false).iter().any(is_dropped));
    let dropped: BTreeSet<String> = before.into_iter().filter(is_dropped).collect();
    assert!(!dropped.is_empty());
    assert_eq!(names(&requests, true), dropped);
    assert!(names(&collect(&mut collector, &registry, 3_000), true).is_empty());
}
