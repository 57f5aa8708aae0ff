//! The metrics of gRPC calls.

use std::borrow::Cow;
use std::sync::Arc;

use super::group::{Group, Values};
use super::histogram::{Buckets, DURATION, DURATION_MILLISECONDS, DURATION_SLOTS, Histogram};
use super::http::client_address;
use super::labels::sanitise;
use super::{Exemplar, Family, Labels, Sample, family};
use crate::identity::{Observed, Workload};
use crate::protocol::{Grpc, Role};
use crate::rpc::{self, Names};
use crate::semantic::{self, ErrorType};

/// The calls of one role.
pub type RpcGroup = Group<Key, RpcValues>;

/// The families of a role, in the order of [`RpcValues`].
#[must_use]
pub fn families(role: Role, names: Names) -> &'static [&'static Family] {
    match (role, names) {
        (Role::Server, Names::Stable) => &family::RPC_SERVER,
        (Role::Client, Names::Stable) => &family::RPC_CLIENT,
        (Role::Server, Names::Old) => &family::RPC_SERVER_OLD,
        (Role::Client, Names::Old) => &family::RPC_CLIENT_OLD,
    }
}

/// What tells one label set from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    service: Box<str>,
    workload: Option<Arc<Workload>>,
    method: Box<str>,
    status: Option<u16>,
    error: Option<ErrorType>,
    address: Option<Box<str>>,
    port: u16,
}

impl Key {
    fn labels(&self, names: Names) -> Labels {
        let text = |value: Option<&str>| Cow::Owned(value.unwrap_or_default().to_owned());
        let workload = self.workload.iter().flat_map(|workload| workload.labels());
        let own = [
            ("service_name", text(Some(&self.service))),
            ("server_address", text(self.address.as_deref())),
            ("server_port", Cow::Owned(self.port.to_string())),
            ("error_type", Cow::Owned(self.error.map(|error| error.to_string()).unwrap_or_default())),
        ];
        let call = match names {
            Names::Stable => [
                ("rpc_system_name", Cow::Borrowed("grpc")),
                ("rpc_method", text(Some(&self.method))),
                ("rpc_response_status_code", text(self.status.map(rpc::status_name))),
                // None: an empty label is left out.
                ("rpc_service", Cow::Borrowed("")),
            ],
            Names::Old => {
                let (service, method) = rpc::service_and_method(&self.method);
                let status = self.status.map(|status| status.to_string());
                [
                    ("rpc_system", Cow::Borrowed("grpc")),
                    ("rpc_method", text(Some(method))),
                    ("rpc_grpc_status_code", text(status.as_deref())),
                    ("rpc_service", text(service)),
                ]
            }
        };
        let workload = workload.map(|(name, value)| (name, value.into()));
        Labels::new(own.into_iter().chain(call).chain(workload))
    }
}

/// What is kept of the calls of one label set, in the order of the families.
#[derive(Debug, Default)]
pub struct RpcValues {
    names: Names,
    duration: Histogram<DURATION_SLOTS>,
    first_message: Histogram<DURATION_SLOTS>,
}

impl Values for RpcValues {
    fn sample(&self, family: usize) -> Option<Sample<'_>> {
        let reading = match family {
            0 => self.duration.read(duration_buckets(self.names)),
            1 => self.first_message.read(&DURATION),
            _ => None,
        };
        reading.map(Sample::Histogram)
    }

    fn make_native(&mut self) {
        self.duration.make_native();
        self.first_message.make_native();
    }
}

const fn duration_buckets(names: Names) -> &'static Buckets {
    match names {
        Names::Stable => &DURATION,
        Names::Old => &DURATION_MILLISECONDS,
    }
}

/// Records a call in the group of its role, which has the families of these names.
pub fn record(group: &mut RpcGroup, observed: &Observed, grpc: &Grpc, names: Names) {
    let exchange = &observed.exchange;
    let key = key(observed, grpc);
    let values = group.values(&key, exchange.end_ns, || (key.clone(), key.labels(names)));
    values.names = names;
    values.duration.record(duration_buckets(names), semantic::duration_ns(exchange));
    if let Some(first_ns) = grpc.first_message_ns {
        values.first_message.record(&DURATION, first_ns.saturating_sub(exchange.request.first_ns));
    }
}

