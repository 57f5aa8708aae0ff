//! One exchange as a span, after the HTTP semantic conventions 1.44.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, SpanFlags, Status};

use super::{SpanIds, WallClock, redact};
use crate::identity::Observed;
use crate::protocol::{Exchange, Role};
use crate::rpc::{self, Names};
use crate::semantic::{self, ErrorType, Host, OTHER_METHOD};

/// The event at the response's first byte.
pub const FIRST_BYTE_EVENT: &str = "http.response.first_byte";

/// The span of an exchange; what it says of a gRPC call has these names.
#[must_use]
pub fn span(observed: &Observed, clock: WallClock, names: Names) -> Span {
    let exchange = &observed.exchange;
    let method = semantic::request_method(&exchange.method);
    let error = ErrorType::of(exchange);
    Span {
        name: span_name(observed),
        kind: match exchange.role {
            Role::Server => SpanKind::Server as i32,
            Role::Client => SpanKind::Client as i32,
        },
        start_time_unix_nano: clock.unix_ns(exchange.request.first_ns),
        end_time_unix_nano: clock.unix_ns(exchange.end_ns.max(exchange.request.first_ns)),
        attributes: attributes(observed, method, error, names),
        events: exchange
            .response
            .map(|response| first_byte(clock.unix_ns(response.first_ns)))
            .into_iter()
            .collect(),
        status: error.map(|_| Status { code: StatusCode::Error as i32, ..Status::default() }),
        ..identified(&observed.span)
    }
}

/// A span of which only is told which one it is, and whose child.
pub(super) fn identified(ids: &SpanIds) -> Span {
    Span {
        trace_id: ids.trace_id.to_vec(),
        span_id: ids.span_id.to_vec(),
        parent_span_id: ids.parent.map(|parent| parent.span_id.to_vec()).unwrap_or_default(),
        trace_state: ids.trace_state.clone(),
        flags: flags(ids),
        ..Span::default()
    }
}

/// The trace's flags, and whether the parent is another process's span.
fn flags(ids: &SpanIds) -> u32 {
    let parent = ids.parent.map_or(0, |parent| {
        let remote = if parent.is_remote { SpanFlags::ContextIsRemoteMask as u32 } else { 0 };
        SpanFlags::ContextHasIsRemoteMask as u32 | remote
    });
    u32::from(ids.flags) | parent
}

/// `rpc.method` for a gRPC call. For any other `{method} {route}` for a server, `{method}` for a client, whose route template is not known to it. A method
/// that is not known is called `HTTP` here.
#[must_use]
pub fn span_name(observed: &Observed) -> String {
    if let Some(grpc) = &observed.exchange.grpc {
        return rpc::method(&observed.exchange, grpc).into_owned();
    }
    let method = semantic::request_method(&observed.exchange.method);
    let method = if method == OTHER_METHOD { "HTTP" } else { method };
    match observed.exchange.role {
        Role::Server if !observed.route.is_empty() => format!("{method} {}", observed.route),
        Role::Server | Role::Client => method.to_owned(),
    }
}

fn first_byte(time_unix_nano: u64) -> Event {
    Event { time_unix_nano, name: FIRST_BYTE_EVENT.to_owned(), ..Event::default() }
}

fn attributes(
    observed: &Observed,
    method: &'static str,
    error: Option<ErrorType>,
    names: Names,
) -> Vec<KeyValue> {
    let exchange = &observed.exchange;
    let (local, peer) = (exchange.endpoints.local, exchange.endpoints.remote);
    let peer_address = peer.ip().to_canonical().to_string();
    let host = exchange.host.as_deref().and_then(Host::parse);
    let query = exchange.query.as_deref().map(redact::query);
    let mut list = Attributes::with_capacity(24);

    list.text("http.request.method", method);
    if method == OTHER_METHOD {
        list.text("http.request.method_original", &*exchange.method);
    }
    list.some_number("http.response.status_code", exchange.status);
    if let Some(error) = error {
        list.text("error.type", error.to_string());
    }
    if let Some(grpc) = &exchange.grpc {
        let method = rpc::method(exchange, grpc);
        match names {
            Names::Stable => {
                list.text("rpc.system.name", "grpc");
                list.text("rpc.method", method);
                list.some_text("rpc.response.status_code", grpc.status.map(rpc::status_name));
            }
            Names::Old => {
                let (service, method) = rpc::service_and_method(&method);
                list.text("rpc.system", "grpc");
                list.some_text("rpc.service", service);
                list.text("rpc.method", method);
                list.some_number("rpc.grpc.status_code", grpc.status.map(rpc::known_status));
            }
        }
        // The conventions have no names for these.
        list.some_number("rpc.request.message_count", grpc.request_messages);
        list.some_number("rpc.response.message_count", grpc.response_messages);
    }
    let server = match exchange.role {
        Role::Server => local,
        Role::Client => peer,
    };
    match &host {
        Some(host) => list.text("server.address", host.address.to_string()),
        None => list.text("server.address", server.ip().to_canonical().to_string()),
    }
    list.number("server.port", server.port());
    match exchange.role {
        Role::Server => {
            list.text("url.scheme", scheme(exchange));
            if let Some(path) = exchange.path.as_deref().filter(|path| !path.is_empty()) {
                list.text("url.path", path);
            }
            if let Some(query) = query {
                list.text("url.query", query);
            }
            if !observed.route.is_empty() {
                list.text("http.route", &*observed.route);
            }
            list.text("client.address", peer_address.as_str());
            list.number("client.port", peer.port());
        }
        Role::Client => {
            if let Some(url) = full_url(exchange, host.as_ref(), query.as_deref()) {
                list.text("url.full", url);
            }
        }
    }
    list.text("network.peer.address", peer_address);
    list.number("network.peer.port", peer.port());
    list.text("network.transport", "tcp");
    list.text("network.protocol.name", "http");
    list.text("network.protocol.version", exchange.version);
    let user_agent = exchange.request_headers.iter().find(|(name, _)| *name == "user-agent");
    if let Some((_, value)) = user_agent {
        list.text("user_agent.original", value.as_str());
    }
    list.some_number("http.request.body.size", exchange.request.body_bytes);
    list.some_number("http.response.body.size", exchange.response.and_then(|response| response.body_bytes));
    list.into_list()
}

