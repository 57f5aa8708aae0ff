//! `docs/metrics.md`, generated from the list of families.

use std::fmt::Write;

use super::family::{self, Family};
use super::histogram::{Buckets, DURATION, LATENCY, LIFETIME, SIZE};
use crate::config::reference::assert_up_to_date;

const HEAD: &str = "\
# Metrics

Generated from the list of families in the source; `UPDATE_DOCS=1 cargo test -p sensor --lib reference` writes it.

They are served in the Prometheus text format 0.0.4 at `/metrics` of the address that `listen` names.
Names and labels follow the OpenTelemetry semantic conventions 1.44 where these name a thing; time to first byte and
everything that starts with `sensor_` are the sensor's own.
";

const LABELS: &str = "
### Labels

A label without a value is left out. Values are cut at 256 bytes, and control characters in them become U+FFFD.

| label | value |
|---|---|
| `service_name` | the local process's service: on a bare host the executable's name, for interpreters the script's |
| `http_request_method` | a method of RFC 9110, `PATCH` or `QUERY`; any other is `_OTHER` |
| `http_response_status_code` | the final response's status; absent when the connection ended before the response's first byte |
| `http_route` | the path with its variable segments as placeholders; `*` once the service has `http.max_routes` of them; absent when the path is not known |
| `server_port` | the local port of a server; the port that a client connected to |
| `server_address` | clients only: the host that the request names, in lower case, or the address connected to when it names none that could be one |
| `error_type` | the status when it says that the exchange failed (5xx for a server, 4xx and 5xx for a client); `no_response` when the connection ended before the response's first byte, `response_cut` when it ended within the response; absent when nothing failed |

An exchange that hands the connection to another protocol (101, or 2xx to `CONNECT`) is counted with that status and
lasts until the last byte of that response's head; what follows on the connection is not HTTP and is not counted.
An exchange without a response lasts until the connection ended. Where a size is not known, because the head was
longer than what is captured, the exchange is in the duration histogram and not in the size histogram.

The families of one role share their label sets, of which at most `metric.max_series` are kept for each family. What finds
no room goes to one series whose labels are all `other`, and is counted in `sensor_series_folded_total`. So is what would exceed `metric.max_active_series`, of all families together.
";

const RPC_OLD: &str = "
With `http.rpc_names: old` calls have the names that the conventions had up to 1.37 instead, in metrics and spans.
";

const FLOW: &str = "
| label | value |
|---|---|
| `service_name` | the local process's service: of an opened connection the one that connected, of an accepted one the one that called `listen`; absent when that is not known |
| `peer_service_name` | the other end's service, where that is a process of this host, also behind an address that is translated on the way; in a cluster also the Service behind the address; else absent |
| `peer_dns_name` | the name by which the other end's address was looked up, else the one that TLS clients ask for there; absent where none is known, and where `flow.dns.max_names` others are told |
| `peer_network` | `node`: this host; `pod`: another network namespace of this host; `vpc`: another private, shared, link-local or unique local address; `internet`: any other |
| `server_port` | the listener's own port, where it is known which end listens; absent from 32768 on, where the ports of clients are |
| `server_k8s_service_name` | the Kubernetes Service whose address the client connected to, where the server's own name is another; absent without one |
| `network_protocol_name` | `amqp`, `kafka`, `mongodb`, `mysql`, `postgresql`, `redis` or `tls`, from when the first bytes of a message have said so: not on what is told before, that the connection was opened or accepted; absent for HTTP and where it is not known |
| `error_type` | `refused`; `timeout`: nobody answered; `unreachable`: no way there, by a router's or this host's word; `reset`: the other end cut it; `aborted`: this end gave up; `other`; absent on the end of a connection without an error |
| `direction` | `sent` or `received` |

A connection with both ends on this host is two of these: one opened, one accepted. Bytes, segments and retransmits are the
kernel's own (`struct tcp_sock`, as `ss -ti` shows them), told once an interval while a connection lives and at its end.
What a connection moved before the sensor started is not in them.

";

const TLS: &str = "
Of a TLS handshake, which nobody's keys are needed for:

| label | value |
|---|---|
| `role` | `client` or `server`: which side the local process is |
| `tls_client_server_name` | the host that the client wants (RFC 6066); `*` once there are `flow.tls.max_names` of them; absent where it names none |
| `tls_protocol_version` | `1.0` to `1.3`; absent when the server never chose one |
| `tls_next_protocol` | the protocol inside, such as `h2`, where the server says so in clear: never in TLS 1.3 |
| `error_type` | the name of the alert that ended the handshake (RFC 8446, 6); `alert` for one that is encrypted or not known; `closed`: the connection ended before; `not_tls`: the server's answer is none; absent when nothing failed |

