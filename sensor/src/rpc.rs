//! The RPC semantic conventions of OpenTelemetry for gRPC, as far as metrics and spans share them: those of 1.44, and by a switch
//! those up to 1.37.

use std::borrow::Cow;

use serde::Deserialize;

use crate::protocol::{Exchange, Grpc, Role};

/// `rpc.method` of a method that the server does not have, so that a client can't make up series.
pub const OTHER_METHOD: &str = "_OTHER";
/// `rpc.method` where the name cannot be known.
pub const UNKNOWN_METHOD: &str = "*";

/// Which names calls have in metrics and spans
/// (<https://opentelemetry.io/docs/specs/semconv/non-normative/rpc-migration/>).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum Names {
    /// `rpc_server_call_duration_seconds`, `rpc.system.name`, `rpc.method` with the service in it, `rpc.response.status_code`
    #[default]
    Stable,
    /// `rpc_server_duration_milliseconds`, `rpc.system`, `rpc.service`, `rpc.method`, `rpc.grpc.status_code` as a number
    Old,
}

/// The status that clients take a code for which the list does not have.
const UNKNOWN: u16 = 2;
/// The status of a method that the server does not have.
const UNIMPLEMENTED: u16 = 12;
/// Names of the status codes (<https://grpc.io/docs/guides/status-codes/>).
const STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// `rpc.grpc.status_code`. A code that the list does not have counts as `UNKNOWN`, as clients take it.
#[must_use]
pub const fn known_status(status: u16) -> u16 {
    if (status as usize) < STATUSES.len() { status } else { UNKNOWN }
}

/// `rpc.response.status_code`, for codes as in [`known_status`].
#[must_use]
pub const fn status_name(status: u16) -> &'static str {
    STATUSES[known_status(status) as usize]
}

/// Whether a status is the failure of this side: for a server what is its own fault, for a client anything but OK.
#[must_use]
pub const fn is_failure(role: Role, status: u16) -> bool {
    match role {
        Role::Server => matches!(status, 2 | 4 | 12..=15),
        Role::Client => status != 0,
    }
}

/// `rpc.method`: the service with its package, a slash, and the method.
#[must_use]
pub fn method<'a>(exchange: &'a Exchange, grpc: &Grpc) -> Cow<'a, str> {
    if grpc.status == Some(UNIMPLEMENTED) {
        return Cow::Borrowed(OTHER_METHOD);
    }
    match &exchange.path {
        Some(path) => Cow::Borrowed(path.strip_prefix('/').unwrap_or(path)),
        None => Cow::Borrowed(UNKNOWN_METHOD),
    }
}

/// `rpc.service` and `rpc.method` of the conventions up to 1.37; without a service where the method stands for one that is not
/// known.
#[must_use]
pub fn service_and_method(method: &str) -> (Option<&str>, &str) {
    match method.rsplit_once('/') {
        Some((service, method)) => (Some(service), method),
        None => (None, method),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::fixture::exchange;

    #[test]
    fn statuses_have_names() {
        assert_eq!([0, 5, 16, 99].map(status_name), ["OK", "NOT_FOUND", "UNAUTHENTICATED", "UNKNOWN"]);
        assert!(is_failure(Role::Client, 5) && !is_failure(Role::Server, 5) && is_failure(Role::Server, 13));
    }

    #[test]
    fn a_method_is_its_path() {
        let method = |path: Option<&str>, status| {
            let exchange = Exchange { path: path.map(str::to_owned), ..exchange() };
            method(&exchange, &Grpc { status, ..Grpc::default() }).into_owned()
        };
        assert_eq!(method(Some("/shop.Cart/Add"), Some(0)), "shop.Cart/Add");
        assert_eq!(method(Some("/shop.Cart/Nil"), Some(12)), OTHER_METHOD);
        assert_eq!(method(None, None), UNKNOWN_METHOD);
    }

    #[test]
    fn a_service_is_all_before_the_method() {
        assert_eq!(service_and_method("shop.Cart/Add"), (Some("shop.Cart"), "Add"));
        assert_eq!(service_and_method(OTHER_METHOD), (None, OTHER_METHOD));
    }
}