fn scheme(exchange: &Exchange) -> &'static str {
    if exchange.connection.is_plaintext_of_tls() { "https" } else { "http" }
}

/// `http://host[:port]/path?query`, or `https`, as far as it is certain: `None` when the path is not known, or when the request
/// names a host that can't be one. A request without a host went to the address that was connected to.
fn full_url(exchange: &Exchange, host: Option<&Host<'_>>, query: Option<&str>) -> Option<String> {
    let path = exchange.path.as_deref()?;
    let authority = match (host, &exchange.host) {
        (Some(host), _) => {
            let port = host.port.map(|port| format!(":{port}")).unwrap_or_default();
            match host.address.to_string() {
                ip if ip.contains(':') => format!("[{ip}]{port}"),
                name => format!("{name}{port}"),
            }
        }
        (None, Some(_)) => return None,
        (None, None) => {
            let mut peer = exchange.endpoints.remote;
            peer.set_ip(peer.ip().to_canonical());
            peer.to_string()
        }
    };
    // `OPTIONS *` asks of the server as a whole.
    let path = if path == "*" { "" } else { path };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let scheme = scheme(exchange);
    Some(format!("{scheme}://{authority}{path}{query}"))
}

/// Attributes of a span, in the order in which they are added.
pub(super) struct Attributes(Vec<KeyValue>);

impl Attributes {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    pub(super) fn into_list(self) -> Vec<KeyValue> {
        self.0
    }

    fn push(&mut self, key: &'static str, value: Value) {
        let value = Some(AnyValue { value: Some(value) });
        self.0.push(KeyValue { key: key.to_owned(), value, ..KeyValue::default() });
    }

