//! The host as a node of a cluster: network namespaces of pods that reach each other through it, and addresses of Services that
//! it translates, as kube-proxy has it done by nftables(8).

use std::net::SocketAddr;
use std::path::Path;

use crate::netns::{Netns, succeed};
use crate::process::program;

/// Settings below `/proc/sys/net` by which a host is a router.
const FORWARDING: [&str; 2] = ["ipv4/ip_forward", "ipv6/conf/all/forwarding"];

/// Dropping it takes all of it back.
pub struct Node {
    /// Of its table and, with a number behind, of its cables; a name of an interface has at most 15 bytes.
    name: String,
    cables: usize,
    before: Vec<(&'static str, String)>,
}

impl Node {
    /// The test's own network namespace forwards and translates from now on.
    ///
    /// # Panics
    /// When that is not allowed.
    #[track_caller]
    #[must_use]
    pub fn new() -> Self {
        let mut node = Self { name: format!("st{}", std::process::id()), cables: 0, before: Vec::new() };
        for setting in FORWARDING {
            let path = Path::new("/proc/sys/net").join(setting);
            let before = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{setting}: {error}"));
            std::fs::write(&path, "1").unwrap_or_else(|error| panic!("{setting}: {error}"));
            node.before.push((setting, before));
        }
        nft(&format!("add table inet {}", node.name));
        for (chain, priority) in [("prerouting", -100), ("output", -100), ("postrouting", 100)] {
            node.nft(&format!(
                "add chain inet {{}} {chain} {{ type nat hook {chain} priority {priority}; }}"
            ));
        }
        node
    }

    /// A namespace whose only way out is this host.
    ///
    /// # Panics
    /// When it can't be made.
    #[track_caller]
    #[must_use]
    pub fn pod(&mut self) -> Netns {
        self.cables += 1;
        let (netns, cable) = (Netns::new(), format!("{}-{}", self.name, self.cables));
        let host = |arguments: &str| succeed(program("ip").args(arguments.split(' ')));
        host(&format!("link add {cable} type veth peer name cable netns {}", netns.name()));
        let ends = |end| [format!("10.99.{}.{end}", self.cables), format!("fd99:{}::{end}", self.cables)];
        for ((ours, theirs), prefix) in ends(1).iter().zip(&ends(2)).zip(["24", "64 nodad"]) {
            let mask = prefix.split(' ').next().unwrap_or_default();
            let nodad = prefix.strip_prefix(mask).unwrap_or_default();
            host(&format!("addr add {ours}/{mask} dev {cable}{nodad}"));
            netns.ip(&format!("addr add {theirs}/{mask} dev cable{nodad}"));
        }
        host(&format!("link set {cable} up"));
        netns.ip("link set cable up");
        for gateway in ends(1) {
            netns.ip(&format!("route add default via {gateway}"));
        }
        netns
    }

    /// The address of a pod, by how many there were before it.
    #[must_use]
    pub fn address(pod: usize) -> [String; 2] {
        [format!("10.99.{}.2", pod + 1), format!("fd99:{}::2", pod + 1)]
    }

    /// What is sent to an address goes to another; if wanted with this host's own address as that of the sender.
    ///
    /// # Panics
    /// When the rules are refused.
    #[track_caller]
    pub fn translate(&self, from: SocketAddr, to: SocketAddr, masquerade: bool) {
        let family = if from.is_ipv4() { "ip" } else { "ip6" };
        let (address, port) = (from.ip(), from.port());
        for chain in ["prerouting", "output"] {
            self.nft(&format!(
                "add rule inet {{}} {chain} {family} daddr {address} tcp dport {port} dnat {family} to {to}"
            ));
        }
        if masquerade {
            self.nft(&format!(
                "add rule inet {{}} postrouting ct original {family} daddr {address} masquerade"
            ));
        }
    }

    /// A command of nftables(8) with the table's name in place of `{}`.
    #[track_caller]
    fn nft(&self, command: &str) {
        nft(&command.replace("{}", &self.name));
    }
}

impl Default for Node {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // What is left harms nobody but a test that wants the same.
        let _ = program("nft").arg(format!("delete table inet {}", self.name)).output();
        for cable in 1..=self.cables {
            let _ = program("ip").args(["link", "del", &format!("{}-{cable}", self.name)]).output();
        }
        for (setting, before) in &self.before {
            let _ = std::fs::write(Path::new("/proc/sys/net").join(setting), before);
        }
    }
}

#[track_caller]
fn nft(command: &str) {
    succeed(program("nft").arg(command));
}
