//! Network namespaces of a test's own. None outlives the test.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use nix::sched::{CloneFlags, setns};

use crate::process::{Process, program, unique};

/// The addresses of a [`Netns::pair`].
pub const ADDRESSES: [&str; 2] = ["10.99.0.1", "10.99.0.2"];

/// A network namespace. Dropping it deletes its name; it is gone when the last process has left it.
pub struct Netns {
    name: String,
    /// A namespace is in use when a process is in it.
    _user: Process,
}

impl Netns {
    /// Makes one in which only the loopback interface is up.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    #[must_use]
    pub fn new() -> Self {
        let name = unique("sensor-test");
        succeed(program("ip").args(["netns", "add", &name]));
        let user = Process::start(program("ip").args(["netns", "exec", &name, "sleep", "infinity"]));
        let netns = Self { name, _user: user };
        netns.ip("link set lo up");
        netns
    }

    /// Its name, as ip(8) knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes two with a cable between them; their addresses are [`ADDRESSES`].
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    #[must_use]
    pub fn pair() -> [Self; 2] {
        let pair = [Self::new(), Self::new()];
        pair[0].ip(&format!("link add cable type veth peer name cable netns {}", pair[1].name));
        for (netns, address) in pair.iter().zip(ADDRESSES) {
            netns.ip(&format!("addr add {address}/24 dev cable"));
            netns.ip("link set cable up");
        }
        pair
    }

    /// A file that stands for it.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    /// Runs ip(8) in it, with these arguments.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub fn ip(&self, arguments: &str) {
        succeed(program("ip").args(["-n", &self.name]).args(arguments.split(' ')));
    }

    /// Writes one of its settings below `/proc/sys/net`.
    ///
    /// # Panics
    /// When that fails.
    pub fn set(&self, name: &str, value: &str) {
        self.run(|| {
            std::fs::write(Path::new("/proc/sys/net").join(name), value)
                .unwrap_or_else(|error| panic!("set {name}: {error}"));
        });
    }

    /// Adds a rule of nftables(8) for packets that come in.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub fn incoming(&self, rule: &str) {
        let mut nft = self.command(program("nft").get_program().as_ref());
        succeed(nft.arg(format!(
            "add table inet t; add chain inet t c {{ type filter hook input priority 0; }}; add rule inet t c {rule}"
        )));
    }

    /// A command that runs a program in it.
    #[must_use]
    pub fn command(&self, path: &Path) -> Command {
        let mut command = program("ip");
        command.args(["netns", "exec", &self.name]).arg(path);
        command
    }

    /// Runs a piece of this program in it, by a thread of its own.
    ///
    /// # Panics
    /// When it does.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(self.path()).expect("open a network namespace");
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&file, CloneFlags::CLONE_NEWNET).expect("enter a network namespace");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The figures that ss(8) shows of its only established connection with this port at one end, such as
    /// `bytes_sent`; 0 for those that it leaves out.
    ///
    /// # Panics
    /// When there is none, or more than one.
    #[track_caller]
    #[must_use]
    pub fn ss(&self, port: u16) -> Figures {
        let mut ss = self.command(program("ss").get_program().as_ref());
        let output = ss.args(["-tinHO", "state", "established"]).output().expect("run ss");
        let text = String::from_utf8_lossy(&output.stdout);
        let end = format!(":{port} ");
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(&end)).collect();
        let [line] = lines[..] else { panic!("not one connection of port {port}:\n{text}") };
        Figures(
            line.split_whitespace()
                .filter_map(|word| word.split_once(':'))
                .filter_map(|(name, value)| {
                    // `retrans:0/7` are those on their way and all.
                    let value = value.rsplit('/').next().unwrap_or(value);
                    Some((name.to_owned(), value.parse().ok()?))
                })
                .collect(),
        )
    }
}

impl Default for Netns {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // What is left of it harms nobody.
        let _ = program("ip").args(["netns", "del", &self.name]).status();
    }
}

/// What ss(8) shows of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures(BTreeMap<String, u64>);

impl Figures {
    /// A figure; 0 when it is not shown.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }
}

#[track_caller]
pub(crate) fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
}
