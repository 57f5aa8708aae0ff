//! From the registry to requests.

use hashbrown::HashMap;

use super::shaped::Shaped;
use super::v2::{self, Metadata, Request, Symbols, TimeSeries};
use super::{Histogram, STALE, Selection, number};
use crate::metric::worst::Worst;
use crate::metric::{Buckets, Exemplar, Family, Kind, Labels, Reading, Sample, Shared};

/// Label sets read under one lock of the registry: the pipeline waits no longer than that takes.
const SETS_A_LOCK: usize = 64;

/// Labels that every series gets where it has none of that name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct External(Vec<(String, String)>);

impl External {
    /// From pairs; those without a value are left out.
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }

    /// The pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// A request, and how many samples it holds.
#[derive(Debug)]
pub struct Collected {
    /// What is sent.
    pub request: Request,
    /// Its samples.
    pub samples: u32,
}

/// Reads all metrics now and then, and remembers which series there were, to end those that are no more.
///
/// It holds the labels of each label set that was there at the last collection, and the values of those that rules
/// change.
#[derive(Debug)]
pub struct Collector {
    external: External,
    selection: Selection,
    shaped: HashMap<&'static str, Shaped>,
    /// Label sets that went to `other` by limits that are no more.
    folded_before: HashMap<&'static str, u64>,
    batch: usize,
    known: HashMap<(&'static str, Labels), Known>,
    round: u64,
    last_ms: i64,
}

#[derive(Debug)]
struct Known {
    family: &'static Family,
    round: u64,
    /// When its counters were at 0 at the latest.
    start_ms: i64,
    /// Whether it is sent as a native histogram.
    is_native: bool,
    /// When the exemplar that was sent last was observed: each is sent once.
    exemplar_ms: i64,
}

/// What a series is sent with.
#[derive(Clone, Copy)]
struct Sent<'a> {
    start_ms: i64,
    exemplar: Option<&'a Exemplar>,
}

impl Collector {
    /// A collector whose requests hold about `batch` samples. `start_ms` is when the counters began, in milliseconds
    /// of the Unix epoch.
    #[must_use]
    pub fn new(external: External, batch: usize, start_ms: i64) -> Self {
        Self {
            external,
            selection: Selection::default(),
            shaped: HashMap::new(),
            folded_before: HashMap::new(),
            batch: batch.max(1),
            known: HashMap::new(),
            round: 0,
            last_ms: start_ms,
        }
    }

    /// Sends these from now on; at the next collection the others end, and so do series of metrics for which there are
    /// other rules.
    pub fn select(&mut self, selection: Selection) {
        self.selection = selection;
    }

    /// Metrics that are over their own limits, and how many label sets went to `other`.
    pub fn folded(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let mut folded = self.folded_before.clone();
        for (name, shaped) in self.shaped.iter().filter(|(_, shaped)| shaped.folded() > 0) {
            *folded.entry(name).or_default() += shaped.folded();
        }
        folded.into_iter()
    }

    /// The label with the most values of a metric that has a limit of its own.
    #[must_use]
    pub fn worst(&self, metric: &str) -> Option<Worst> {
        self.shaped.get(metric)?.worst()
    }

    /// Series that are sent now: what is billed as active.
    #[must_use]
    pub fn active(&self) -> u64 {
        self.known.values().map(|known| known.family.series(known.is_native)).sum()
    }

    /// All series at `now_ms`, in milliseconds of the Unix epoch. Requests are handed to `take` one by one, so that
    /// memory holds one at a time.
    pub fn collect(&mut self, registry: &Shared, now_ms: i64, mut take: impl FnMut(Collected)) {
        self.round += 1;
        let mut builder = Builder::new(&self.external, now_ms);
        let sources = registry.lock().sources().len();
        for source in 0..sources {
            let families = registry.lock().sources()[source].families();
            for (number, family) in families.iter().enumerate() {
                if !self.selection.takes(family.name) {
                    continue;
                }
                let chunks = Chunks { family, source, number, slot: 0 };
                match self.shaped_of(family) {
                    Some(shaped) => self.add_shaped(registry, chunks, shaped, &mut builder, &mut take),
                    None => self.add_all(registry, chunks, &mut builder, &mut take),
                }
            }
        }
        let selection = &self.selection;
        self.shaped.retain(|name, _| selection.takes(name));
        self.end_missing(&mut builder, self.round, &mut take);
        if builder.samples > 0 {
            take(builder.finish(&self.external));
        }
        self.last_ms = now_ms;
    }

