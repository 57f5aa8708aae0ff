//! Prometheus text exposition format, as far as tests read it.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::collections::BTreeMap;

/// One line: a name, labels and a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Metric name, with `_bucket`, `_sum` or `_count` for parts of a histogram.
    pub name: String,
    /// Label names and values.
    pub labels: BTreeMap<String, String>,
    /// Value.
    pub value: f64,
}

impl Sample {
    /// A label's value, or the empty string: Prometheus does not tell an empty label from none.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// All samples of one scrape.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// In the order of the text.
    pub samples: Vec<Sample>,
}

impl Metrics {
    /// Parses a scrape.
    ///
    /// # Panics
    /// On a line that is not of the format.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self { samples: lines.map(sample).collect() }
    }

    /// Samples of a name whose labels include all these.
    pub fn select<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> + 'a {
        self.samples.iter().filter(move |sample| {
            sample.name == name && labels.iter().all(|(label, value)| sample.label(label) == *value)
        })
    }

    /// Sum of the values of the selected samples; 0 when there is none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.select(name, labels).map(|sample| sample.value).sum()
    }

    /// The sum as a whole number.
    ///
    /// # Panics
    /// When it is not one.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be a whole number"
    )]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let sum = self.sum(name, labels);
        assert!(sum >= 0.0 && sum.fract() == 0.0 && sum < 9e15, "{name} is {sum}");
        sum as u64
    }
}

fn sample(line: &str) -> Sample {
    let bad = || -> ! { panic!("not a line of the Prometheus text format: {line:?}") };
    let end = line.find(['{', ' ']).unwrap_or_else(|| bad());
    let (name, rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    let mut rest = rest;
    if let Some(mut inside) = rest.strip_prefix('{') {
        loop {
            inside = inside.trim_start_matches([',', ' ']);
            if let Some(after) = inside.strip_prefix('}') {
                rest = after;
                break;
            }
            let Some((label, after)) = inside.split_once("=\"") else { bad() };
            let Some((value, after)) = quoted(after) else { bad() };
            assert!(labels.insert(label.to_owned(), value).is_none(), "label twice: {line:?}");
            inside = after;
        }
    }
    let Some(Ok(value)) = rest.split_whitespace().next().map(str::parse) else { bad() };
    Sample { name: name.to_owned(), labels, value }
}

/// A label's value up to its closing quote, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE a counter\na{x=\"1\",y=\"q\\\"}\\\\ \\n\"} 3\na{x=\"2\"} 4.5\n\nb_total 7 1700000000\nc{} +Inf\n";

    #[test]
    fn labels_are_unescaped() {
        let metrics = Metrics::parse(TEXT);
        assert_eq!(metrics.samples[0].label("y"), "q\"}\\ \n");
        assert_eq!(metrics.samples[3].value, f64::INFINITY);
    }

    #[test]
    fn a_selection_is_summed() {
        let metrics = Metrics::parse(TEXT);
        assert_eq!(metrics.sum("a", &[]), 7.5);
        assert_eq!(metrics.count("a", &[("x", "1")]), 3);
        assert_eq!(metrics.count("b_total", &[]), 7);
        assert_eq!(metrics.count("none", &[]), 0);
    }

    #[test]
    #[should_panic(expected = "not a line")]
    fn rubbish_is_refused() {
        let _ = Metrics::parse("a{x=1} 3");
    }
}
