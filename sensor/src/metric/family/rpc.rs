//! Families of gRPC calls.

use super::{Family, Kind, duration};
use crate::metric::histogram::DURATION_MILLISECONDS;

const RPC_SERVER_LABELS: &[&str] = &[
    "service_name",
    "rpc_system_name",
    "rpc_method",
    "rpc_response_status_code",
    "server_port",
    "error_type",
];
const RPC_CLIENT_LABELS: &[&str] = &[
    "service_name",
    "rpc_system_name",
    "rpc_method",
    "rpc_response_status_code",
    "server_address",
    "server_port",
    "error_type",
];

const RPC_SERVER_OLD_LABELS: &[&str] = &[
    "service_name",
    "rpc_system",
    "rpc_service",
    "rpc_method",
    "rpc_grpc_status_code",
    "server_port",
    "error_type",
];
const RPC_CLIENT_OLD_LABELS: &[&str] = &[
    "service_name",
    "rpc_system",
    "rpc_service",
    "rpc_method",
    "rpc_grpc_status_code",
    "server_address",
    "server_port",
    "error_type",
];

/// The families of gRPC calls in which the local process is the server, in the order of
/// [`RpcValues`](crate::metric::rpc::RpcValues).
pub static RPC_SERVER: [&Family; 2] = [
    &duration(
        "rpc_server_call_duration_seconds",
        "gRPC: from the first byte of the call received to its trailers sent.",
        RPC_SERVER_LABELS,
    ),
    &duration(
        "rpc_server_call_time_to_first_message_seconds",
        "gRPC: from the first byte of the call received to the first message of the response sent.",
        RPC_SERVER_LABELS,
    ),
];

/// The families of gRPC calls in which the local process is the client, in the same order.
pub static RPC_CLIENT: [&Family; 2] = [
    &duration(
        "rpc_client_call_duration_seconds",
        "gRPC: from the first byte of the call sent to its trailers received.",
        RPC_CLIENT_LABELS,
    ),
    &duration(
        "rpc_client_call_time_to_first_message_seconds",
        "gRPC: from the first byte of the call sent to the first message of the response received.",
        RPC_CLIENT_LABELS,
    ),
];

/// The same of servers by the names of the conventions up to 1.37.
pub static RPC_SERVER_OLD: [&Family; 2] = [
    &milliseconds("rpc_server_duration_milliseconds", RPC_SERVER[0].help, RPC_SERVER_OLD_LABELS),
    &Family { labels: RPC_SERVER_OLD_LABELS, ..*RPC_SERVER[1] },
];

/// The same of clients.
pub static RPC_CLIENT_OLD: [&Family; 2] = [
    &milliseconds("rpc_client_duration_milliseconds", RPC_CLIENT[0].help, RPC_CLIENT_OLD_LABELS),
    &Family { labels: RPC_CLIENT_OLD_LABELS, ..*RPC_CLIENT[1] },
];

const fn milliseconds(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Family {
    Family { name, kind: Kind::Histogram(&DURATION_MILLISECONDS), unit: "ms", help, labels }
}
