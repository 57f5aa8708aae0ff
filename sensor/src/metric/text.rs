//! The Prometheus text exposition format, version 0.0.4, and OpenMetrics 1.0, which has exemplars.
//!
//! It is written in chunks, so that a node with many series needs neither much memory nor a long lock: a
//! [`Cursor`] remembers where it was. All lines of one label set of a family are in one chunk.

use std::fmt::Write;

use super::{Family, Kind, Labels, Reading, Registry, Sample};

/// Which of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Prometheus' own.
    #[default]
    Plain,
    /// OpenMetrics.
    OpenMetrics,
}

impl Form {
    /// What a client asks for: OpenMetrics where its `Accept` names that, whatever weight it has beside others.
    #[must_use]
    pub fn wanted(accept: &str) -> Self {
        let is_open = |range: &str| {
            let mut parts = range.split(';').map(str::trim);
            let is_kind =
                parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"));
            is_kind && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0"))
        };
        if accept.split(',').any(is_open) { Self::OpenMetrics } else { Self::Plain }
    }

    /// The `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Where the exposition goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    form: Form,
    source: usize,
    family: usize,
    slot: usize,
}

impl Cursor {
    /// The start, in a form.
    #[must_use]
    pub fn new(form: Form) -> Self {
        Self { form, ..Self::default() }
    }

    /// Appends to `out` until it has at least `size` bytes or all is written; says whether there is more.
    pub fn write(&mut self, registry: &Registry, out: &mut String, size: usize) -> bool {
        let sources = registry.sources();
        while let Some(source) = sources.get(self.source) {
            let Some(family) = source.families().get(self.family) else {
                *self = Self { source: self.source + 1, ..Self::new(self.form) };
                continue;
            };
            if out.len() >= size {
                return true;
            }
            if self.slot == 0 {
                let (name, kind) = (self.form.family(family), family.kind.name());
                push(out, format_args!("# HELP {name} {}\n# TYPE {name} {kind}\n", Help(family.help)));
            }
            while self.slot < source.slots() {
                if let Some((labels, sample)) = source.read(self.family, self.slot) {
                    series(out, self.form, family.name, labels, sample);
                }
                self.slot += 1;
                if out.len() >= size {
                    break;
                }
            }
            if self.slot >= source.slots() {
                self.family += 1;
                self.slot = 0;
            }
        }
        if self.form == Form::OpenMetrics {
            out.push_str("# EOF\n");
        }
        false
    }
}

impl Form {
    /// A family's name: OpenMetrics leaves `_total` to the series.
    fn family(self, family: &Family) -> &'static str {
        match (self, family.kind) {
            (Self::OpenMetrics, Kind::Counter) => family.name.strip_suffix("_total").unwrap_or(family.name),
            _ => family.name,
        }
    }

    /// A bound as `le` has it: OpenMetrics wants a float to look like one.
    fn bound(self, bound: f64) -> String {
        match self {
            Self::OpenMetrics if bound.fract() == 0.0 => format!("{bound:.1}"),
            _ => bound.to_string(),
        }
    }
}

/// The whole plain exposition at once.
#[must_use]
pub fn exposition(registry: &Registry) -> String {
    let mut out = String::new();
    Cursor::default().write(registry, &mut out, usize::MAX);
    out
}

fn series(out: &mut String, form: Form, name: &str, labels: &Labels, sample: Sample<'_>) {
    let labels = pairs(labels);
    match sample {
        Sample::Counter(value) | Sample::Gauge(value) => {
            line(out, name, "", &labels, format_args!("{}", Value(value)));
        }
        Sample::Histogram(reading) => histogram(out, form, name, &labels, reading),
    }
}

