//! Who has an address in the cluster, and who had it before.
//!
//! An address is given to the next pod soon after the last one has gone, so each holder has the time from which and until
//! which it was told. Between two holders nobody is named.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The most addresses; for 5 000 pods behind Services some 6 000 are needed.
pub const ADDRESSES_MAX: usize = 65_536;
/// The most holders of an address that are remembered, those of the past included.
const HOLDERS_MAX: usize = 8;
/// How long a former holder is remembered, in nanoseconds.
const KEPT_NS: u64 = 60 * 1_000_000_000;

/// Who is behind an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Name of the Service.
    pub service: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// `cloud.availability_zone`; empty where it is not known, as for the address of a Service itself.
    pub zone: Arc<str>,
    /// Whether the address is the Service's own, not one of a pod behind it.
    pub is_service: bool,
}

/// One address of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The address.
    pub address: IpAddr,
    /// What tells its holder from the next one: the uid of a pod or Service.
    pub uid: Arc<str>,
    /// Who it is.
    pub peer: Arc<Peer>,
}

#[derive(Debug)]
struct Holder {
    /// The object that tells of it.
    source: Arc<str>,
    uid: Arc<str>,
    peer: Arc<Peer>,
    from_ns: u64,
    until_ns: Option<u64>,
}

/// All addresses.
#[derive(Debug, Default)]
pub struct Addresses {
    holders: HashMap<IpAddr, Vec<Holder>>,
    /// The addresses that each object tells of.
    sources: HashMap<Arc<str>, Vec<IpAddr>>,
    left_out: u64,
}

impl Addresses {
    /// What an object tells of now, in place of what it told of before. `from_ns` is since when.
    pub fn set(&mut self, source: &str, holdings: Vec<Holding>, from_ns: u64, now_ns: u64) {
        let source: Arc<str> =
            self.sources.get_key_value(source).map_or_else(|| source.into(), |(known, _)| Arc::clone(known));
        for address in self.sources.remove(&source).unwrap_or_default() {
            for holder in self.holders.get_mut(&address).into_iter().flatten() {
                let stays =
                    || holdings.iter().any(|other| other.address == address && other.uid == holder.uid);
                if holder.source == source && holder.until_ns.is_none() && !stays() {
                    holder.until_ns = Some(now_ns);
                }
            }
        }
        let mut told = Vec::with_capacity(holdings.len());
        for Holding { address, uid, peer } in holdings {
            if self.holders.len() >= ADDRESSES_MAX && !self.holders.contains_key(&address) {
                self.left_out += 1;
                continue;
            }
            let holders = self.holders.entry(address).or_default();
            told.push(address);
            let same = |holder: &&mut Holder| {
                holder.source == source && holder.uid == uid && holder.until_ns.is_none()
            };
            if let Some(known) = holders.iter_mut().find(same) {
                known.peer = peer;
                continue;
            }
            if holders.len() >= HOLDERS_MAX {
                // The oldest that is over, else this one has no room.
                match holders.iter().position(|holder| holder.until_ns.is_some()) {
                    Some(oldest) => drop(holders.remove(oldest)),
                    None => {
                        self.left_out += 1;
                        continue;
                    }
                }
            }
            let source = Arc::clone(&source);
            holders.push(Holder { source, uid, peer, from_ns, until_ns: None });
        }
        if !told.is_empty() {
            self.sources.insert(source, told);
        }
    }

    /// An object is gone.
    pub fn remove(&mut self, source: &str, now_ns: u64) {
        self.set(source, Vec::new(), now_ns, now_ns);
    }

    /// Removes all objects of a kind but those of a complete list.
    pub fn retain(&mut self, is_of_kind: impl Fn(&str) -> bool, listed: impl Fn(&str) -> bool, now_ns: u64) {
        let gone: Vec<Arc<str>> = self
            .sources
            .keys()
            .filter(|source| is_of_kind(source) && !listed(source))
            .map(Arc::clone)
            .collect();
        for source in gone {
            self.remove(&source, now_ns);
        }
    }