    /// What is known of a family whose series have rules; begun anew when the rules changed.
    fn shaped_of(&mut self, family: &'static Family) -> Option<Shaped> {
        let rules = self.selection.rules(family);
        let known = self.shaped.remove(family.name);
        match (known, rules) {
            (Some(known), Some(rules)) if *known.rules() == rules => Some(known),
            (known, rules) => {
                if let Some(folded) = known.map(|known| known.folded()).filter(|folded| *folded > 0) {
                    *self.folded_before.entry(family.name).or_default() += folded;
                }
                rules.map(|rules| Shaped::new(family, rules))
            }
        }
    }

    /// The series of a family as they are.
    fn add_all(
        &mut self,
        registry: &Shared,
        mut chunks: Chunks,
        builder: &mut Builder,
        take: &mut impl FnMut(Collected),
    ) {
        let family = chunks.family;
        while chunks.read(registry, |labels, sample| {
            let sent = self.note(family, labels, sample);
            builder.add(family, labels, sample, sent);
        }) {
            if builder.samples >= self.batch {
                take(builder.finish(&self.external));
            }
        }
    }

    /// The series of a family as its rules make them.
    fn add_shaped(
        &mut self,
        registry: &Shared,
        mut chunks: Chunks,
        mut shaped: Shaped,
        builder: &mut Builder,
        take: &mut impl FnMut(Collected),
    ) {
        let (family, round) = (chunks.family, self.round);
        while chunks.read(registry, |labels, sample| shaped.add(labels, sample, round)) {}
        shaped.end(round);
        for (labels, sample) in shaped.series() {
            let sent = self.note(family, labels, sample);
            builder.add(family, labels, sample, sent);
            if builder.samples >= self.batch {
                take(builder.finish(&self.external));
            }
        }
        self.shaped.insert(family.name, shaped);
    }

    /// Ends every series: the sensor stops.
    pub fn end_all(&mut self, now_ms: i64, mut take: impl FnMut(Collected)) {
        let mut builder = Builder::new(&self.external, now_ms);
        self.end_missing(&mut builder, u64::MAX, &mut take);
        if builder.samples > 0 {
            take(builder.finish(&self.external));
        }
    }

    fn note<'a>(&mut self, family: &'static Family, labels: &Labels, sample: Sample<'a>) -> Sent<'a> {
        let reading = match sample {
            Sample::Histogram(reading) => Some(reading),
            Sample::Counter(_) | Sample::Gauge(_) => None,
        };
        let exemplar = reading.and_then(|reading| reading.exemplar);
        // Most are known: their labels are not copied.
        let known = match self.known.get_mut(&Key(family.name, labels)) {
            Some(known) => known,
            None => self
                .known
                .entry((family.name, labels.clone()))
                .insert(Known {
                    family,
                    round: 0,
                    start_ms: self.last_ms,
                    is_native: reading.is_some_and(|reading| reading.native.is_some()),
                    exemplar_ms: 0,
                })
                .into_mut(),
        };
        known.round = self.round;
        let exemplar = exemplar.filter(|exemplar| exemplar.unix_ms > known.exemplar_ms);
        known.exemplar_ms = exemplar.map_or(known.exemplar_ms, |exemplar| exemplar.unix_ms);
        Sent { start_ms: known.start_ms, exemplar }
    }

