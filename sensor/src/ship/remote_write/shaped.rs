//! The series of a metric whose labels rules change, or that has a limit of its own.
//!
//! Several label sets may become one series. It is not the sum of what there is now: a label set that ends would take
//! its counts out of it, and the receiver would take that for a counter that starts anew. What each label set has counted
//! since the last collection is added to it, so a series goes on for as long as one of its label sets lives.
//!
//! A label set stays with the series that it went to first, so that nothing is counted in two.

use hashbrown::{HashMap, HashSet};

use super::rules::FamilyRules;
use super::total::Total;
use crate::metric::worst::Worst;
use crate::metric::{Family, Labels, Sample};

/// It holds the labels and the last values of each label set, and those of each series.
#[derive(Debug)]
pub(super) struct Shaped {
    family: &'static Family,
    rules: FamilyRules,
    parts: HashMap<Labels, Part>,
    places: HashMap<Labels, usize>,
    series: Vec<Option<Series>>,
    free: Vec<usize>,
    other: Labels,
    folded: u64,
}

/// A label set of the registry.
#[derive(Debug)]
struct Part {
    place: usize,
    last: Total,
    round: u64,
}

#[derive(Debug)]
struct Series {
    labels: Labels,
    total: Total,
    parts: usize,
    round: u64,
}

impl Shaped {
    pub(super) fn new(family: &'static Family, rules: FamilyRules) -> Self {
        let other = rules.other(family);
        Self {
            family,
            rules,
            parts: HashMap::new(),
            places: HashMap::new(),
            series: Vec::new(),
            free: Vec::new(),
            other,
            folded: 0,
        }
    }

    pub(super) fn rules(&self) -> &FamilyRules {
        &self.rules
    }

    /// Label sets that went to `other`, since the rules are these.
    pub(super) fn folded(&self) -> u64 {
        self.folded
    }

    /// Takes what a label set says in a round.
    pub(super) fn add(&mut self, labels: &Labels, sample: Sample<'_>, round: u64) {
        if let Some(part) = self.parts.get_mut(labels) {
            if let Some(Some(series)) = self.series.get_mut(part.place) {
                series.total.add(self.family, Some(&part.last), sample, series.round != round);
                series.round = round;
            }
            part.last.set(sample);
            part.round = round;
            return;
        }
        let place = self.place(labels, sample);
        if let Some(Some(series)) = self.series.get_mut(place) {
            // A new series is as its first label set is.
            if series.parts > 0 {
                series.total.add(self.family, None, sample, series.round != round);
            }
            series.parts += 1;
            series.round = round;
        }
        self.parts.insert(labels.clone(), Part { place, last: Total::of(sample), round });
    }

    fn place(&mut self, labels: &Labels, sample: Sample<'_>) -> usize {
        let mut shaped = self.rules.apply(labels);
        if let Some(place) = self.places.get(&shaped) {
            return *place;
        }
        let others = self.places.len() - usize::from(self.places.contains_key(&self.other));
        let is_native = matches!(sample, Sample::Histogram(reading) if reading.native.is_some());
        let series = (others as u64 + 1).saturating_mul(self.family.series(is_native));
        if shaped != self.other && self.rules.limit.is_some_and(|limit| series > limit) {
            self.folded += 1;
            if let Some(place) = self.places.get(&self.other) {
                return *place;
            }
            shaped = self.other.clone();
        }
        let series = Series { labels: shaped.clone(), total: Total::of(sample), parts: 0, round: 0 };
        let place = match self.free.pop() {
            Some(place) => {
                self.series[place] = Some(series);
                place
            }
            None => {
                self.series.push(Some(series));
                self.series.len() - 1
            }
        };
        self.places.insert(shaped, place);
        place
    }

    /// Ends what was not told in this round.
    pub(super) fn end(&mut self, round: u64) {
        let Self { parts, places, series, free, .. } = self;
        parts.retain(|_, part| {
            let is_there = part.round == round;
            if !is_there && let Some(of_part) = series.get_mut(part.place) {
                if let Some(of_part) = of_part {
                    of_part.parts -= 1;
                }
                if let Some(ended) = of_part.take_if(|series| series.parts == 0) {
                    places.remove(&ended.labels);
                    free.push(part.place);
                }
            }
            is_there
        });
    }

