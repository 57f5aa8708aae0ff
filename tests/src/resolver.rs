//! A resolver of the test's own: dnsmasq(8) in a network namespace, and what its clients read of it.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::netns::Netns;
use crate::process::{Process, program};
use crate::wait::{patience, wait_until};

/// Names that the resolver knows, and their addresses. All other names below `test` do not exist, and of all else it
/// refuses to speak.
pub const KNOWN: [(&str, &str); 3] =
    [("known.test", "192.0.2.7"), ("known.test", "2001:db8::7"), ("web.test", "127.0.0.5")];
/// A name with more addresses than an answer of 512 bytes holds.
pub const LARGE: &str = "large.test";

/// A resolver at port 53 of the loopback.
pub struct Resolver {
    etc: PathBuf,
    _process: Process,
}

impl Resolver {
    /// Starts it, and makes it the one of all programs that [`Netns::command`] starts there.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    #[must_use]
    pub fn start(netns: &Netns) -> Self {
        let etc = Path::new("/etc/netns").join(netns.name());
        std::fs::create_dir_all(&etc).expect("make a directory");
        let resolver = Path::new("/etc/resolv.conf");
        if !resolver.exists() {
            // Something must be there for ip(8) to cover it.
            std::fs::write(resolver, "").expect("write resolv.conf");
        }
        let mut command = netns.command(program("dnsmasq").get_program().as_ref());
        command.args([
            "--no-daemon",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--user=root",
            "--pid-file=",
            "--listen-address=127.0.0.1",
            "--bind-interfaces",
            "--local=/test/",
        ]);
        for (name, address) in KNOWN {
            command.arg(format!("--host-record={name},{address}"));
        }
        for host in 1..=60 {
            command.arg(format!("--host-record={LARGE},192.0.2.{host}"));
        }
        let process = Process::start(&mut command);
        wait_until("dnsmasq to start", patience(20), || process.stderr().contains("started").then_some(()));
        let resolver = Self { etc, _process: process };
        resolver.configure("nameserver 127.0.0.1\n");
        resolver
    }

    /// Writes the `resolv.conf(5)` of programs that are started from now on.
    ///
    /// # Panics
    /// When that fails.
    pub fn configure(&self, text: &str) {
        std::fs::write(self.etc.join("resolv.conf"), text).expect("write resolv.conf");
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        // What is left of it harms nobody.
        let _ = std::fs::remove_dir_all(&self.etc);
    }
}

/// Passes one question on to the resolver, from this address, and gives its answer back after `delay`.
///
/// # Panics
/// When that fails.
pub fn delay_one(netns: &Netns, at: Ipv4Addr, delay: Duration, ready: impl FnOnce() + Send) {
    netns.run(|| {
        let own = UdpSocket::bind((at, 53)).expect("bind port 53");
        let other = UdpSocket::bind((at, 0)).expect("bind a port");
        ready();
        let mut buffer = [0; 4096];
        let (length, client) = own.recv_from(&mut buffer).expect("receive a question");
        let resolver = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
        other.send_to(&buffer[..length], resolver).expect("pass it on");
        let (length, _) = other.recv_from(&mut buffer).expect("receive its answer");
        std::thread::sleep(delay);
        own.send_to(&buffer[..length], client).expect("give it back");
    });
}
