//! Where addresses are, and what they are called.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use hashbrown::HashMap;
use lru::LruCache;

use crate::config;
use crate::metric::limit::Limited;

/// The most addresses whose names to remember; the one not used for the longest time is forgotten.
const NAMED: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");
/// The most names of an address; the oldest gives its place.
const NAMES: usize = 8;
/// How long a name counts at least, in seconds: programs keep addresses for longer than they may (a JDK for 30 s).
const KEPT_SECONDS: u64 = 60;
/// And at most.
const KEPT_SECONDS_MAX: u64 = 24 * 3600;
const SECOND_NS: u64 = 1_000_000_000;

/// Where the other end of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// This host, in the namespace of its first process, or in the connection's own by the loopback; or another node, by
    /// the configuration.
    Node,
    /// This host, in another network namespace; or elsewhere, by the configuration.
    Pod,
    /// A private address that is none of this host's, or one that the configuration names.
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

/// This host's addresses, the networks around it, and the names that were looked up.
#[derive(Debug)]
pub struct Places {
    own: Option<u32>,
    networks: config::Networks,
    /// `None` for an address that several namespaces have.
    addresses: HashMap<IpAddr, Option<u32>>,
    named: LruCache<IpAddr, Vec<Name>>,
    /// Names that are told.
    told: Limited,
}

/// A name that led to an address.
#[derive(Debug)]
struct Name {
    name: Arc<str>,
    /// The process that was told so, or said so.
    tgid: u32,
    from: Source,
    until_ns: u64,
}

/// Who says how an address is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The name service.
    Lookup,
    /// A TLS client's hello to it.
    Hello,
}

impl Places {
    /// Knows only the namespace of the host itself, by its inode number. At most `max_names` names are told.
    #[must_use]
    pub fn new(own: Option<u32>, networks: config::Networks, max_names: usize) -> Self {
        // Room for what is there, not for all there may be.
        let mut named = LruCache::unbounded();
        named.resize(NAMED);
        Self { own, networks, addresses: HashMap::new(), named, told: Limited::new(max_names) }
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

    /// An answer of the name service to a process: `address` is what `name` stands for, for so many seconds.
    pub fn learn(&mut self, address: IpAddr, name: &Arc<str>, tgid: u32, seconds: u32, now_ns: u64) {
        self.remember(address, name, tgid, Source::Lookup, seconds, now_ns);
    }

    /// A process's TLS hello to `address` asked for `name`, which is how it is called unless a lookup of that process has said
    /// so: then `None`, as for a loopback address, where many others are. Else what it is called by that; empty where there is
    /// no room for the name.
    pub fn learn_hello(
        &mut self,
        address: IpAddr,
        name: &Arc<str>,
        tgid: u32,
        now_ns: u64,
    ) -> Option<Arc<str>> {
        let address = address.to_canonical();
        if address.is_loopback() {
            return None;
        }
        let names = self.named.get(&address).map_or(&[][..], Vec::as_slice);
        let mut own = names.iter().filter(|known| known.tgid == tgid && known.until_ns > now_ns);
        if own.any(|known| known.from == Source::Lookup) {
            return None;
        }
        self.remember(address, name, tgid, Source::Hello, 0, now_ns);
        Some(self.told.find(name, now_ns).unwrap_or_default())
    }

    fn remember(
        &mut self,
        address: IpAddr,
        name: &Arc<str>,
        tgid: u32,
        from: Source,
        seconds: u32,
        now_ns: u64,
    ) {
        let kept = u64::from(seconds).clamp(KEPT_SECONDS, KEPT_SECONDS_MAX);
        let names = self.named.get_or_insert_mut(address.to_canonical(), Vec::new);
        names.retain(|known| known.until_ns > now_ns && (known.tgid != tgid || known.name != *name));
        if names.len() >= NAMES {
            names.remove(0);
        }
        names.push(Name { name: Arc::clone(name), tgid, from, until_ns: now_ns + kept * SECOND_NS });
    }

    /// The name that led a process to an address: the last that it was told itself, else the one that all its hellos had, else
    /// the one that all others know.
    pub fn name(&mut self, address: IpAddr, tgid: Option<u32>, now_ns: u64) -> Option<Arc<str>> {
        let names = self.named.get(&address)?;
        let known = names.iter().rev().filter(|known| known.until_ns > now_ns);
        let own = known.clone().filter(|known| Some(known.tgid) == tgid);
        let name = match own.clone().find(|known| known.from == Source::Lookup) {
            Some(looked_up) => &looked_up.name,
            None if own.clone().next().is_some() => the_one(own)?,
            None => the_one(known)?,
        };
        self.told.find(name, now_ns)
    }

    /// The namespace of this host where `address` is, as seen from `netns`; `None` when it is elsewhere, or in several.
    #[must_use]
    pub fn namespace(&self, netns: u32, address: IpAddr) -> Option<u32> {
        if address.is_loopback() {
            return Some(netns);
        }
        self.addresses.get(&address).copied().flatten()
    }

    /// Whether an interface of this host has `address`, in whichever namespace.
    #[must_use]
    pub fn is_here(&self, address: IpAddr) -> bool {
        self.addresses.contains_key(&address)
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
            None => self.elsewhere(address),
        }
    }