    fn end_missing(&mut self, builder: &mut Builder, round: u64, take: &mut impl FnMut(Collected)) {
        let (external, batch) = (&self.external, self.batch);
        self.known.retain(|(_, labels), known| {
            if known.round >= round {
                return true;
            }
            builder.end(known, labels);
            if builder.samples >= batch {
                take(builder.finish(external));
            }
            false
        });
    }
}

/// The series of a family, some under each lock of the registry.
struct Chunks {
    family: &'static Family,
    source: usize,
    number: usize,
    slot: usize,
}

impl Chunks {
    /// Visits the next ones; says whether there were any places left to look at.
    fn read(&mut self, registry: &Shared, mut visit: impl FnMut(&Labels, Sample<'_>)) -> bool {
        let registry = registry.lock();
        let source = registry.sources()[self.source];
        let end = source.slots().min(self.slot + SETS_A_LOCK);
        let places = self.slot..end;
        self.slot = end;
        for place in places.clone() {
            if let Some((labels, sample)) = source.read(self.number, place) {
                visit(labels, sample);
            }
        }
        !places.is_empty()
    }
}

/// A look-up without a copy of the labels.
#[derive(Hash)]
struct Key<'a>(&'static str, &'a Labels);

impl hashbrown::Equivalent<(&'static str, Labels)> for Key<'_> {
    fn equivalent(&self, key: &(&'static str, Labels)) -> bool {
        self.0 == key.0 && *self.1 == key.1
    }
}

/// One request that is being made.
struct Builder {
    symbols: Symbols,
    timeseries: Vec<TimeSeries>,
    external: Vec<(u32, u32)>,
    samples: usize,
    now_ms: i64,
}

impl Builder {
    fn new(external: &External, now_ms: i64) -> Self {
        let mut symbols = Symbols::default();
        let external =
            external.iter().map(|(name, value)| (symbols.place(name), symbols.place(value))).collect();
        Self { symbols, timeseries: Vec::new(), external, samples: 0, now_ms }
    }

    fn finish(&mut self, external: &External) -> Collected {
        let done = std::mem::replace(self, Self::new(external, self.now_ms));
        let samples = u32::try_from(done.samples).unwrap_or(u32::MAX);
        Collected {
            request: Request { symbols: done.symbols.into_list(), timeseries: done.timeseries },
            samples,
        }
    }

    fn add(&mut self, family: &'static Family, labels: &Labels, sample: Sample<'_>, sent: Sent<'_>) {
        let start_ms = sent.start_ms;
        match sample {
            Sample::Counter(value) => self.number(Name::of(family), labels, value, start_ms),
            Sample::Gauge(value) => self.number(Name::of(family), labels, value, 0),
            Sample::Histogram(reading) => match reading.native {
                Some(native) => {
                    let histogram = Histogram::new(&reading, native, self.now_ms, start_ms);
                    self.native(family, labels, histogram);
                    self.exemplify(sent.exemplar, reading.buckets);
                }
                None => self.classic(family, labels, &reading, sent),
            },
        }
    }

    fn classic(
        &mut self,
        family: &'static Family,
        labels: &Labels,
        reading: &Reading<'_>,
        Sent { start_ms, exemplar }: Sent<'_>,
    ) {
        let mut total = 0;
        let of_bucket = exemplar.map(|exemplar| reading.bucket_of(exemplar.value));
        let bounds = reading.buckets.exported().chain([f64::INFINITY]);
        for (place, (bound, count)) in bounds.zip(reading.counts).enumerate() {
            total += count;
            let le = number::bound(bound);
            self.number(Name { family, part: "_bucket", le: Some(&le) }, labels, float(total), start_ms);
            if of_bucket == Some(place) {
                self.exemplify(exemplar, reading.buckets);
            }
        }
        let name = |part| Name { family, part, le: None };
        self.number(name("_sum"), labels, reading.sum(), start_ms);
        self.number(name("_count"), labels, float(reading.count()), start_ms);
    }

    fn native(&mut self, family: &'static Family, labels: &Labels, histogram: Histogram) {
        let series = TimeSeries { histograms: vec![histogram], ..TimeSeries::default() };
        self.series(Name::of(family), labels, series);
    }

    /// Gives an exemplar to the series that was added last.
    fn exemplify(&mut self, exemplar: Option<&Exemplar>, buckets: &Buckets) {
        let Some(exemplar) = exemplar else { return };
        let mut place = |text: &str| self.symbols.place(text);
        let labels = exemplar.labels();
        let labels_refs = labels.iter().flat_map(|(name, value)| [place(name), place(value)]).collect();
        let value = float(exemplar.value) / float(buckets.scale);
        let exemplar = v2::Exemplar { labels_refs, value, timestamp: exemplar.unix_ms };
        if let Some(series) = self.timeseries.last_mut() {
            series.exemplars.push(exemplar);
        }
    }

    fn end(&mut self, known: &Known, labels: &Labels) {
        let family = known.family;
        match family.kind {
            Kind::Counter | Kind::Gauge | Kind::Level => self.number(Name::of(family), labels, STALE, 0),
            Kind::Histogram(_) if known.is_native => {
                self.native(family, labels, Histogram::stale(self.now_ms));
            }
            Kind::Histogram(buckets) => {
                for bound in buckets.exported().chain([f64::INFINITY]) {
                    let le = number::bound(bound);
                    self.number(Name { family, part: "_bucket", le: Some(&le) }, labels, STALE, 0);
                }
                self.number(Name { family, part: "_sum", le: None }, labels, STALE, 0);
                self.number(Name { family, part: "_count", le: None }, labels, STALE, 0);
            }
        }
    }

    fn number(&mut self, name: Name<'_>, labels: &Labels, value: f64, start_timestamp: i64) {
        let sample = v2::Sample { value, timestamp: self.now_ms, start_timestamp };
        self.series(name, labels, TimeSeries { samples: vec![sample], ..TimeSeries::default() });
    }

    /// Adds a series that has its values already.
    fn series(&mut self, Name { family, part, le }: Name<'_>, labels: &Labels, values: TimeSeries) {
        let mut name = String::with_capacity(family.name.len() + part.len());
        name.push_str(family.name);
        name.push_str(part);
        let mut pairs: Vec<(u32, u32)> = Vec::with_capacity(16);
        pairs.push((self.symbols.place("__name__"), self.symbols.place(&name)));
        for (name, value) in labels.iter() {
            pairs.push((self.symbols.place(name), self.symbols.place(value)));
        }
        if let Some(le) = le {
            pairs.push((self.symbols.place("le"), self.symbols.place(le)));
        }
        for (name, value) in &self.external {
            if !pairs.iter().any(|(known, _)| known == name) {
                pairs.push((*name, *value));
            }
        }
        pairs.sort_unstable_by(|a, b| self.symbols.text(a.0).cmp(self.symbols.text(b.0)));
        let metadata = Metadata {
            r#type: match family.kind {
                Kind::Counter => v2::COUNTER,
                Kind::Gauge | Kind::Level => v2::GAUGE,
                Kind::Histogram(_) => v2::HISTOGRAM,
            },
            help_ref: self.symbols.place(family.help),
            unit_ref: self.symbols.place(family.unit),
        };
        self.timeseries.push(TimeSeries {
            labels_refs: pairs.into_iter().flat_map(|(name, value)| [name, value]).collect(),
            metadata: Some(metadata),
            ..values
        });
        self.samples += 1;
    }
}

/// What a series is called.
#[derive(Clone, Copy)]
struct Name<'a> {
    family: &'static Family,
    /// The part of a classic histogram.
    part: &'static str,
    le: Option<&'a str>,
}

impl Name<'_> {
    const fn of(family: &'static Family) -> Self {
        Self { family, part: "", le: None }
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus values are 64-bit floats")]
fn float(count: u64) -> f64 {
    count as f64
}
