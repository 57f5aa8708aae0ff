//! A TLS handshake as a span, with the attributes `tls.*` of the semantic conventions 1.44, which have no span for it.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use super::span::{Attributes, identified};
use super::{SpanIds, WallClock};
use crate::identity::Identity;
use crate::protocol::{Handshake, HandshakeError, Role, TlsVersion};

/// The span's name.
pub const HANDSHAKE: &str = "TLS handshake";

/// A handshake with the names that its span carries. Its texts are masked.
#[derive(Clone, Debug)]
pub struct ObservedHandshake {
    /// What was seen.
    pub handshake: Handshake,
    /// The local end.
    pub identity: Identity,
    /// What joins its span to others.
    pub span: SpanIds,
}

impl ObservedHandshake {
    /// When it was over; nanoseconds of `CLOCK_MONOTONIC`.
    #[must_use]
    pub const fn end_ns(&self) -> u64 {
        self.handshake.start_ns.saturating_add(self.handshake.duration_ns)
    }
}

/// The span of a handshake. Its kind is internal: it is a part of what goes on, and no request.
#[must_use]
pub fn handshake_span(observed: &ObservedHandshake, clock: WallClock) -> Span {
    let handshake = &observed.handshake;
    Span {
        name: HANDSHAKE.to_owned(),
        kind: SpanKind::Internal as i32,
        start_time_unix_nano: clock.unix_ns(handshake.start_ns),
        end_time_unix_nano: clock.unix_ns(observed.end_ns()),
        attributes: attributes(handshake).into_list(),
        status: handshake.error.map(|_| Status { code: StatusCode::Error as i32, ..Status::default() }),
        ..identified(&observed.span)
    }
}

fn attributes(handshake: &Handshake) -> Attributes {
    let (local, peer) = (handshake.endpoints.local, handshake.endpoints.remote);
    let peer_address = peer.ip().to_canonical().to_string();
    let server = match handshake.role {
        Role::Server => local,
        Role::Client => peer,
    };
    let mut list = Attributes::with_capacity(12);
    list.text("tls.protocol.name", "tls");
    list.some_text("tls.protocol.version", handshake.version.map(TlsVersion::name));
    list.some_text("tls.client.server_name", handshake.server_name.as_deref());
    list.some_text("tls.next_protocol", handshake.alpn.as_deref());
    list.flag("tls.established", handshake.error.is_none());
    list.some_text("error.type", handshake.error.map(HandshakeError::name));
    match &handshake.server_name {
        Some(name) => list.text("server.address", name.as_str()),
        None => list.text("server.address", server.ip().to_canonical().to_string()),
    }
    list.number("server.port", server.port());
    if handshake.role == Role::Server {
        list.text("client.address", peer_address.as_str());
        list.number("client.port", peer.port());
    }
    list.text("network.peer.address", peer_address);
    list.number("network.peer.port", peer.port());
    list.text("network.transport", "tcp");
    list
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;

    use super::*;
    use crate::protocol::{Endpoints, Task};

    fn observed(handshake: Handshake) -> ObservedHandshake {
        let span = SpanIds { trace_id: [1; 16], span_id: [2; 8], ..SpanIds::default() };
        ObservedHandshake { handshake, identity: Identity::of_process("shop".into()), span }
    }

    fn handshake() -> Handshake {
        Handshake {
            role: Role::Client,
            task: Task { tgid: 7, tid: 8, comm: [0; 16] },
            endpoints: Endpoints {
                local: ([10, 0, 0, 9], 55000).into(),
                remote: ([10, 0, 0, 1], 443).into(),
                netns: 1,
                cookie: None,
                path: None,
            },
            start_ns: 1_000,
            duration_ns: 5_000,
            server_name: Some("bank.test".to_owned()),
            version: Some(TlsVersion::V1_2),
            alpn: Some("h2".to_owned()),
            error: None,
        }
    }

    fn told(span: &Span) -> Vec<String> {
        let text = |value: &Value| match value {
            Value::StringValue(text) => text.clone(),
            Value::IntValue(number) => number.to_string(),
            Value::BoolValue(flag) => flag.to_string(),
            other => panic!("{other:?}"),
        };
        let value = |pair: &opentelemetry_proto::tonic::common::v1::KeyValue| {
            text(pair.value.as_ref().unwrap().value.as_ref().unwrap())
        };
        span.attributes.iter().map(|pair| format!("{}={}", pair.key, value(pair))).collect()
    }

    #[test]
    fn a_clients_handshake_is_told() {
        let span = handshake_span(&observed(handshake()), WallClock::new(1_000_000));
        assert_eq!((span.name.as_str(), span.kind), ("TLS handshake", SpanKind::Internal as i32));
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (1_001_000, 1_006_000));
        assert_eq!(span.status, None);
        let expected = [
            "tls.protocol.name=tls",
            "tls.protocol.version=1.2",
            "tls.client.server_name=bank.test",
            "tls.next_protocol=h2",
            "tls.established=true",
            "server.address=bank.test",
            "server.port=443",
            "network.peer.address=10.0.0.1",
            "network.peer.port=443",
            "network.transport=tcp",
        ];
        assert_eq!(told(&span), expected);
    }

    #[test]
    fn what_a_server_was_not_told_is_left_out() {
        let failed = Handshake {
            role: Role::Server,
            server_name: None,
            version: None,
            alpn: None,
            error: Some(HandshakeError::Alert("protocol_version")),
            ..handshake()
        };
        let span = handshake_span(&observed(failed), WallClock::new(0));
        assert_eq!(span.status.as_ref().unwrap().code, StatusCode::Error as i32);
        let expected = [
            "tls.protocol.name=tls",
            "tls.established=false",
            "error.type=protocol_version",
            "server.address=10.0.0.9",
            "server.port=55000",
            "client.address=10.0.0.1",
            "client.port=443",
            "network.peer.address=10.0.0.1",
            "network.peer.port=443",
            "network.transport=tcp",
        ];
        assert_eq!(told(&span), expected);
    }
}
