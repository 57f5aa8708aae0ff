//! The metrics of HTTP exchanges.

use std::borrow::Cow;
use std::sync::Arc;

use hashbrown::Equivalent;

use super::group::{Group, Values};
use super::histogram::{DURATION, DURATION_SLOTS, Histogram, SIZE, SIZE_SLOTS};
use super::labels::sanitise;
use super::{Exemplar, Labels, Sample};
use crate::identity::{Observed, Workload};
use crate::protocol::{Exchange, Role};
use crate::semantic::{self, Address, ErrorType};

/// The exchanges of one role.
pub type HttpGroup = Group<Key<Box<str>>, HttpValues>;

/// What tells one label set from another; borrowed for look-ups, owned in the table.
///
/// Two different keys never have the same labels: the strings are sanitised before, and an address is a name or
/// an address by its form alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key<S> {
    service: S,
    workload: Option<Arc<Workload>>,
    route: S,
    method: &'static str,
    status: Option<u16>,
    error: Option<ErrorType>,
    address: Option<Address<S>>,
    port: Option<u16>,
}

impl Equivalent<Key<Box<str>>> for Key<&str> {
    fn equivalent(&self, key: &Key<Box<str>>) -> bool {
        self.port == key.port
            && self.status == key.status
            && self.method == key.method
            && self.error == key.error
            && self.service == &*key.service
            && self.workload == key.workload
            && self.route == &*key.route
            && match (&self.address, &key.address) {
                (None, None) => true,
                (Some(Address::Name(name)), Some(Address::Name(known))) => *name == &**known,
                (Some(Address::Ip(ip)), Some(Address::Ip(known))) => ip == known,
                _ => false,
            }
    }
}

impl Key<&str> {
    fn to_owned(&self) -> Key<Box<str>> {
        Key {
            service: self.service.into(),
            workload: self.workload.clone(),
            route: self.route.into(),
            method: self.method,
            status: self.status,
            error: self.error,
            address: self.address.map(|address| address.map(Into::into)),
            port: self.port,
        }
    }

    fn labels(&self) -> Labels {
        let text = |value: Option<String>| Cow::Owned(value.unwrap_or_default());
        let workload = self.workload.iter().flat_map(|workload| workload.labels());
        let own = [
            ("service_name", Cow::Borrowed(self.service)),
            ("http_request_method", Cow::Borrowed(self.method)),
            ("http_response_status_code", text(self.status.map(|status| status.to_string()))),
            ("http_route", Cow::Borrowed(self.route)),
            ("server_address", text(self.address.map(|address| address.to_string()))),
            ("server_port", text(self.port.map(|port| port.to_string()))),
            ("error_type", text(self.error.map(|error| error.to_string()))),
        ];
        Labels::new(own.into_iter().chain(workload.map(|(name, value)| (name, value.into()))))
    }
}

/// What is kept of the exchanges of one label set, in the order of the families.
#[derive(Debug, Default)]
pub struct HttpValues {
    duration: Histogram<DURATION_SLOTS>,
    first_byte: Histogram<DURATION_SLOTS>,
    request_body: Histogram<SIZE_SLOTS>,
    response_body: Histogram<SIZE_SLOTS>,
}

impl HttpValues {
    fn record(&mut self, exchange: &Exchange) {
        self.duration.record(&DURATION, semantic::duration_ns(exchange));
        if let Some(first_byte) = semantic::time_to_first_byte_ns(exchange) {
            self.first_byte.record(&DURATION, first_byte);
        }
        if let Some(bytes) = exchange.request.body_bytes {
            self.request_body.record(&SIZE, bytes);
        }
        if let Some(bytes) = exchange.response.and_then(|response| response.body_bytes) {
            self.response_body.record(&SIZE, bytes);
        }
    }
}

impl Values for HttpValues {
    fn sample(&self, family: usize) -> Option<Sample<'_>> {
        let reading = match family {
            0 => self.duration.read(&DURATION),
            1 => self.first_byte.read(&DURATION),
            2 => self.request_body.read(&SIZE),
            3 => self.response_body.read(&SIZE),
            _ => None,
        };
        reading.map(Sample::Histogram)
    }

    fn make_native(&mut self) {
        self.duration.make_native();
        self.first_byte.make_native();
        self.request_body.make_native();
        self.response_body.make_native();
    }
}

/// Records an exchange in the group of its role.
pub fn record(group: &mut HttpGroup, observed: &Observed) {
    let exchange = &observed.exchange;
    with_key(observed, |key| {
        group.values(key, exchange.end_ns, || (key.to_owned(), key.labels())).record(exchange);
    });
}

/// Notes an exemplar of an exchange that was recorded.
pub fn note(group: &mut HttpGroup, observed: &Observed, exemplar: Exemplar) {
    with_key(observed, |key| {
        if let Some(values) = group.known(key) {
            values.duration.note(exemplar);
        }
    });
}