    pub(super) fn text<'a>(&mut self, key: &'static str, value: impl Into<Cow<'a, str>>) {
        self.push(key, Value::StringValue(value.into().into_owned()));
    }

    pub(super) fn some_text(&mut self, key: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    pub(super) fn flag(&mut self, key: &'static str, value: bool) {
        self.push(key, Value::BoolValue(value));
    }

    pub(super) fn number(&mut self, key: &'static str, value: impl TryInto<i64>) {
        self.push(key, Value::IntValue(value.try_into().unwrap_or(i64::MAX)));
    }

    fn some_number(&mut self, key: &'static str, value: Option<impl TryInto<i64>>) {
        if let Some(value) = value {
            self.number(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::fixture::{exchange, observed};
    use crate::protocol::{End, Grpc};
    use crate::trace::Parent;

    fn span(exchange: Exchange) -> Span {
        super::span(&observed(exchange), WallClock::new(1_000), Names::Stable)
    }

    fn attribute(span: &Span, key: &str) -> Option<String> {
        let value = &span.attributes.iter().find(|attribute| attribute.key == key)?.value;
        match value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => Some(text.clone()),
            Value::IntValue(number) => Some(number.to_string()),
            other => panic!("{other:?}"),
        }
    }

    fn client(host: Option<&str>) -> Exchange {
        Exchange { role: Role::Client, host: host.map(str::to_owned), ..exchange() }
    }

    #[test]
    fn a_server_span_is_complete() {
        let span = span(exchange());
        assert_eq!((span.name.as_str(), span.kind), ("GET /items/{id}", SpanKind::Server as i32));
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (1_001_000, 7_001_000));
        assert_eq!(
            (span.events[0].name.as_str(), span.events[0].time_unix_nano),
            (FIRST_BYTE_EVENT, 3_001_000)
        );
        assert_eq!(span.status, None);
        let attributes: Vec<String> = span
            .attributes
            .iter()
            .map(|pair| format!("{}={}", pair.key, attribute(&span, &pair.key).unwrap()))
            .collect();
        let expected = [
            "http.request.method=GET",
            "http.response.status_code=200",
            "server.address=shop.example",
            "server.port=8080",
            "url.scheme=http",
            "url.path=/items/7",
            "url.query=q=1",
            "http.route=/items/{id}",
            "client.address=10.0.0.9",
            "client.port=55000",
            "network.peer.address=10.0.0.9",
            "network.peer.port=55000",
            "network.transport=tcp",
            "network.protocol.name=http",
            "network.protocol.version=1.1",
            "user_agent.original=curl/8",
            "http.request.body.size=0",
            "http.response.body.size=512",
        ];
        assert_eq!(attributes, expected);
    }

    #[test]
    fn a_client_span_has_the_whole_url() {
        let url = |exchange| attribute(&span(exchange), "url.full");
        assert_eq!(url(client(Some("Shop:8080"))).as_deref(), Some("http://shop:8080/items/7?q=1"));
        assert_eq!(url(client(Some("[::1]:80"))).as_deref(), Some("http://[::1]:80/items/7?q=1"));
        assert_eq!(url(client(Some("u:p@shop"))).as_deref(), Some("http://shop/items/7?q=1"));
        assert_eq!(url(client(None)).as_deref(), Some("http://10.0.0.9:55000/items/7?q=1"));
        assert_eq!(url(client(Some("not a host"))), None);
        assert_eq!(url(Exchange { path: None, ..client(Some("shop")) }), None);
        let span = span(client(Some("shop")));
        assert_eq!((span.name.as_str(), span.kind), ("GET", SpanKind::Client as i32));
        assert_eq!(attribute(&span, "http.route"), None);
        assert_eq!(attribute(&span, "client.address"), None);
    }

    #[test]
    fn what_is_unknown_is_left_out() {
        let span = span(Exchange {
            path: None,
            query: None,
            status: None,
            response: None,
            end: End::NoResponse,
            request_headers: vec![],
            ..exchange()
        });
        for key in ["url.path", "url.query", "http.response.status_code", "user_agent.original"] {
            assert_eq!(attribute(&span, key), None, "{key}");
        }
        assert!(span.events.is_empty());
        assert_eq!(attribute(&span, "error.type").as_deref(), Some("no_response"));
        assert_eq!(span.status.unwrap().code, StatusCode::Error as i32);
    }

    #[test]
    fn a_made_up_method_is_kept_beside() {
        let span = span(Exchange { method: "BREW".into(), ..exchange() });
        assert_eq!(span.name, "HTTP /items/{id}");
        assert_eq!(attribute(&span, "http.request.method").as_deref(), Some("_OTHER"));
        assert_eq!(attribute(&span, "http.request.method_original").as_deref(), Some("BREW"));
    }

    #[test]
    fn a_call_has_the_names_that_are_asked_for() {
        let grpc = Some(Grpc { status: Some(5), ..Grpc::default() });
        let call = observed(Exchange { grpc, path: Some("/shop.Cart/Add".to_owned()), ..exchange() });
        let of = |names| {
            let span = super::span(&call, WallClock::new(0), names);
            let told = ["rpc.system", "rpc.service", "rpc.method", "rpc.grpc.status_code"];
            (span.name.clone(), told.map(|key| attribute(&span, key).unwrap_or_default()))
        };
        let name = "shop.Cart/Add".to_owned();
        assert_eq!(of(Names::Stable), (name.clone(), ["", "", &name, ""].map(str::to_owned)));
        assert_eq!(of(Names::Old), (name, ["grpc", "shop.Cart", "Add", "5"].map(str::to_owned)));
    }

    #[test]
    fn secrets_stay_out() {
        let exchange = Exchange {
            query: Some("token=hush&q=1".to_owned()),
            host: Some("user:hush@shop".to_owned()),
            request_headers: vec![
                ("authorization", "Bearer hush".to_owned()),
                ("cookie", "a=hush".to_owned()),
            ],
            ..exchange()
        };
        for role in [Role::Server, Role::Client] {
            let span = span(Exchange { role, ..exchange.clone() });
            assert!(!format!("{span:?}").contains("hush"), "{span:?}");
        }
    }

    #[test]
    fn ids_are_carried() {
        let with = |is_remote| {
            let parent = Some(Parent { span_id: [3; 8], is_remote });
            let ids = SpanIds {
                trace_id: [1; 16],
                span_id: [2; 8],
                parent,
                flags: 3,
                trace_state: "a=1".to_owned(),
            };
            super::span(&Observed { span: ids, ..observed(exchange()) }, WallClock::new(0), Names::Stable)
        };
        let span = with(true);
        assert_eq!((span.trace_id, span.span_id), (vec![1; 16], vec![2; 8]));
        assert_eq!((span.parent_span_id, span.trace_state.as_str()), (vec![3; 8], "a=1"));
        assert_eq!((span.flags, with(false).flags), (0x303, 0x103));
    }
}
