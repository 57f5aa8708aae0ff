//! Pairs whose addresses are translated on the way.

use super::*;
use crate::flow::Network;

const CLIENTS: u32 = 2;
const SERVERS: u32 = 3;
const SERVICE: &str = "10.96.0.10:80";

/// The Service `bank` is at an address, and behind it the process 1 (`web`) of this host.
#[derive(Default)]
struct Cluster {
    translations: HashMap<(String, String), (String, String)>,
    peers: HashMap<IpAddr, Peer>,
    asked: Vec<View>,
}

impl Names for Cluster {
    fn service(&mut self, tgid: u32, comm: Option<[u8; 16]>) -> Option<Service> {
        Fixed.service(tgid, comm)
    }

    fn is_wanted(&self, service: Option<&Service>) -> bool {
        Fixed.is_wanted(service)
    }

    fn other_end(&mut self, view: View) -> Option<View> {
        self.asked.push(view);
        let (local, remote) = self.translations.get(&(view.local.to_string(), view.remote.to_string()))?;
        Some(View { local: local.parse().unwrap(), remote: remote.parse().unwrap() })
    }

    fn peer(&self, address: IpAddr, _: u64) -> Option<Arc<Peer>> {
        self.peers.get(&address).cloned().map(Arc::new)
    }

    fn zone(&self) -> Arc<str> {
        "a".into()
    }
}

impl Cluster {
    fn new() -> Self {
        let peer = |service: &str, zone: &str, is_service| Peer {
            service: service.into(),
            namespace: "pay".into(),
            zone: zone.into(),
            is_service,
        };
        let peers = [
            ("10.96.0.10", peer("bank", "", true)),
            ("10.1.3.9", peer("bank", "a", false)),
            ("10.1.77.7", peer("bank", "c", false)),
        ];
        let peers = peers.into_iter().map(|(address, peer)| (address.parse().unwrap(), peer)).collect();
        Self { peers, ..Self::default() }
    }

    /// What the client's socket has, and what the server's.
    fn translates(mut self, client: [&str; 2], server: [&str; 2]) -> Self {
        let pair = |[local, remote]: [&str; 2]| (local.to_owned(), remote.to_owned());
        self.translations.insert(pair(client), pair(server));
        self.translations.insert(pair(server), pair(client));
        self
    }
}

fn table() -> Table {
    let mut table = Table::new(TableConfig { max_connections: 10 }, places());
    let addresses = [(NETNS, "10.0.0.1"), (CLIENTS, "10.1.2.5"), (SERVERS, "10.1.3.9")];
    table
        .places
        .set_addresses(addresses.into_iter().map(|(netns, address)| (netns, address.parse().unwrap())));
    table.listeners.listens(SERVERS, "0.0.0.0:8080".parse().unwrap(), Some("web".into()), 0);
    table
}

fn pair(
    table: &mut Table,
    cluster: &mut Cluster,
    netns: u32,
    [local, remote]: [&str; 2],
    role: Role,
) -> Pair {
    let ends = Ends { netns, local: local.parse().unwrap(), remote: remote.parse().unwrap() };
    let (what, owner) = match role {
        Role::Client => (What::Opened, by(2)),
        Role::Server => (What::Accepted, None),
    };
    table.event(&Event { task: owner, ..event(what, ends, 10) }, cluster, &mut FlowMetrics::new(10));
    Pair::clone(table.flows[&ends].pair.as_ref().unwrap())
}

#[track_caller]
fn assert_named(pair: &Pair, service: &str, peer: &str, dialed: &str) {
    let found = [&pair.service.name, &pair.peer_service, &pair.server_service].map(|name| &**name);
    assert_eq!((found, pair.network, pair.server_port), ([service, peer, dialed], Network::Pod, Some(8080)));
}

#[test]
fn both_ends_name_each_other_and_the_service_between_them() {
    // With the client's address as it is, and with the node's in its place.
    for server in [["10.1.3.9:8080", "10.1.2.5:40000"], ["10.1.3.9:8080", "10.0.0.1:31000"]] {
        let client = ["10.1.2.5:40000", SERVICE];
        let (mut table, mut cluster) = (table(), Cluster::new().translates(client, server));
        let opened = pair(&mut table, &mut cluster, CLIENTS, client, Role::Client);
        assert_named(&opened, "client", "web", "bank");
        let accepted = pair(&mut table, &mut cluster, SERVERS, server, Role::Server);
        assert_named(&accepted, "web", "client", "bank");
        assert_eq!((&*opened.peer_zone, &*accepted.peer_zone), ("a", "a"));
    }
}

#[test]
fn the_endpoint_may_be_of_another_node() {
    let (client, server) = (["10.1.2.5:40000", SERVICE], ["10.1.77.7:8080", "10.1.2.5:40000"]);
    let (mut table, mut cluster) = (table(), Cluster::new().translates(client, server));
    let opened = pair(&mut table, &mut cluster, CLIENTS, client, Role::Client);
    // What is behind the Service there is not known, so its name is all there is; the zone is the endpoint's.
    assert_eq!((&*opened.peer_service, &*opened.server_service, &*opened.peer_zone), ("bank", "", "c"));
    assert_eq!(opened.server_port, Some(8080));
}

#[test]
fn without_a_translation_a_service_is_all_that_is_known() {
    let (mut table, mut cluster) = (table(), Cluster::new());
    let opened = pair(&mut table, &mut cluster, CLIENTS, ["10.1.2.5:40000", SERVICE], Role::Client);
    assert_eq!((&*opened.peer_service, &*opened.server_service), ("bank", ""));
    assert_eq!((opened.network, opened.server_port), (Network::Vpc, Some(80)));
}

#[test]
fn it_is_not_asked_what_is_known() {
    let client = ["10.1.2.5:40000", "10.1.3.9:8080"];
    let server = ["10.1.3.9:8080", "10.1.2.5:40000"];
    let (mut table, mut cluster) = (table(), Cluster::new());
    assert_named(&pair(&mut table, &mut cluster, CLIENTS, client, Role::Client), "client", "web", "");
    assert_named(&pair(&mut table, &mut cluster, SERVERS, server, Role::Server), "web", "client", "");
    // Elsewhere nobody translates for a client, nor at a server what has come from there.
    pair(&mut table, &mut cluster, CLIENTS, ["10.1.2.5:40001", "93.184.216.34:443"], Role::Client);
    pair(&mut table, &mut cluster, SERVERS, ["10.1.3.9:8080", "10.1.88.8:40000"], Role::Server);
    assert_eq!(cluster.asked, []);
}