    fn elsewhere(&self, address: IpAddr) -> Network {
        let known = [
            (&self.networks.pod, Network::Pod),
            (&self.networks.node, Network::Node),
            (&self.networks.vpc, Network::Vpc),
        ];
        let found = known.into_iter().find(|(networks, _)| networks.iter().any(|net| net.contains(&address)));
        match found {
            Some((_, network)) => network,
            None if is_private(address) => Network::Vpc,
            None => Network::Internet,
        }
    }
}

/// The name that all of them are.
fn the_one<'a>(mut names: impl Iterator<Item = &'a Name>) -> Option<&'a Arc<str>> {
    let first = &names.next()?.name;
    names.all(|other| other.name == *first).then_some(first)
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
        let networks = config::Networks {
            pod: vec!["10.3.0.0/16".parse().unwrap()],
            node: vec!["10.0.0.0/8".parse().unwrap()],
            vpc: vec!["2001:db8::/32".parse().unwrap()],
        };
        let mut places = Places::new(Some(1), networks, 10);
        places.set_addresses(
            [(1, "10.0.0.1"), (2, "10.0.0.2"), (2, "127.0.0.1"), (2, "10.9.9.9"), (3, "10.9.9.9")]
                .into_iter()
                .map(|(netns, address)| (netns, ip(address))),
        );
        assert_eq!(places.network(ip("127.0.0.1")), Network::Node);
        assert_eq!(places.network(ip("10.0.0.1")), Network::Node);
        assert_eq!(places.network(ip("10.0.0.2")), Network::Pod);
        assert_eq!(places.network(ip("10.0.0.3")), Network::Node);
        assert_eq!(places.network(ip("10.3.0.3")), Network::Pod);
        assert_eq!(places.network(ip("172.16.0.3")), Network::Vpc);
        assert_eq!(places.network(ip("2001:db8::3")), Network::Vpc);
        assert_eq!(places.network(ip("100.64.0.1")), Network::Vpc);
        assert_eq!(places.network(ip("fd00::1")), Network::Vpc);
        assert_eq!(places.network(ip("93.184.216.34")), Network::Internet);
        assert_eq!(places.namespace(1, ip("10.0.0.2")), Some(2));
        assert_eq!(places.namespace(7, ip("::1")), Some(7));
        assert_eq!(places.namespace(1, ip("10.9.9.9")), None, "two namespaces have it");
    }

    fn places(max_names: usize) -> Places {
        Places::new(None, config::Networks::default(), max_names)
    }

    #[test]
    fn a_name_is_remembered_by_its_address() {
        let mut places = places(10);
        places.learn(ip("::ffff:192.0.2.1"), &"api.example.com".into(), 1, 300, 0);
        let at = |seconds| seconds * SECOND_NS;
        assert_eq!(places.name(ip("192.0.2.1"), Some(1), at(299)).as_deref(), Some("api.example.com"));
        assert_eq!(places.name(ip("192.0.2.1"), None, at(299)).as_deref(), Some("api.example.com"));
        assert_eq!(places.name(ip("192.0.2.1"), Some(1), at(300)), None);
        assert_eq!(places.name(ip("192.0.2.2"), Some(1), 0), None);
        places.learn(ip("192.0.2.2"), &"short".into(), 1, 0, 0);
        assert_eq!(places.name(ip("192.0.2.2"), Some(1), at(59)).as_deref(), Some("short"));
    }

    #[test]
    fn each_process_has_the_name_that_it_asked_for() {
        let mut places = places(10);
        let shared = ip("192.0.2.1");
        for (name, tgid) in [("a.example", 1), ("b.example", 2), ("c.example", 2)] {
            places.learn(shared, &name.into(), tgid, 300, 0);
        }
        assert_eq!(places.name(shared, Some(1), 1).as_deref(), Some("a.example"));
        assert_eq!(places.name(shared, Some(2), 1).as_deref(), Some("c.example"));
        assert_eq!(places.name(shared, Some(3), 1), None, "it could be any of them");
        for tgid in 10..100 {
            places.learn(shared, &"d.example".into(), tgid, 300, 0);
        }
        assert_eq!(places.name(shared, Some(1), 1).as_deref(), Some("d.example"), "only so many are kept");
    }

    #[test]
    fn a_hello_names_what_no_lookup_has() {
        let mut places = places(10);
        let [shared, own, other] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(ip);
        let hello = |places: &mut Places, address, name: &str, tgid| {
            places.learn_hello(address, &name.into(), tgid, 0).map(|name| name.to_string())
        };
        assert_eq!(hello(&mut places, shared, "a.example", 1).as_deref(), Some("a.example"));
        assert_eq!(places.name(shared, Some(1), 1).as_deref(), Some("a.example"));
        assert_eq!(
            places.name(shared, Some(2), 1).as_deref(),
            Some("a.example"),
            "others know it by no other"
        );
        assert_eq!(hello(&mut places, shared, "b.example", 1).as_deref(), Some("b.example"));
        assert_eq!(places.name(shared, Some(1), 1), None, "the next may be either");
        places.learn(own, &"looked.up".into(), 1, 300, 0);
        assert_eq!(hello(&mut places, own, "c.example", 1), None);
        assert_eq!(places.name(own, Some(1), 1).as_deref(), Some("looked.up"));
        places.learn(other, &"of.another".into(), 7, 300, 0);
        assert_eq!(hello(&mut places, other, "d.example", 1).as_deref(), Some("d.example"));
        assert_eq!(
            places.name(other, Some(1), 1).as_deref(),
            Some("d.example"),
            "what others looked up is theirs"
        );
        for local in ["127.0.0.1", "::1", "::ffff:127.0.0.1"].map(ip) {
            assert_eq!(hello(&mut places, local, "a.example", 1), None);
            assert_eq!(places.name(local, Some(1), 1), None, "many others are there");
        }
        places.learn(shared, &"looked.up".into(), 1, 300, 2);
        assert_eq!(places.name(shared, Some(1), 3).as_deref(), Some("looked.up"));
        assert_eq!(places.name(shared, Some(1), KEPT_SECONDS * SECOND_NS + 3).as_deref(), Some("looked.up"));
    }

    #[test]
    fn names_are_told_up_to_the_limit() {
        let mut places = places(1);
        places.learn(ip("192.0.2.1"), &"a.example".into(), 1, 300, 0);
        places.learn(ip("192.0.2.2"), &"b.example".into(), 1, 300, 0);
        assert_eq!(places.name(ip("192.0.2.1"), Some(1), 1).as_deref(), Some("a.example"));
        assert_eq!(places.name(ip("192.0.2.2"), Some(1), 1), None);
        assert_eq!(places.name(ip("192.0.2.1"), Some(1), 2).as_deref(), Some("a.example"));
    }
}
