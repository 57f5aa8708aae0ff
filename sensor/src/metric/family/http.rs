//! Families of HTTP exchanges.

use super::{Family, duration, size};

const SERVER_LABELS: &[&str] = &[
    "service_name",
    "http_request_method",
    "http_response_status_code",
    "http_route",
    "server_port",
    "error_type",
];
const CLIENT_LABELS: &[&str] = &[
    "service_name",
    "http_request_method",
    "http_response_status_code",
    "http_route",
    "server_address",
    "server_port",
    "error_type",
];

/// The families of exchanges in which the local process is the server, in the order of
/// [`HttpValues`](crate::metric::http::HttpValues).
pub static HTTP_SERVER: [&Family; 4] = [
    &duration(
        "http_server_request_duration_seconds",
        "From the first byte of the request received to the last byte of the response sent.",
        SERVER_LABELS,
    ),
    &duration(
        "http_server_time_to_first_byte_seconds",
        "From the first byte of the request received to the first byte of the response sent.",
        SERVER_LABELS,
    ),
    &size(
        "http_server_request_body_size_bytes",
        "Body of the request as transferred, without the head.",
        SERVER_LABELS,
    ),
    &size(
        "http_server_response_body_size_bytes",
        "Body of the response as transferred, without the head.",
        SERVER_LABELS,
    ),
];

/// The families of exchanges in which the local process is the client, in the same order.
pub static HTTP_CLIENT: [&Family; 4] = [
    &duration(
        "http_client_request_duration_seconds",
        "From the first byte of the request sent to the last byte of the response received.",
        CLIENT_LABELS,
    ),
    &duration(
        "http_client_time_to_first_byte_seconds",
        "From the first byte of the request sent to the first byte of the response received.",
        CLIENT_LABELS,
    ),
    &size(
        "http_client_request_body_size_bytes",
        "Body of the request as transferred, without the head.",
        CLIENT_LABELS,
    ),
    &size(
        "http_client_response_body_size_bytes",
        "Body of the response as transferred, without the head.",
        CLIENT_LABELS,
    ),
];