/// Notes an exemplar of a call that was recorded.
pub fn note(group: &mut RpcGroup, observed: &Observed, grpc: &Grpc, exemplar: Exemplar) {
    if let Some(values) = group.known(&key(observed, grpc)) {
        values.duration.note(exemplar);
    }
}

fn key(observed: &Observed, grpc: &Grpc) -> Key {
    let exchange = &observed.exchange;
    let (address, port) = match exchange.role {
        Role::Server => (None, exchange.endpoints.local.port()),
        Role::Client => {
            let address = client_address(exchange).to_string();
            (Some(address.into_boxed_str()), exchange.endpoints.remote.port())
        }
    };
    Key {
        service: sanitise(&observed.service_name).into(),
        workload: observed.workload().cloned(),
        method: sanitise(&rpc::method(exchange, grpc)).into(),
        status: grpc.status.map(rpc::known_status),
        error: ErrorType::of(exchange),
        address,
        port,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Source;
    use crate::metric::fixture::{exchange, observed};
    use crate::protocol::{End, Exchange};

    fn labels(exchange: Exchange, names: Names) -> Vec<(&'static str, String)> {
        let grpc = exchange.grpc.unwrap();
        let mut group = RpcGroup::new(families(exchange.role, names), 100);
        record(&mut group, &observed(exchange), &grpc, names);
        let (labels, _) = group.read(0, 0).unwrap();
        assert_eq!(group.read(1, 0).is_some(), grpc.first_message_ns.is_some());
        labels.iter().map(|(name, value)| (name, value.to_owned())).collect()
    }

    fn call(status: Option<u16>) -> Exchange {
        let grpc = Grpc { status, first_message_ns: Some(2_000_000), ..Grpc::default() };
        Exchange { path: Some("/shop.Cart/Add".to_owned()), grpc: Some(grpc), ..exchange() }
    }

    #[test]
    fn a_call_has_these_labels() {
        let expected = [
            ("rpc_method", "shop.Cart/Add".to_owned()),
            ("rpc_response_status_code", "NOT_FOUND".to_owned()),
            ("rpc_system_name", "grpc".to_owned()),
            ("server_port", "8080".to_owned()),
            ("service_name", "shop".to_owned()),
        ];
        assert_eq!(labels(call(Some(5)), Names::Stable), expected);
        let client = labels(Exchange { role: Role::Client, ..call(Some(5)) }, Names::Stable);
        assert!(client.contains(&("error_type", "NOT_FOUND".to_owned())), "{client:?}");
        assert!(client.contains(&("server_address", "shop.example".to_owned())), "{client:?}");
    }

    #[test]
    fn a_call_has_these_labels_by_the_old_names() {
        let expected = [
            ("rpc_grpc_status_code", "5".to_owned()),
            ("rpc_method", "Add".to_owned()),
            ("rpc_service", "shop.Cart".to_owned()),
            ("rpc_system", "grpc".to_owned()),
            ("server_port", "8080".to_owned()),
            ("service_name", "shop".to_owned()),
        ];
        assert_eq!(labels(call(Some(5)), Names::Old), expected);
        let unknown = labels(Exchange { path: None, ..call(Some(99)) }, Names::Old);
        assert!(unknown.contains(&("rpc_grpc_status_code", "2".to_owned())), "{unknown:?}");
        assert!(unknown.iter().all(|(name, _)| *name != "rpc_service"), "{unknown:?}");
    }

    #[test]
    fn the_old_duration_is_in_milliseconds() {
        let exchange = call(Some(0));
        let milliseconds = semantic::duration_ns(&exchange) as f64 / 1e6;
        let grpc = exchange.grpc.unwrap();
        let mut group = RpcGroup::new(families(Role::Server, Names::Old), 100);
        record(&mut group, &observed(exchange), &grpc, Names::Old);
        let Some((_, Sample::Histogram(reading))) = group.read(0, 0) else { panic!("no histogram") };
        assert_eq!(reading.sum(), milliseconds);
        assert_eq!(group.families()[0].name, "rpc_server_duration_milliseconds");
        assert_eq!(group.families()[0].kind, crate::metric::Kind::Histogram(reading.buckets));
    }

    #[test]
    fn a_cancelled_call_has_no_status() {
        let labels = labels(Exchange { end: End::Reset(8), ..call(None) }, Names::Stable);
        assert!(labels.contains(&("error_type", "cancel".to_owned())), "{labels:?}");
        assert!(labels.iter().all(|(name, _)| *name != "rpc_response_status_code"));
    }
}
