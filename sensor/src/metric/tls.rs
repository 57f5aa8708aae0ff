//! Metrics of TLS handshakes.

use std::sync::Arc;

use super::flow::labels_of;
use super::group::{Group, Values};
use super::histogram::{Histogram, LATENCY, LATENCY_SLOTS};
use super::{Labels, Sample, family};
use crate::identity::Service;
use crate::protocol::{HandshakeError, Role, TlsVersion};
use crate::semantic::role_name;

/// What handshakes are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The local process.
    pub service: Service,
    /// Which side it is.
    pub role: Role,
    /// The host that the client wants, of a bounded number of names; empty where it names none.
    pub server_name: Arc<str>,
    /// The version, where it was chosen.
    pub version: Option<TlsVersion>,
    /// The protocol inside; empty where it is not known.
    pub next_protocol: Arc<str>,
    /// Why it failed.
    pub error: Option<HandshakeError>,
}

/// How long handshakes took.
#[derive(Debug, Default)]
pub struct HandshakeValues(Histogram<LATENCY_SLOTS>);

impl Values for HandshakeValues {
    fn sample(&self, _: usize) -> Option<Sample<'_>> {
        self.0.read(&LATENCY).map(Sample::Histogram)
    }

    fn make_native(&mut self) {
        self.0.make_native();
    }
}

/// The metrics of handshakes.
pub type TlsGroup = Group<Key, HandshakeValues>;

/// Holds at most `limit` label sets.
#[must_use]
pub fn tls(limit: usize) -> TlsGroup {
    Group::new(&family::TLS, limit)
}

/// Records a handshake that took so many nanoseconds.
pub fn record(group: &mut TlsGroup, key: &Key, took_ns: u64, now_ns: u64) {
    let make = || {
        let told = [
            ("service_name", (*key.service).into()),
            ("role", role_name(key.role).into()),
            ("tls_client_server_name", (*key.server_name).into()),
            ("tls_protocol_version", key.version.map_or("", TlsVersion::name).into()),
            ("tls_next_protocol", (*key.next_protocol).into()),
            ("error_type", key.error.map_or("", HandshakeError::name).into()),
        ];
        (key.clone(), Labels::new(told.into_iter().chain(labels_of(&key.service))))
    };
    group.values(key, now_ns, make).0.record(&LATENCY, took_ns);
}
