//! `docs/metrics.md`, generated from the list of families.

use std::fmt::Write;

use super::family::{self, Family};
use super::histogram::{Buckets, DURATION, SIZE};
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
no room goes to one series whose labels are all `other`, and is counted in `sensor_series_folded_total`.
";

#[test]
fn the_metrics_page_is_up_to_date() {
    let mut text = HEAD.to_owned();
    section(&mut text, "## HTTP servers", &family::HTTP_SERVER);
    section(&mut text, "## HTTP clients", &family::HTTP_CLIENT);
    section(&mut text, "## gRPC servers", &family::RPC_SERVER);
    section(&mut text, "## gRPC clients", &family::RPC_CLIENT);
    text.push_str(LABELS);
    text.push_str("\n### Buckets\n\n");
    buckets(&mut text, "Durations, in seconds", &DURATION);
    buckets(&mut text, "Sizes, in bytes", &SIZE);
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
