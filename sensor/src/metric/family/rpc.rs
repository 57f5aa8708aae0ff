//! Families of gRPC calls.

use super::{Family, duration};

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