    /// Who had an address at a time. `None` where nobody did, and where several of different names do.
    #[must_use]
    pub fn at(&self, address: IpAddr, time_ns: u64) -> Option<Arc<Peer>> {
        let mut holders = self
            .holders
            .get(&address)?
            .iter()
            .filter(|holder| holder.from_ns <= time_ns && holder.until_ns.is_none_or(|until| time_ns < until))
            .map(|holder| &holder.peer);
        let first = holders.next()?;
        let is_same =
            |other: &Arc<Peer>| other.service == first.service && other.namespace == first.namespace;
        holders.all(is_same).then(|| Arc::clone(first))
    }

    /// Forgets holders that are long over.
    pub fn sweep(&mut self, now_ns: u64) {
        self.holders.retain(|_, holders| {
            holders.retain(|holder| holder.until_ns.is_none_or(|until| now_ns < until + KEPT_NS));
            !holders.is_empty()
        });
    }

    /// How many addresses are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.holders.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.holders.is_empty()
    }

    /// Addresses for which there was no room.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(address: &str, uid: &str, service: &str) -> Holding {
        let peer =
            Peer { service: service.into(), namespace: "pay".into(), zone: "a".into(), is_service: false };
        Holding { address: address.parse().unwrap(), uid: uid.into(), peer: Arc::new(peer) }
    }

    fn at(addresses: &Addresses, time_ns: u64) -> Option<String> {
        addresses.at("10.0.0.1".parse().unwrap(), time_ns).map(|peer| peer.service.to_string())
    }

    #[test]
    fn an_address_that_is_used_again_is_another_pods() {
        let mut addresses = Addresses::default();
        addresses.set("slice/pay/shop-1", vec![holding("10.0.0.1", "a", "shop")], 0, 5);
        addresses.set("slice/pay/shop-1", Vec::new(), 100, 100);
        addresses.set("slice/pay/bank-1", vec![holding("10.0.0.1", "b", "bank")], 200, 200);
        assert_eq!(at(&addresses, 50).as_deref(), Some("shop"));
        assert_eq!(at(&addresses, 150), None, "nobody had it");
        assert_eq!(at(&addresses, 250).as_deref(), Some("bank"));
        addresses.sweep(101 + KEPT_NS);
        assert_eq!((at(&addresses, 50), at(&addresses, 250).as_deref()), (None, Some("bank")));
        addresses.remove("slice/pay/bank-1", 300);
        addresses.sweep(301 + KEPT_NS);
        assert!(addresses.is_empty());
    }

    #[test]
    fn a_pod_of_two_services_has_no_one_name() {
        let mut addresses = Addresses::default();
        addresses.set("slice/pay/shop-1", vec![holding("10.0.0.1", "a", "shop")], 0, 0);
        addresses.set("slice/pay/shop-2", vec![holding("10.0.0.1", "a", "shop")], 0, 0);
        assert_eq!(at(&addresses, 1).as_deref(), Some("shop"));
        addresses.set("slice/pay/canary-1", vec![holding("10.0.0.1", "a", "canary")], 0, 0);
        assert_eq!(at(&addresses, 1), None);
    }

    #[test]
    fn what_a_list_has_not_is_gone() {
        let mut addresses = Addresses::default();
        addresses.set("slice/pay/shop-1", vec![holding("10.0.0.1", "a", "shop")], 0, 0);
        addresses.set("service/pay/shop", vec![holding("10.1.0.1", "s", "shop")], 0, 0);
        addresses.retain(|source| source.starts_with("slice/"), |_| false, 10);
        assert_eq!((at(&addresses, 5).as_deref(), at(&addresses, 10)), (Some("shop"), None));
        assert!(addresses.at("10.1.0.1".parse().unwrap(), 20).is_some());
    }

    #[test]
    fn churn_is_bounded() {
        let mut addresses = Addresses::default();
        for uid in 0..10_000_u64 {
            let holdings = vec![holding("10.0.0.1", &uid.to_string(), "shop")];
            addresses.set("slice/pay/shop-1", holdings, uid, uid);
        }
        assert_eq!(addresses.holders.values().map(Vec::len).sum::<usize>(), HOLDERS_MAX);
        assert_eq!(addresses.left_out(), 0);
    }
}
