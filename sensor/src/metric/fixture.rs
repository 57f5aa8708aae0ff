//! An exchange for tests.

use crate::identity::Observed;
use crate::protocol::{Connection, End, Endpoints, Exchange, Message, Role, Task};
use crate::trace::SpanIds;

/// `GET /items/7?q=1`, answered with 200 and 512 bytes: first byte after 2 ms, last after 6 ms.
pub(crate) fn exchange() -> Exchange {
    Exchange {
        connection: Connection { id: 1, key: 8 },
        request_number: 1,
        role: Role::Server,
        endpoints: Endpoints {
            local: "10.0.0.1:8080".parse().unwrap(),
            remote: "10.0.0.9:55000".parse().unwrap(),
            netns: 1,
            cookie: None,
            path: None,
        },
        task: Task { tgid: 42, tid: 43, comm: *b"shop\0\0\0\0\0\0\0\0\0\0\0\0" },
        version: "1.1",
        method: "GET".into(),
        path: Some("/items/7".to_owned()),
        query: Some("q=1".to_owned()),
        host: Some("shop.example:8080".to_owned()),
        request_headers: vec![("user-agent", "curl/8".to_owned())],
        status: Some(200),
        request: Message {
            first_ns: 1_000_000,
            last_ns: 1_000_000,
            head_bytes: Some(80),
            body_bytes: Some(0),
        },
        response: Some(Message {
            first_ns: 3_000_000,
            last_ns: 7_000_000,
            head_bytes: Some(120),
            body_bytes: Some(512),
        }),
        end: End::Complete,
        end_ns: 7_000_000,
        grpc: None,
    }
}

pub(crate) fn observed(exchange: Exchange) -> Observed {
    Observed {
        exchange,
        service_name: "shop".into(),
        container: None,
        route: "/items/{id}".into(),
        span: SpanIds::default(),
    }
}