";

const GRAPH: &str = "
`client` and `server` are services; an end that is no process of this host is the name by which it was looked up or that the
request names, else where it is (`peer_network` above). `connection_type` is absent where both ends are services of this
host, `virtual_node` where one is not. Connections on which no exchange was seen count as one request each, at their end, and
have no duration: theirs is `database` where `network_protocol_name` above is `mongodb`, `mysql`, `postgresql` or `redis`,
`messaging_system` where it is `amqp` or `kafka`, else `tcp`.
";

const SPANS: &str = "
Made of every exchange before sampling, where `metric.span_metrics` is true. `service` is the local process's
service, `job` the same behind its namespace and `/`, where that is known; `span_name` is the name of its span, `span_kind` `SPAN_KIND_SERVER` or `SPAN_KIND_CLIENT`, `status_code`
`STATUS_CODE_ERROR` or `STATUS_CODE_UNSET`. Spans that are sent carry `span.metrics.skip`, so that the receiver does not make
them again.
";

const CLUSTER: &str = "
## In a cluster

Series of processes in pods have these labels too, where they are known: `service_namespace`, `k8s_namespace_name`,
`k8s_container_name`, with `kubernetes.metrics_by_pod` `k8s_pod_name`, and one for what made the pod: `k8s_deployment_name`,
`k8s_statefulset_name`, `k8s_daemonset_name`, `k8s_cronjob_name`, `k8s_job_name`, `k8s_rollout_name` or `k8s_replicaset_name`.
`service_name` is, in this order: the annotation `resource.opentelemetry.io/service.name`; with `kubernetes.service_labels` the
labels `app.kubernetes.io/instance` and `name`; what made the pod; the pod. Metrics of connections have also
`cloud_availability_zone`, `peer_cloud_availability_zone` and `peer_service_namespace`; `peer_service_name` of an address that is no
process of this node is the Service behind it, where that is one alone.
";

#[test]
fn the_metrics_page_is_up_to_date() {
    let mut text = HEAD.to_owned();
    section(&mut text, "## HTTP servers", &family::HTTP_SERVER);
    section(&mut text, "## HTTP clients", &family::HTTP_CLIENT);
    section(&mut text, "## gRPC servers", &family::RPC_SERVER);
    section(&mut text, "## gRPC clients", &family::RPC_CLIENT);
    text.push_str(RPC_OLD);
    section(&mut text, "### Names up to 1.37", &[family::RPC_SERVER_OLD, family::RPC_CLIENT_OLD].concat());
    text.push_str(LABELS);
    text.push_str("\n### Buckets\n\n");
    buckets(&mut text, "Durations, in seconds", &DURATION);
    buckets(&mut text, "Sizes, in bytes", &SIZE);
    let flow: Vec<&Family> = family::connections().copied().collect();
    section(&mut text, "## TCP connections", &flow);
    text.push_str(FLOW);
    text.push_str(TLS);
    buckets(
        &mut text,
        "`tcp_connect_duration_seconds`, `tcp_rtt_seconds` and `tls_handshake_duration_seconds`",
        &LATENCY,
    );
    buckets(&mut text, "`tcp_connection_duration_seconds`", &LIFETIME);
    section(&mut text, "## Service graph", &family::GRAPH);
    text.push_str(GRAPH);
    section(&mut text, "## Span metrics", &[family::SPANS.as_slice(), &family::TARGETS].concat());
    text.push_str(SPANS);
    text.push_str(CLUSTER);
    section(&mut text, "## The sensor itself", family::OWN);
    assert_up_to_date("metrics.md", &text);
}

fn section(text: &mut String, title: &str, families: &[&Family]) {
    write!(text, "\n{title}\n\n| name | type | unit | labels | meaning |\n|---|---|---|---|---|\n").unwrap();
    for family in families {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, unit) = (family.name, family.kind.name(), family.unit);
        writeln!(text, "| `{name}` | {kind} | {unit} | {} | {} |", labels.join(", "), family.help).unwrap();
    }
}

fn buckets(text: &mut String, title: &str, buckets: &Buckets) {
    let bounds: Vec<String> = buckets.exported().map(|bound| bound.to_string()).collect();
    writeln!(text, "- {title}: {}, and one without a bound.", bounds.join(", ")).unwrap();
}