    /// The series, with their values.
    pub(super) fn series(&self) -> impl Iterator<Item = (&Labels, Sample<'_>)> {
        self.series.iter().flatten().map(|series| (&series.labels, series.total.sample()))
    }

    /// The label with the most values, after the rules and before the limit.
    pub(super) fn worst(&self) -> Option<Worst> {
        let sets: Vec<Labels> = self.parts.keys().map(|labels| self.rules.apply(labels)).collect();
        let of_label = |label: &&'static str| {
            let values: HashSet<&str> = sets.iter().map(|labels| labels.get(label)).collect();
            Worst { metric: self.family.name, label, values: values.len() }
        };
        self.family.labels.iter().map(of_label).max_by_key(|worst| worst.values)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Collected, Collector, External, STALE, Selection, to_v1};
    use crate::config::Config;
    use crate::identity::Observed;
    use crate::metric::fixture::{exchange, observed};
    use crate::metric::{Registry, Shared};
    use crate::protocol::Exchange;

    const COUNT: &str = "http_server_request_duration_seconds_count";
    const SUM: &str = "http_server_request_duration_seconds_sum";
    const BUCKET: &str = "http_server_request_duration_seconds_bucket";

    /// A node whose exchanges a collector reads.
    struct Node {
        registry: Shared,
        collector: Collector,
        now_ms: i64,
    }

    impl Node {
        fn new(yaml: &str) -> Self {
            let registry = Shared::new(Registry::new(1_000).span_metrics(false));
            let mut node =
                Self { registry, collector: Collector::new(External::default(), 100_000, 0), now_ms: 0 };
            node.select(yaml);
            node
        }

        fn select(&mut self, yaml: &str) {
            let config = Config::parse(&format!("ship: {{metrics: {yaml}}}"), "sensor.yaml").unwrap();
            config.validate().unwrap();
            self.collector.select(Selection::new(&config.ship.metrics).unwrap());
        }

        /// A request to a route that ends at this time.
        fn request(&self, route: &str, end_ns: u64) {
            let exchange = Exchange { end_ns, ..exchange() };
            self.registry.lock().record(&Observed { route: route.into(), ..observed(exchange) });
        }

        /// The series of a name at the next collection, by their routes; a marker is NaN.
        fn collect(&mut self, name: &str) -> BTreeMap<String, f64> {
            self.now_ms += 1_000;
            let mut all = Vec::new();
            self.collector.collect(&self.registry, self.now_ms, |collected| all.push(collected));
            assert_distinct(&all);
            let series = all.iter().flat_map(|collected| to_v1(&collected.request).unwrap().timeseries);
            let of = |series: &super::super::v1::TimeSeries, label: &str| {
                let found = series.labels.iter().find(|known| known.name == label);
                found.map(|label| label.value.clone()).unwrap_or_default()
            };
            series
                .filter(|series| of(series, "__name__") == name)
                .map(|series| (of(&series, "http_route") + &of(&series, "le"), series.samples[0].value))
                .collect()
        }
    }

    /// No series is there twice.
    fn assert_distinct(all: &[Collected]) {
        let mut seen = std::collections::BTreeSet::new();
        for series in all.iter().flat_map(|collected| to_v1(&collected.request).unwrap().timeseries) {
            let text = format!("{:?}", series.labels);
            assert!(seen.insert(text.clone()), "{text} is there twice");
        }
    }

    fn is(pairs: &[(&str, f64)]) -> BTreeMap<String, f64> {
        pairs.iter().map(|(route, value)| ((*route).to_owned(), *value)).collect()
    }

    const DROP: &str = "{labels: [{metrics: ['http_*'], labels: [http_route]}]}";

    #[test]
    fn series_that_become_equal_are_added_up() {
        let mut node = Node::new(DROP);
        let end = exchange().end_ns;
        for route in ["/a", "/b", "/b"] {
            node.request(route, end);
        }
        assert_eq!(node.collect(COUNT), is(&[("", 3.0)]));
        assert_eq!(node.collect(SUM), is(&[("", 0.018)]));
        let buckets = node.collect(BUCKET);
        assert_eq!((buckets["0.005"], buckets["0.01"], buckets["+Inf"]), (0.0, 3.0, 3.0));
    }

    #[test]
    fn a_label_set_that_ends_does_not_take_its_counts_along() {
        let mut node = Node::new(DROP);
        let end = exchange().end_ns;
        for _ in 0..5 {
            node.request("/a", end);
        }
        node.request("/b", end + 10);
        assert_eq!(node.collect(COUNT), is(&[("", 6.0)]));
        assert_eq!(node.registry.lock().expire(end + 5), 1);
        assert_eq!(node.collect(COUNT), is(&[("", 6.0)]), "it does not look like a counter that starts anew");
        node.request("/a", end + 10);
        node.request("/b", end + 10);
        assert_eq!(node.collect(COUNT), is(&[("", 8.0)]));
        node.registry.lock().expire(u64::MAX);
        let ended = node.collect(COUNT);
        assert_eq!(ended[""].to_bits(), STALE.to_bits(), "the last one ends it");
        node.request("/c", end + 20);
        assert_eq!(node.collect(COUNT), is(&[("", 1.0)]));
    }

    #[test]
    fn gauges_are_added_up_and_states_are_not() {
        let mut node = Node::new("{labels: [{labels: ['*']}]}");
        {
            let mut registry = node.registry.lock();
            registry.own().set(&crate::metric::family::MAP_ENTRIES, &["a"], 3.0);
            registry.own().set(&crate::metric::family::MAP_ENTRIES, &["b"], 4.0);
            registry.own().set(&crate::metric::family::RING_FILL, &["a"], 0.25);
            registry.own().set(&crate::metric::family::RING_FILL, &["b"], 0.75);
        }
        for _ in 0..2 {
            assert_eq!(node.collect("sensor_map_entries"), is(&[("", 7.0)]));
            assert_eq!(node.collect("sensor_ring_fill_ratio"), is(&[("", 0.75)]));
        }
    }

    #[test]
    fn a_metric_has_no_more_series_than_its_limit() {
        // 17 series a label set.
        let mut node =
            Node::new("{limits: [{metrics: [http_server_request_duration_seconds], max_series: 40}]}");
        let end = exchange().end_ns;
        for (route, count) in [("/a", 1), ("/b", 2), ("/c", 3), ("/d", 4)] {
            for _ in 0..count {
                node.request(route, end);
            }
        }
        assert_eq!(node.collect(COUNT), is(&[("/a", 1.0), ("/b", 2.0), ("other", 7.0)]));
        let first = "http_server_time_to_first_byte_seconds_count";
        assert_eq!(node.collect(first).len(), 4, "the others have no limit");
        let folded: Vec<_> = node.collector.folded().collect();
        assert_eq!(folded, [("http_server_request_duration_seconds", 2)]);
        let worst = node.collector.worst(folded[0].0).unwrap();
        assert_eq!((worst.label, worst.values), ("http_route", 4));

        // Room that comes free is for what is new; what was folded stays where its counts are.
        node.request("/b", end + 10);
        node.request("/c", end + 10);
        node.request("/d", end + 10);
        node.registry.lock().expire(end + 5);
        let now = node.collect(COUNT);
        assert!(now["/a"].is_nan());
        assert_eq!((now["/b"], now["other"]), (3.0, 9.0));
        node.request("/e", end + 10);
        assert_eq!(node.collect(COUNT), is(&[("/b", 3.0), ("/e", 1.0), ("other", 9.0)]));
    }

    #[test]
    fn other_rules_begin_the_series_anew() {
        let mut node = Node::new("{}");
        let end = exchange().end_ns;
        node.request("/a", end);
        node.request("/b", end);
        assert_eq!(node.collect(COUNT), is(&[("/a", 1.0), ("/b", 1.0)]));
        node.select(DROP);
        let now = node.collect(COUNT);
        assert!(now["/a"].is_nan() && now["/b"].is_nan());
        assert_eq!(now[""], 2.0);
        node.request("/a", end);
        assert_eq!(node.collect(COUNT), is(&[("", 3.0)]));
        node.select("{}");
        let now = node.collect(COUNT);
        assert!(now[""].is_nan());
        assert_eq!((now["/a"], now["/b"]), (2.0, 1.0));
    }
}
