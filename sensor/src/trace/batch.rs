//! Spans by resource, and their JSON form.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData};

use super::ObservedHandshake;
use crate::identity::{Container, Identity, Observed};

/// The name of the instrumentation scope.
const SCOPE: &str = "lionpay-sensor";
/// The version of the semantic conventions that the spans follow.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.44.0";

/// Spans on their way out, grouped by the process that they are of. Its owner bounds it by taking what it holds.
#[derive(Debug, Default)]
pub struct Batch {
    resources: Vec<Process>,
    len: usize,
}

#[derive(Debug)]
struct Process {
    service_name: Arc<str>,
    container: Option<Arc<Container>>,
    pid: u32,
    spans: Vec<Span>,
}

impl Batch {
    /// Adds a span of the exchange's process.
    pub fn push(&mut self, observed: &Observed, span: Span) {
        let pid = observed.exchange.task.tgid;
        self.add(pid, &observed.service_name, observed.container.as_ref(), span);
    }

    /// Adds the span of a handshake.
    pub fn push_handshake(&mut self, observed: &ObservedHandshake, span: Span) {
        let Identity { service_name, container } = &observed.identity;
        self.add(observed.handshake.task.tgid, service_name, container.as_ref(), span);
    }

    fn add(&mut self, pid: u32, service_name: &Arc<str>, container: Option<&Arc<Container>>, span: Span) {
        self.len += 1;
        let known = self.resources.iter_mut().find(|process| {
            process.pid == pid
                && process.service_name == *service_name
                && process.container.as_ref() == container
        });
        match known {
            Some(process) => process.spans.push(span),
            None => self.resources.push(Process {
                service_name: Arc::clone(service_name),
                container: container.cloned(),
                pid,
                spans: vec![span],
            }),
        }
    }

    /// How many spans it holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes all spans out; `None` when there are none.
    pub fn take(&mut self) -> Option<TracesData> {
        let batch = std::mem::take(self);
        if batch.is_empty() {
            return None;
        }
        Some(TracesData { resource_spans: batch.resources.into_iter().map(Process::into_message).collect() })
    }
}

impl Process {
    fn into_message(self) -> ResourceSpans {
        let scope = InstrumentationScope {
            name: SCOPE.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let mut attributes = vec![
            attribute("service.name", Value::StringValue((*self.service_name).to_owned())),
            attribute("process.pid", Value::IntValue(i64::from(self.pid))),
        ];
        let container = self.container.iter().flat_map(|container| container.attributes());
        attributes.extend(container.map(|(key, text)| attribute(key, Value::StringValue(text.into_owned()))));
        ResourceSpans {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope),
                spans: self.spans,
                schema_url: SCHEMA.to_owned(),
            }],
            schema_url: SCHEMA.to_owned(),
        }
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// One line of OTLP/JSON, without its line feed: ids as hex, 64-bit numbers as strings, enums as numbers, names in
/// lower camel case.
///
/// # Errors
/// None in practice: the messages have nothing that JSON can't hold.
pub fn json_line(data: &TracesData) -> Result<String, serde_json::Error> {
    serde_json::to_string(data)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::metric::fixture::{exchange, observed};
    use crate::protocol::Exchange;
    use crate::rpc::Names;
    use crate::trace::{Parent, SpanIds, WallClock, span};

    fn line_of(exchanges: &[Exchange]) -> String {
        let mut batch = Batch::default();
        for exchange in exchanges {
            let observed = Observed { span: ids(), ..observed(exchange.clone()) };
            batch.push(&observed, span(&observed, WallClock::new(1_700_000_000_000_000_000), Names::Stable));
        }
        assert_eq!(batch.len(), exchanges.len());
        let line = json_line(&batch.take().unwrap()).unwrap();
        assert!(batch.take().is_none(), "what was taken is gone");
        line
    }

    fn ids() -> SpanIds {
        SpanIds {
            trace_id: [0x0a; 16],
            span_id: [0xb7; 8],
            parent: Some(Parent { span_id: [0xc8; 8], is_remote: true }),
            flags: 1,
            trace_state: String::new(),
        }
    }

    fn failed() -> Exchange {
        Exchange { status: Some(503), ..exchange() }
    }

    #[test]
    fn a_line_is_what_the_otlp_json_encoding_says() {
        let line = line_of(&[failed()]);
        assert!(!line.contains('\n'));
        let data: Json = serde_json::from_str(&line).unwrap();
        let process = &data["resourceSpans"][0];
        let resource = json!([
            {"key": "service.name", "value": {"stringValue": "shop"}},
            {"key": "process.pid", "value": {"intValue": "42"}},
        ]);
        assert_eq!(process["resource"]["attributes"], resource);
        assert_eq!(process["scopeSpans"][0]["scope"]["name"], "lionpay-sensor");
        let span = &process["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], "0a".repeat(16));
        assert_eq!(span["spanId"], "b7".repeat(8));
        assert_eq!(span["parentSpanId"], "c8".repeat(8));
        assert_eq!(span["flags"], 0x301);
        assert_eq!(span["name"], "GET /items/{id}");
        assert_eq!(span["kind"], 2);
        assert_eq!(span["startTimeUnixNano"], "1700000000001000000");
        assert_eq!(span["endTimeUnixNano"], "1700000000007000000");
        assert_eq!(span["events"][0]["name"], "http.response.first_byte");
        assert_eq!(span["events"][0]["timeUnixNano"], "1700000000003000000");
        assert_eq!(span["status"]["code"], 2);
        let attributes = span["attributes"].as_array().unwrap();
        assert!(attributes.contains(&json!({"key": "error.type", "value": {"stringValue": "503"}})));
        assert!(
            attributes.contains(&json!({"key": "http.response.status_code", "value": {"intValue": "503"}}))
        );
    }

    #[test]
    fn no_key_is_in_snake_case() {
        fn check(value: &Json) {
            match value {
                Json::Object(fields) => fields.iter().for_each(|(name, value)| {
                    assert!(!name.contains('_'), "{name}");
                    check(value);
                }),
                Json::Array(values) => values.iter().for_each(check),
                _ => {}
            }
        }
        check(&serde_json::from_str(&line_of(&[failed()])).unwrap());
    }

    #[test]
    fn spans_are_grouped_by_process() {
        let mut other = exchange();
        other.task.tgid = 7;
        let line = line_of(&[exchange(), other, exchange()]);
        let data: Json = serde_json::from_str(&line).unwrap();
        let counts: Vec<usize> = data["resourceSpans"]
            .as_array()
            .unwrap()
            .iter()
            .map(|process| process["scopeSpans"][0]["spans"].as_array().unwrap().len())
            .collect();
        assert_eq!(counts, [2, 1]);
    }

    #[test]
    fn a_line_can_be_read_back() {
        let mut batch = Batch::default();
        let observed = observed(failed());
        batch.push(&observed, span(&observed, WallClock::new(0), Names::Stable));
        let data = batch.take().unwrap();
        let read: TracesData = serde_json::from_str(&json_line(&data).unwrap()).unwrap();
        assert_eq!(read, data);
    }
}
