//! The network namespaces in use, and reading each of them.
//!
//! A namespace is entered for the moment of reading and nothing of it is kept open, so that none outlives its
//! processes because of the sensor.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;

use nix::sched::{CloneFlags, setns};

use super::diag::Sockets;

/// The most namespaces that are read.
const NAMESPACES_MAX: usize = 1024;

/// What was found in a namespace.
#[derive(Debug)]
pub struct Namespace {
    /// Its inode number.
    pub inode: u32,
    /// Its sockets.
    pub sockets: Sockets,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
}

/// One of the processes in each namespace, by the namespace's inode number.
///
/// # Errors
/// When `/proc` cannot be read.
fn in_use() -> io::Result<HashMap<u32, u32>> {
    let mut namespaces = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(process) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process may have ended meanwhile.
        let Ok(metadata) = fs::metadata(format!("/proc/{process}/ns/net")) else { continue };
        // Inode numbers of namespaces have 32 bits.
        let Ok(inode) = u32::try_from(metadata.ino()) else { continue };
        if namespaces.len() < NAMESPACES_MAX || namespaces.contains_key(&inode) {
            namespaces.entry(inode).or_insert(process);
        }
    }
    Ok(namespaces)
}

/// The inode number of the host's namespace.
#[must_use]
pub fn own() -> Option<u32> {
    u32::try_from(host().ok()?.metadata().ok()?.ino()).ok()
}

/// The host's namespace: that of its first process, to which the daemon's own is second best. In a pod it is another.
///
/// # Errors
/// When neither can be opened.
pub(super) fn host() -> io::Result<File> {
    File::open("/proc/1/ns/net").or_else(|_| File::open("/proc/self/ns/net"))
}

/// Reads every namespace in use, with at most `limit` connections. The calling thread ends up in another namespace than
/// it began in, so it should be one for this purpose alone. A namespace that cannot be read is in none of the
/// answers, and how many these were is told.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn read_all(limit: usize) -> io::Result<(Vec<Namespace>, usize)> {
    let mut left = limit;
    let mut failed = 0;
    let mut found = Vec::new();
    for (inode, process) in in_use()? {
        match read(inode, process, left) {
            Ok(Some(namespace)) => {
                left -= namespace.sockets.connected.len();
                found.push(namespace);
            }
            // Its process has ended; the next time another one leads there.
            Ok(None) => {}
            Err(error) => {
                tracing::debug!("sockets of network namespace {inode} are not read: {error}");
                failed += 1;
            }
        }
    }
    Ok((found, failed))
}

fn read(inode: u32, process: u32, limit: usize) -> io::Result<Option<Namespace>> {
    let Ok(file) = File::open(format!("/proc/{process}/ns/net")) else { return Ok(None) };
    // The number may belong to another process by now.
    if file.metadata()?.ino() != u64::from(inode) {
        return Ok(None);
    }
    setns(&file, CloneFlags::CLONE_NEWNET)?;
    let sockets = Sockets::read(limit)?;
    let addresses = nix::ifaddrs::getifaddrs()?.filter_map(|interface| ip(&interface)).collect();
    Ok(Some(Namespace { inode, sockets, addresses }))
}

fn ip(interface: &nix::ifaddrs::InterfaceAddress) -> Option<IpAddr> {
    let address = interface.address?;
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))
}

/// Processes by the inodes of the sockets that they hold open; of a socket with many holders some.
#[must_use]
pub fn holders() -> HashMap<u32, Vec<u32>> {
    /// More tell nothing new: they are children of one program.
    const HOLDERS: usize = 8;
    let mut holders: HashMap<u32, Vec<u32>> = HashMap::new();
    let Ok(processes) = fs::read_dir("/proc") else { return holders };
    for process in processes.filter_map(Result::ok) {
        let Some(process) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else { continue };
        for file in files.filter_map(Result::ok) {
            let Ok(target) = fs::read_link(file.path()) else { continue };
            let inode = target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']'));
            let Some(inode) = inode.and_then(|inode| inode.parse().ok()) else { continue };
            let of = holders.entry(inode).or_default();
            if of.len() < HOLDERS && !of.contains(&process) {
                of.push(process);
            }
        }
    }
    holders
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn this_process_is_found_in_its_namespace_with_its_sockets() {
        assert!(in_use().unwrap().contains_key(&own().unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap();
        let sockets = Sockets::read(usize::MAX).unwrap();
        let inode = sockets.listening.iter().find(|socket| socket.local == own).unwrap().inode;
        assert!(holders()[&inode].contains(&std::process::id()));
    }
}
