//! Spans as OTLP JSON lines: one `TracesData` a line.
//!
//! Source: <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

/// A span, with what tests look at taken out.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// `service.name` of its resource.
    pub service: String,
    /// The trace, as hex.
    pub trace_id: String,
    /// The span, as hex.
    pub id: String,
    /// The span that caused it, as hex; empty when there is none.
    pub parent_id: String,
    /// The span's name.
    pub name: String,
    /// 2 for a server, 3 for a client.
    pub kind: u64,
    /// Wall-clock time of the first byte of the request, in ns since 1970.
    pub start_ns: u64,
    /// Wall-clock time of the last byte of the response, in ns since 1970.
    pub end_ns: u64,
    /// When the event `http.response.first_byte` took place, in ns since 1970.
    pub first_byte_ns: Option<u64>,
    /// Attributes; numbers as text.
    pub attributes: BTreeMap<String, String>,
    /// Attributes of its resource, but for `service.name`.
    pub resource: BTreeMap<String, String>,
}

impl Span {
    /// An attribute, or the empty string.
    #[must_use]
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    /// The path of `url.path`, which servers know, or of `url.full`, which clients know.
    #[must_use]
    pub fn path(&self) -> &str {
        let full = self.attribute("url.full");
        let (_, rest) = full.split_once("://").unwrap_or(("", ""));
        match self.attribute("url.path") {
            "" => rest.find('/').map_or("", |start| &rest[start..]).split(['?', '#']).next().unwrap_or(""),
            path => path,
        }
    }

    /// From start to end.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.end_ns - self.start_ns)
    }

    /// From start to the response's first byte.
    #[must_use]
    pub fn time_to_first_byte(&self) -> Option<Duration> {
        self.first_byte_ns.map(|first| Duration::from_nanos(first - self.start_ns))
    }
}

/// All spans of some lines.
///
/// # Panics
/// On a line that is not `TracesData`; a last line without its end is left out.
#[must_use]
pub fn parse(text: &str) -> Vec<Span> {
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    whole.lines().filter(|line| !line.is_empty()).flat_map(line).collect()
}

fn line(line: &str) -> Vec<Span> {
    let data: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert!(data["resourceSpans"].is_array(), "no resourceSpans: {line}");
    let mut spans = Vec::new();
    for resource in items(&data["resourceSpans"]) {
        let mut known = attributes(&resource["resource"]["attributes"]);
        let service = known.remove("service.name").unwrap_or_default();
        for scope in items(&resource["scopeSpans"]) {
            spans.extend(items(&scope["spans"]).iter().map(|value| span(&service, &known, value)));
        }
    }
    spans
}

fn span(service: &str, resource: &BTreeMap<String, String>, value: &Value) -> Span {
    let first = items(&value["events"]).iter().find(|event| event["name"] == "http.response.first_byte");
    Span {
        service: service.to_owned(),
        trace_id: id(&value["traceId"]),
        id: id(&value["spanId"]),
        parent_id: id(&value["parentSpanId"]),
        name: text(&value["name"]),
        kind: integer(&value["kind"]),
        start_ns: integer(&value["startTimeUnixNano"]),
        end_ns: integer(&value["endTimeUnixNano"]),
        first_byte_ns: first.map(|event| integer(&event["timeUnixNano"])),
        attributes: attributes(&value["attributes"]),
        resource: resource.clone(),
    }
}

/// Ids are hex in the JSON form of OTLP, and left out when empty.
fn id(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// 64-bit integers are strings in the JSON form of Protocol Buffers.
fn integer(value: &Value) -> u64 {
    text(value).parse().unwrap_or_else(|_| panic!("not an unsigned integer: {value}"))
}

fn attributes(list: &Value) -> BTreeMap<String, String> {
    let pair = |item: &Value| {
        let value = item["value"].as_object().and_then(|value| value.values().next());
        (text(&item["key"]), value.map(text).unwrap_or_default())
    };
    items(list).iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeSpans":[{"spans":[{"name":"GET /","kind":2,"startTimeUnixNano":"100","endTimeUnixNano":"350","attributes":[{"key":"http.response.status_code","value":{"intValue":"200"}}],"events":[{"name":"http.response.first_byte","timeUnixNano":"180"}]}]}]}]}"#;

    #[test]
    fn a_span_is_read() {
        let spans = parse(&format!("{LINE}\n{LINE}\n{{\"resourceS"));
        assert_eq!(spans.len(), 2);
        assert_eq!(spans[0].service, "shop");
        assert_eq!(spans[0].attribute("http.response.status_code"), "200");
        assert_eq!(spans[0].path(), "");
        let url = [("url.full".to_owned(), "http://shop:80/cart?x=/".to_owned())];
        assert_eq!(Span { attributes: url.into(), ..spans[0].clone() }.path(), "/cart");
        assert_eq!(spans[0].duration(), Duration::from_nanos(250));
        assert_eq!(spans[0].time_to_first_byte(), Some(Duration::from_nanos(80)));
    }

    #[test]
    #[should_panic(expected = "no resourceSpans")]
    fn another_object_is_refused() {
        let _ = parse("{\"a\":1}\n");
    }
}
