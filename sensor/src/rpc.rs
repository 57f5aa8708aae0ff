//! The RPC semantic conventions of OpenTelemetry 1.44 for gRPC, as far as metrics and spans share them.

use std::borrow::Cow;

use crate::protocol::{Exchange, Grpc, Role};

/// `rpc.method` of a method that the server does not have, so that a client can't make up series.
pub const OTHER_METHOD: &str = "_OTHER";
/// `rpc.method` where the name cannot be known.
pub const UNKNOWN_METHOD: &str = "*";

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

/// `rpc.response.status_code`. A code that the list does not have counts as `UNKNOWN`, as clients take it.
#[must_use]
pub fn status_name(status: u16) -> &'static str {
    STATUSES.get(usize::from(status)).copied().unwrap_or(STATUSES[2])
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
}
