//! Families of connections, lookups of names, and the service graph.

use super::{Family, Kind, counter, duration, gauge};
use crate::metric::histogram::{LATENCY, LIFETIME};

/// The labels of a pair, and one more.
macro_rules! pair_labels {
    ($($more:literal)?) => {
        &[
            "service_name",
            "peer_service_name",
            "peer_dns_name",
            "peer_network",
            "server_port",
            "server_k8s_service_name",
            "network_protocol_name",
            $($more,)?
        ]
    };
}

const FLOW_LABELS: &[&str] = pair_labels!();
const FLOW_END_LABELS: &[&str] = pair_labels!("error_type");
const FLOW_RESET_LABELS: &[&str] = pair_labels!("direction");
const LISTEN_LABELS: &[&str] = &["service_name", "server_port"];

const fn latency(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Family {
    Family { name, kind: Kind::Histogram(&LATENCY), unit: "s", help, labels }
}

const fn bytes(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Counter, unit: "By", help, labels: FLOW_LABELS }
}

/// The families of TCP connections, in the order of [`FlowValues`](crate::metric::flow::FlowValues).
pub static FLOW: [&Family; 11] = [
    &counter("tcp_connections_opened_total", "Connections that local processes opened.", FLOW_LABELS),
    &counter(
        "tcp_connections_accepted_total",
        "Connections that were established to local listeners.",
        FLOW_LABELS,
    ),
    &gauge("tcp_connections_active", "1", "Connections that are open now.", FLOW_LABELS),
    &latency(
        "tcp_connect_duration_seconds",
        "From a process's connect until the connection was established.",
        FLOW_LABELS,
    ),
    &Family {
        name: "tcp_connection_duration_seconds",
        kind: Kind::Histogram(&LIFETIME),
        unit: "s",
        help: "From a connection's establishment to its end, of those whose establishment was seen.",
        labels: FLOW_LABELS,
    },
    &latency(
        "tcp_rtt_seconds",
        "Smoothed round-trip time, of each connection once an interval and at its end.",
        FLOW_LABELS,
    ),
    &bytes("tcp_sent_bytes_total", "Payload sent, each byte once, however often it was sent."),
    &bytes(
        "tcp_received_bytes_total",
        "Payload received; the end of a stream counts as one byte, as the kernel has it.",
    ),
    &counter("tcp_sent_segments_total", "Segments sent, those without payload too.", FLOW_LABELS),
    &counter("tcp_received_segments_total", "Segments received, those without payload too.", FLOW_LABELS),
    &counter("tcp_retransmits_total", "Segments sent again, those of the handshake too.", FLOW_LABELS),
];
/// Attempts to connect.
pub static FLOW_FAILED: [&Family; 1] = [&counter(
    "tcp_connections_failed_total",
    "Attempts of local processes to connect that failed, by reason.",
    FLOW_END_LABELS,
)];
/// Ends of connections.
pub static FLOW_CLOSED: [&Family; 1] = [&counter(
    "tcp_connections_closed_total",
    "Connections that ended, by error where there was one.",
    FLOW_END_LABELS,
)];
/// Resets on connections.
pub static FLOW_RESETS: [&Family; 1] =
    [&counter("tcp_resets_total", "Resets on established connections, by direction.", FLOW_RESET_LABELS)];
/// The families of listeners, in the order of [`ListenValues`](crate::metric::flow::ListenValues).
pub static FLOW_LISTENERS: [&Family; 3] = [
    &counter(
        "tcp_listen_overflows_total",
        "Connections that a listener dropped, by the socket's own counter: nearly always because its queue was full.",
        LISTEN_LABELS,
    ),
    &gauge("tcp_listen_queue_depth", "1", "Established connections that wait to be accepted.", LISTEN_LABELS),
    &gauge("tcp_listen_queue_limit", "1", "How many connections may wait to be accepted.", LISTEN_LABELS),
];
const GRAPH_LABELS: &[&str] = &["client", "server", "server_k8s_service_name", "connection_type"];

/// The families of the service graph, in the order of [`EdgeValues`](crate::metric::graph::EdgeValues).
pub static GRAPH: [&Family; 4] = [
    &counter("traces_service_graph_request_total", "Requests from a service to another.", GRAPH_LABELS),
    &counter("traces_service_graph_request_failed_total", "Those that failed.", GRAPH_LABELS),
    &duration("traces_service_graph_request_client_seconds", "How long they took the client.", GRAPH_LABELS),
    &duration("traces_service_graph_request_server_seconds", "How long they took the server.", GRAPH_LABELS),
];
/// Resets for nobody.
pub static RESETS_WITHOUT_CONNECTION: Family = counter(
    "sensor_resets_without_connection_total",
    "Resets that the kernel sent for no connection, such as the answer to a closed port.",
    &[],
);
/// The cost of looking at all sockets.
pub static FLOW_INTERVAL_CPU: Family = Family {
    name: "sensor_flow_interval_cpu_seconds",
    kind: Kind::Gauge,
    unit: "s",
    help: "Processor time that the last look at all sockets took.",
    labels: &[],
};
/// Sockets in that look.
pub static FLOW_SOCKETS: Family =
    gauge("sensor_flow_sockets", "1", "Connections that the last look at all sockets found.", &[]);

const DNS_LABELS: &[&str] = &["service_name", "dns_question_name", "dns_response_code", "error_type"];
/// Lookups of names.
pub static DNS: [&Family; 1] = [&latency(
    "dns_lookup_duration_seconds",
    "From the first time a question was sent to the name service to its answer. `nxdomain_search` is the error of a name \
     that a resolver made by its search list, before it asked for the next.",
    DNS_LABELS,
)];
/// Questions without an answer.
pub static DNS_UNANSWERED: [&Family; 1] = [&counter(
    "dns_lookups_unanswered_total",
    "Questions to the name service to which no answer came within `flow.dns.timeout`.",
    &["service_name", "dns_question_name"],
)];
/// Names that found no room.
pub static DNS_NAMES_FOLDED: Family = counter(
    "sensor_dns_names_folded_total",
    "Lookups whose name became `*`, because there were `flow.dns.max_names` of them.",
    &[],
);

/// Handshakes of TLS.
pub static TLS: [&Family; 1] = [&latency(
    "tls_handshake_duration_seconds",
    "From the first byte of the client's hello to that of the client's Finished, or to what ended the handshake before.",
    &[
        "service_name",
        "role",
        "tls_client_server_name",
        "tls_protocol_version",
        "tls_next_protocol",
        "error_type",
    ],
)];
/// Names that found no room.
pub static TLS_NAMES_FOLDED: Family = counter(
    "sensor_tls_names_folded_total",
    "Handshakes whose server's name became `*`, because there were `flow.tls.max_names` of them.",
    &[],
);

/// Every family of connections, of lookups and of handshakes.
pub fn connections() -> impl Iterator<Item = &'static &'static Family> {
    FLOW.iter()
        .chain(&FLOW_FAILED)
        .chain(&FLOW_CLOSED)
        .chain(&FLOW_RESETS)
        .chain(&FLOW_LISTENERS)
        .chain(&DNS)
        .chain(&DNS_UNANSWERED)
        .chain(&TLS)
}
