//! Settings of connections below HTTP and of lookups of names.

use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

/// How connections are followed, whatever is spoken on them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Flow {
    /// Whether they are.
    pub enabled: bool,
    /// How often the figures of open connections are read: 1s to 1h.
    #[cfg_attr(test, schemars(with = "String"))]
    #[serde(with = "super::duration")]
    pub interval: Duration,
    /// Connections that the daemon remembers: 64 to 4194304. What passes on one beyond that is told at its end, and
    /// it is counted. One takes about 0.5 KiB of memory.
    pub max_connections: usize,
    /// Lookups of names by local processes.
    pub dns: Dns,
    /// Handshakes of TLS.
    pub tls: Tls,
    /// Where addresses are that are none of this host's.
    pub networks: Networks,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(10),
            max_connections: 65_536,
            dns: Dns::default(),
            tls: Tls::default(),
            networks: Networks::default(),
        }
    }
}

/// Lookups of names by local processes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Dns {
    /// Whether they are followed; without `flow.enabled` they are not.
    pub enabled: bool,
    /// The resolvers' port: 1 to 65535. What is sent to it and comes from it is read as far as 1232 bytes a message.
    pub port: u16,
    /// How long an answer may take before the question counts as unanswered: 1s to 60s.
    #[cfg_attr(test, schemars(with = "String"))]
    #[serde(with = "super::duration")]
    pub timeout: Duration,
    /// Names kept as labels, of lookups and of peers each, those by TLS hellos included: 1 to 100000. Every further one is `*` of a lookup and
    /// left out of a peer.
    pub max_names: usize,
}

impl Default for Dns {
    fn default() -> Self {
        Self { enabled: true, port: 53, timeout: Duration::from_secs(5), max_names: 500 }
    }
}

/// Handshakes of TLS.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Whether they are told; without `flow.enabled` they are not.
    pub enabled: bool,
    /// Servers' names kept as labels: 1 to 100000. Every further one is `*`, and counted.
    pub max_names: usize,
}

impl Default for Tls {
    fn default() -> Self {
        Self { enabled: true, max_names: 500 }
    }
}

/// Where addresses are that are none of this host's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Networks {
    /// Networks of pods, such as `10.0.0.0/16`; they go before those of nodes, and these before those of the VPC.
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub pod: Vec<IpNet>,
    /// Networks of nodes.
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub node: Vec<IpNet>,
    /// Networks of the VPC, beside private, shared and link-local addresses, which always are.
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub vpc: Vec<IpNet>,
}
