//! Where addresses are, and what they are called.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

/// The most looked-up names to remember; the one not used for the longest time is forgotten.
const NAMES: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");

/// Where the other end of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// This host, in the namespace of its first process, or in the connection's own by the loopback.
    Node,
    /// This host, in another network namespace.
    Pod,
    /// A private address that is none of this host's.
    Vpc,
    /// Any other address.
    Internet,
}

impl Network {
    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Pod => "pod",
            Self::Vpc => "vpc",
            Self::Internet => "internet",
        }
    }
}

/// This host's addresses and the names that were looked up.
#[derive(Debug)]
pub struct Places {
    own: Option<u32>,
    /// `None` for an address that several namespaces have.
    addresses: HashMap<IpAddr, Option<u32>>,
    names: LruCache<IpAddr, Arc<str>>,
}

impl Places {
    /// Knows only the namespace of the host itself, by its inode number.
    #[must_use]
    pub fn new(own: Option<u32>) -> Self {
        let mut names = LruCache::unbounded();
        names.resize(NAMES);
        Self { own, addresses: HashMap::new(), names }
    }

    /// Replaces what is known of this host's addresses.
    pub fn set_addresses(&mut self, addresses: impl Iterator<Item = (u32, IpAddr)>) {
        self.addresses.clear();
        for (netns, address) in addresses.filter(|(_, address)| !address.is_loopback()) {
            let place = self.addresses.entry(address.to_canonical()).or_insert(Some(netns));
            if *place != Some(netns) {
                *place = None;
            }
        }
    }

    /// An answer of the name service: `address` is what `name` stands for.
    pub fn learn(&mut self, address: IpAddr, name: &Arc<str>) {
        self.names.put(address.to_canonical(), Arc::clone(name));
    }

    /// The name that led to an address.
    pub fn name(&mut self, address: IpAddr) -> Option<Arc<str>> {
        self.names.get(&address).cloned()
    }

    /// The namespace of this host where `address` is, as seen from `netns`; `None` when it is elsewhere, or in several.
    #[must_use]
    pub fn namespace(&self, netns: u32, address: IpAddr) -> Option<u32> {
        if address.is_loopback() {
            return Some(netns);
        }
        self.addresses.get(&address).copied().flatten()
    }

    /// Where `address` is, as seen from any namespace of this host.
    #[must_use]
    pub fn network(&self, address: IpAddr) -> Network {
        if address.is_loopback() {
            return Network::Node;
        }
        match self.addresses.get(&address) {
            Some(Some(found)) if Some(*found) != self.own => Network::Pod,
            Some(_) => Network::Node,
            None if is_private(address) => Network::Vpc,
            None => Network::Internet,
        }
    }
}

/// RFC 1918, the shared space of RFC 6598, link-local addresses, and unique local ones of RFC 4193.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            address.is_private() || address.is_link_local() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_have_their_networks() {
        let mut places = Places::new(Some(1));
        places.set_addresses(
            [(1, "10.0.0.1"), (2, "10.0.0.2"), (2, "127.0.0.1"), (2, "10.9.9.9"), (3, "10.9.9.9")]
                .into_iter()
                .map(|(netns, address)| (netns, ip(address))),
        );
        assert_eq!(places.network(ip("127.0.0.1")), Network::Node);
        assert_eq!(places.network(ip("10.0.0.1")), Network::Node);
        assert_eq!(places.network(ip("10.0.0.2")), Network::Pod);
        assert_eq!(places.network(ip("10.0.0.3")), Network::Vpc);
        assert_eq!(places.network(ip("100.64.0.1")), Network::Vpc);
        assert_eq!(places.network(ip("fd00::1")), Network::Vpc);
        assert_eq!(places.network(ip("93.184.216.34")), Network::Internet);
        assert_eq!(places.namespace(1, ip("10.0.0.2")), Some(2));
        assert_eq!(places.namespace(7, ip("::1")), Some(7));
        assert_eq!(places.namespace(1, ip("10.9.9.9")), None, "two namespaces have it");
    }

    #[test]
    fn a_name_is_remembered_by_its_address() {
        let mut places = Places::new(None);
        places.learn(ip("::ffff:192.0.2.1"), &"api.example.com".into());
        assert_eq!(places.name(ip("192.0.2.1")).as_deref(), Some("api.example.com"));
        assert_eq!(places.name(ip("192.0.2.2")), None);
    }
}
