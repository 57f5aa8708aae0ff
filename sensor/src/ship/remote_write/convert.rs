//! From 2.0 to 1.0, and one request into two.

use super::{Histogram, v1, v2};

/// The same series for a receiver of 1.0. What 1.0 has no place for is left out: when a counter began.
///
/// `None` when a reference points nowhere.
#[must_use]
pub fn to_v1(request: &v2::Request) -> Option<v1::WriteRequest> {
    let symbol = |place: u32| request.symbols.get(usize::try_from(place).ok()?);
    let labels = |places: &[u32]| -> Option<Vec<v1::Label>> {
        let (pairs, rest) = places.as_chunks::<2>();
        if !rest.is_empty() {
            return None;
        }
        let label = |[name, value]: &[u32; 2]| {
            Some(v1::Label { name: symbol(*name)?.clone(), value: symbol(*value)?.clone() })
        };
        pairs.iter().map(label).collect()
    };
    let mut metadata: Vec<v1::MetricMetadata> = Vec::new();
    let mut timeseries = Vec::with_capacity(request.timeseries.len());
    for series in &request.timeseries {
        let labels_of_series = labels(&series.labels_refs)?;
        if let Some(known) = series.metadata {
            let name = labels_of_series.iter().find(|label| label.name == "__name__")?.value.as_str();
            let family = if known.r#type == v2::HISTOGRAM { family_of(name) } else { name };
            if metadata.last().is_none_or(|last| last.metric_family_name != family) {
                metadata.push(v1::MetricMetadata {
                    r#type: known.r#type,
                    metric_family_name: family.to_owned(),
                    help: symbol(known.help_ref)?.clone(),
                    unit: symbol(known.unit_ref)?.clone(),
                });
            }
        }
        let exemplar = |exemplar: &v2::Exemplar| {
            let labels = labels(&exemplar.labels_refs)?;
            Some(v1::Exemplar { labels, value: exemplar.value, timestamp: exemplar.timestamp })
        };
        let sample = |sample: &v2::Sample| v1::Sample { value: sample.value, timestamp: sample.timestamp };
        timeseries.push(v1::TimeSeries {
            labels: labels_of_series,
            samples: series.samples.iter().map(sample).collect(),
            exemplars: series.exemplars.iter().map(exemplar).collect::<Option<_>>()?,
            histograms: series
                .histograms
                .iter()
                .map(|histogram| Histogram { start_timestamp: 0, ..histogram.clone() })
                .collect(),
        });
    }
    Some(v1::WriteRequest { timeseries, metadata })
}

/// A classic histogram's series has its part of it at the end of its name.
fn family_of(name: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name)
}

/// How many samples a request holds.
#[must_use]
pub fn samples(request: &v2::Request) -> usize {
    request.timeseries.iter().map(|series| series.samples.len() + series.histograms.len()).sum()
}

/// Two requests with half of the series each; `None` when there is one series or none. Both keep all the symbols.
#[must_use]
pub fn split(request: v2::Request) -> Option<[v2::Request; 2]> {
    let v2::Request { symbols, mut timeseries } = request;
    if timeseries.len() < 2 {
        return None;
    }
    let second = timeseries.split_off(timeseries.len() / 2);
    Some([v2::Request { symbols: symbols.clone(), timeseries }, v2::Request { symbols, timeseries: second }])
}