fn histogram(out: &mut String, form: Form, name: &str, labels: &str, reading: Reading<'_>) {
    let comma = if labels.is_empty() { "" } else { "," };
    let exemplar = reading.exemplar.filter(|_| form == Form::OpenMetrics);
    let of_bucket = exemplar.map(|exemplar| reading.bucket_of(exemplar.value));
    let bounds = reading.buckets.exported().map(|bound| form.bound(bound)).chain(["+Inf".to_owned()]);
    let mut total = 0;
    for (place, (bound, count)) in bounds.zip(reading.counts).enumerate() {
        total += count;
        push(out, format_args!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {total}"));
        if let Some(exemplar) = exemplar.filter(|_| of_bucket == Some(place)) {
            let [(first, span), (second, trace)] = exemplar.labels();
            let value = exemplar.value as f64 / reading.buckets.scale as f64;
            let time = exemplar.unix_ms as f64 / 1_000.0;
            push(out, format_args!(" # {{{first}=\"{span}\",{second}=\"{trace}\"}} {value} {time}"));
        }
        out.push('\n');
    }
    line(out, name, "_sum", labels, format_args!("{}", Value(reading.sum())));
    line(out, name, "_count", labels, format_args!("{}", reading.count()));
}

fn line(out: &mut String, name: &str, suffix: &str, labels: &str, value: std::fmt::Arguments<'_>) {
    if labels.is_empty() {
        push(out, format_args!("{name}{suffix} {value}\n"));
    } else {
        push(out, format_args!("{name}{suffix}{{{labels}}} {value}\n"));
    }
}

fn pairs(labels: &Labels) -> String {
    let mut text = String::new();
    for (name, value) in labels.iter() {
        let comma = if text.is_empty() { "" } else { "," };
        push(&mut text, format_args!("{comma}{name}=\"{}\"", Escaped(value)));
    }
    text
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = out.write_fmt(text);
}

/// A label value: backslash, quote and line feed are escaped.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for piece in self.0.split_inclusive(['\\', '"', '\n']) {
            let Some(last) = piece.chars().next_back() else { continue };
            let plain = piece.strip_suffix(['\\', '"', '\n']).unwrap_or(piece);
            f.write_str(plain)?;
            match last {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// A help text: backslash and line feed are escaped.
struct Help(&'static str);

impl std::fmt::Display for Help {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.replace('\\', "\\\\").replace('\n', "\\n"))
    }
}

/// A number; infinities as the format spells them.
struct Value(f64);

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == f64::INFINITY {
            f.write_str("+Inf")
        } else if self.0 == f64::NEG_INFINITY {
            f.write_str("-Inf")
        } else {
            write!(f, "{}", self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Observed;
    use crate::metric::family;
    use crate::metric::fixture::{exchange, observed};

    const DURATION: &str = "\
# HELP http_server_request_duration_seconds From the first byte of the request received to the last byte of the response sent.
# TYPE http_server_request_duration_seconds histogram
http_server_request_duration_seconds_bucket{LABELS,le=\"0.005\"} 0
http_server_request_duration_seconds_bucket{LABELS,le=\"0.01\"} 1
http_server_request_duration_seconds_bucket{LABELS,le=\"0.025\"} 1
http_server_request_duration_seconds_bucket{LABELS,le=\"0.05\"} 1
http_server_request_duration_seconds_bucket{LABELS,le=\"0.075\"} 1
http_server_request_duration_seconds_bucket{LABELS,le=\"0.1\"} 1
http_server_request_duration_seconds_bucket{LABELS,le=\"0.25\"} 1
http_server_request_duration_seconds_bucket{LABELS,le=\"0.5\"} 1
http_server_request_duration_seconds_bucket{LABELS,le=\"0.75\"} 1
http_server_request_duration_seconds_bucket{LABELS,le=\"1\"} 1
http_server_request_duration_seconds_bucket{LABELS,le=\"2.5\"} 1
http_server_request_duration_seconds_bucket{LABELS,le=\"5\"} 1
http_server_request_duration_seconds_bucket{LABELS,le=\"7.5\"} 1
http_server_request_duration_seconds_bucket{LABELS,le=\"10\"} 1
http_server_request_duration_seconds_bucket{LABELS,le=\"+Inf\"} 1
http_server_request_duration_seconds_sum{LABELS} 0.006
http_server_request_duration_seconds_count{LABELS} 1
";

    const LABELS: &str = r#"http_request_method="GET",http_response_status_code="200",http_route="/items/{id}",server_port="8080",service_name="shop""#;

    #[test]
    fn a_histogram_is_cumulative() {
        let mut registry = Registry::new(10);
        registry.record(&observed(exchange()));
        let text = exposition(&registry);
        let expected = DURATION.replace("LABELS", LABELS);
        assert!(text.starts_with(&expected), "{text}");
    }

    #[test]
    fn a_value_can_not_break_out_of_its_quotes() {
        let mut registry = Registry::new(10);
        registry.own().add(&family::LOST, &["a\"} 1\\"], 1.0);
        assert!(exposition(&registry).contains("sensor_lost_total{cause=\"a\\\"} 1\\\\\"} 1\n"));
        assert_eq!(Escaped("a\nb").to_string(), "a\\nb");
        assert_eq!(Escaped("\\\\").to_string(), "\\\\\\\\");
    }

    #[test]
    fn numbers_are_spelled_as_the_format_says() {
        assert_eq!(Value(f64::INFINITY).to_string(), "+Inf");
        assert_eq!(Value(f64::NEG_INFINITY).to_string(), "-Inf");
        assert_eq!(Value(f64::NAN).to_string(), "NaN");
        assert_eq!(Value(12.0).to_string(), "12");
    }

    #[test]
    fn chunks_make_up_the_whole() {
        let mut registry = Registry::new(100);
        for route in 0..20 {
            registry.record(&Observed { route: format!("/{route}").into(), ..observed(exchange()) });
        }
        registry.refresh().unwrap();
        let mut cursor = Cursor::default();
        let mut whole = String::new();
        let mut chunks = 0;
        loop {
            let mut chunk = String::new();
            let more = cursor.write(&registry, &mut chunk, 1_000);
            whole.push_str(&chunk);
            chunks += 1;
            if !more {
                break;
            }
        }
        assert!(chunks > 20, "{chunks}");
        assert_eq!(whole, exposition(&registry));
    }

    #[test]
    fn open_metrics_has_exemplars_and_the_plain_form_has_none() {
        let mut registry = Registry::new(10).span_metrics(false);
        let mut slow = observed(exchange());
        slow.span.trace_id = [0xab; 16];
        slow.span.span_id = [0xcd; 8];
        registry.record(&slow);
        let plain = exposition(&registry);
        registry.exemplar(&slow, 1_700_000_000_123);
        assert_eq!(exposition(&registry), plain);
        let mut open = String::new();
        Cursor::new(Form::OpenMetrics).write(&registry, &mut open, usize::MAX);
        let (span, trace) = ("cd".repeat(8), "ab".repeat(16));
        let expected =
            format!("le=\"0.01\"}} 1 # {{span_id=\"{span}\",trace_id=\"{trace}\"}} 0.006 1700000000.123\n");
        assert!(open.contains(&expected), "{open}");
        assert_eq!(open.matches(" # {").count(), 1, "one bucket holds it");
        assert!(open.contains("le=\"1.0\"}") && !open.contains("le=\"1\"}"), "{open}");
        assert!(open.ends_with("\n# EOF\n"));
        let counters = open.lines().filter(|line| line.starts_with("# TYPE") && line.ends_with("counter"));
        assert!(counters.clone().count() > 0);
        assert!(!counters.clone().any(|line| line.contains("_total")));
    }

    #[test]
    fn a_client_says_what_it_wants() {
        let open = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                    text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Form::wanted(open), Form::OpenMetrics);
        for plain in ["", "*/*", "text/plain", "application/openmetrics-text;q=0, text/plain"] {
            assert_eq!(Form::wanted(plain), Form::Plain, "{plain}");
        }
    }
}
