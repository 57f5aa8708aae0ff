//! Who listens where.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hashbrown::{HashMap, HashSet};

use crate::identity::Service;

/// Listeners by namespace and address.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    owners: HashMap<(u32, SocketAddr), Listener>,
}

#[derive(Debug)]
struct Listener {
    /// `None` while it is not known.
    owner: Option<Service>,
    /// Whether its owner was looked for in vain: nothing of this host's processes, or several of different names.
    has_none: bool,
    told_ns: u64,
}

impl Listeners {
    /// A service listens there since `told_ns` (nanoseconds of `CLOCK_MONOTONIC`).
    pub(super) fn listens(&mut self, netns: u32, local: SocketAddr, owner: Option<Service>, told_ns: u64) {
        self.owners.insert((netns, local), Listener { owner, has_none: false, told_ns });
    }

    /// A look at all sockets that began at `started_ns` found a listener there; whether its owner need not be looked for.
    pub(super) fn found(&mut self, netns: u32, local: SocketAddr, started_ns: u64) -> bool {
        let unknown = Listener { owner: None, has_none: false, told_ns: started_ns };
        let listener = self.owners.entry((netns, local)).or_insert(unknown);
        listener.told_ns = listener.told_ns.max(started_ns);
        listener.owner.is_some() || listener.has_none
    }

    /// Its owner was looked for in vain, which is not done again.
    pub(super) fn has_none(&mut self, netns: u32, local: SocketAddr) {
        if let Some(listener) = self.owners.get_mut(&(netns, local)) {
            listener.has_none = true;
        }
    }

    /// Forgets those in the namespaces `read` that were neither told nor found since `before_ns`. Where there are more than
    /// `limit` all are forgotten; the next look finds them again.
    pub(super) fn retain_since(&mut self, before_ns: u64, read: &HashSet<u32>, limit: usize) {
        self.owners.retain(|(netns, _), listener| listener.told_ns >= before_ns || !read.contains(netns));
        if self.owners.len() > limit {
            self.owners.clear();
        }
    }

    /// Who accepts connections to `local` in a namespace, by the listener on that address or on all of them.
    #[must_use]
    pub(super) fn owner(&self, netns: u32, local: SocketAddr) -> Option<&Service> {
        let any = |address: IpAddr| SocketAddr::new(address, local.port());
        [local, any(Ipv4Addr::UNSPECIFIED.into()), any(Ipv6Addr::UNSPECIFIED.into())]
            .into_iter()
            .find_map(|address| self.owners.get(&(netns, address)))
            .and_then(|listener| listener.owner.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_found_by_any() {
        let mut listeners = Listeners::default();
        let local = |text: &str| text.parse::<SocketAddr>().unwrap();
        listeners.listens(1, local("[::]:80"), Some("web".into()), 10);
        listeners.listens(1, local("127.0.0.1:80"), Some("local".into()), 20);
        let owner = |listeners: &Listeners, netns, at: &str| listeners.owner(netns, local(at)).cloned();
        assert_eq!(owner(&listeners, 1, "10.0.0.1:80").as_deref(), Some("web"));
        assert_eq!(owner(&listeners, 1, "127.0.0.1:80").as_deref(), Some("local"));
        assert_eq!(owner(&listeners, 2, "10.0.0.1:80"), None);
        assert!(!listeners.found(2, local("0.0.0.0:80"), 20));
        listeners.has_none(2, local("0.0.0.0:80"));
        assert!(listeners.found(2, local("0.0.0.0:80"), 20));
        listeners.retain_since(20, &[1, 2].into(), 10);
        assert_eq!(owner(&listeners, 1, "10.0.0.1:80"), None, "it was not found again");
    }
}