fn with_key(observed: &Observed, then: impl FnOnce(&Key<&str>)) {
    let exchange = &observed.exchange;
    let service = sanitise(&observed.service_name);
    let route = sanitise(&observed.route);
    // A server's own address says nothing that its name does not.
    let (host, port) = match exchange.role {
        Role::Server => (None, semantic::server_port(exchange)),
        Role::Client => {
            let (address, port) = semantic::server(exchange);
            (Some(address), port)
        }
    };
    let address = match &host {
        Some(Address::Name(name)) => Some(Address::Name(&**name)),
        Some(Address::Ip(ip)) => Some(Address::Ip(*ip)),
        None => None,
    };
    let key = Key {
        service: &*service,
        workload: observed.workload().cloned(),
        route: &*route,
        method: semantic::request_method(&exchange.method),
        status: exchange.status,
        error: ErrorType::of(exchange),
        address,
        port,
    };
    then(&key);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Source;
    use crate::metric::family::{HTTP_CLIENT, HTTP_SERVER};
    use crate::metric::fixture::{exchange, observed};
    use crate::protocol::{End, Message};

    fn group_of(exchanges: &[Exchange]) -> HttpGroup {
        let families = if exchanges[0].role == Role::Server { &HTTP_SERVER } else { &HTTP_CLIENT };
        let mut group = HttpGroup::new(families, 100);
        for exchange in exchanges {
            record(&mut group, &observed(exchange.clone()));
        }
        group
    }

    fn labels(exchange: Exchange) -> Vec<(&'static str, String)> {
        let group = group_of(&[exchange]);
        let (labels, _) = group.read(0, 0).unwrap();
        labels.iter().map(|(name, value)| (name, value.to_owned())).collect()
    }

    fn label(exchange: Exchange, name: &str) -> String {
        labels(exchange)
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
            .unwrap_or_default()
    }

    #[test]
    fn a_server_exchange_has_these_labels() {
        let expected = [
            ("http_request_method", "GET".to_owned()),
            ("http_response_status_code", "200".to_owned()),
            ("http_route", "/items/{id}".to_owned()),
            ("server_port", "8080".to_owned()),
            ("service_name", "shop".to_owned()),
        ];
        assert_eq!(labels(exchange()), expected);
    }

    #[test]
    fn a_client_exchange_names_the_server() {
        let client =
            |host: Option<&str>| Exchange { role: Role::Client, host: host.map(str::to_owned), ..exchange() };
        assert_eq!(label(client(Some("Api.Example.com:8080")), "server_address"), "api.example.com");
        assert_eq!(label(client(Some("a b\u{7}")), "server_address"), "10.0.0.9");
        assert_eq!(label(client(None), "server_address"), "10.0.0.9");
        assert_eq!(label(client(None), "server_port"), "55000");
    }

    #[test]
    fn what_is_unknown_has_no_label() {
        let cut = Exchange { status: None, response: None, end: End::NoResponse, ..exchange() };
        assert_eq!(label(cut.clone(), "http_response_status_code"), "");
        assert_eq!(label(cut.clone(), "error_type"), "no_response");
        let group = group_of(&[cut]);
        assert!(group.read(0, 0).is_some(), "the duration until the connection closed is known");
        assert!(group.read(1, 0).is_none(), "there was no first byte");
        assert!(group.read(3, 0).is_none(), "there was no body");
    }

    #[test]
    fn a_method_of_the_clients_own_making_is_one_series() {
        let made_up = |method: &str| Exchange { method: method.to_owned().into(), ..exchange() };
        let group = group_of(&[made_up("BREW"), made_up("WHEN")]);
        assert_eq!(group.len(), 1);
        assert_eq!(group.read(0, 0).unwrap().0.get("http_request_method"), semantic::OTHER_METHOD);
    }

    #[test]
    fn a_truncated_name_is_one_series() {
        let mut group = HttpGroup::new(&HTTP_SERVER, 100);
        for end in ["a", "b"] {
            let mut observed = observed(exchange());
            observed.service_name = format!("{}{end}", "s".repeat(256)).into();
            record(&mut group, &observed);
        }
        assert_eq!(group.len(), 1);
    }

    #[test]
    fn an_exchange_fills_every_histogram() {
        let response =
            Some(Message { first_ns: 3_000_000, last_ns: 7_000_000, head_bytes: None, body_bytes: None });
        let group = group_of(&[exchange(), exchange(), Exchange { response, ..exchange() }]);
        let count = |family| match group.read(family, 0) {
            Some((_, Sample::Histogram(reading))) => (reading.count(), reading.sum()),
            other => panic!("{other:?}"),
        };
        assert_eq!(count(0), (3, 0.018));
        assert_eq!(count(1), (3, 0.006));
        assert_eq!(count(2), (3, 0.0));
        assert_eq!(count(3), (2, 1024.0));
    }
}
