//! Where connections of Unix-domain sockets were made to: told once a connection, and put into each of its events.

use std::{collections::HashSet, num::NonZeroUsize};

use lru::LruCache;

use crate::{mask::without_cards, protocol::Event};

/// Different paths in the life of the daemon, of which it forgets none, because events carry them everywhere: some 400 KiB. One
/// that is beyond is not known.
const PATHS: usize = 4096;

/// What is known of them.
#[derive(Debug)]
pub(super) struct Paths {
    /// By the connection's number, as many as the kernel follows; of those beyond the one that was silent longest is forgotten.
    connections: LruCache<u64, &'static str>,
    most: usize,
    paths: HashSet<&'static str>,
    unknown: u64,
}

impl Paths {
    pub(super) fn new(most: u32) -> Self {
        let most = NonZeroUsize::new(most as usize).unwrap_or(NonZeroUsize::MIN).get();
        Self { connections: LruCache::unbounded(), most, paths: HashSet::new(), unknown: 0 }
    }

    /// Paths that were not kept because of [`PATHS`].
    pub(super) fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Whether no connection is known to have one.
    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Takes a `sun_path` (`unix(7)`).
    pub(super) fn learn(&mut self, connection: u64, path: &[u8]) {
        let path = match path {
            [] => return,
            [0, name @ ..] => format!("@{}", text(name)),
            path => text(path.split(|byte| *byte == 0).next().unwrap_or_default()),
        };
        let known = self.paths.get(path.as_str()).copied();
        let path = match known {
            Some(path) => path,
            None if self.paths.len() < PATHS => {
                let path: &'static str = Box::leak(path.into_boxed_str());
                self.paths.insert(path);
                path
            }
            None => {
                self.unknown += 1;
                return;
            }
        };
        if self.connections.len() == self.most {
            self.connections.pop_lru();
        }
        self.connections.put(connection, path);
    }

    /// Completes an event of a Unix-domain socket.
    pub(super) fn complete(&mut self, event: &mut Event<'_>) {
        let (connection, endpoints) = match event {
            Event::Head(head) => (head.connection, &mut head.endpoints),
            Event::Frames(frames) => (frames.connection, &mut frames.endpoints),
            Event::Close(close) => {
                if !close.end_of_file && !self.is_empty() {
                    self.forget(close.connection.id);
                }
                return;
            }
            Event::Progress(_) => return,
        };
        if let Some(path) = &mut endpoints.path
            && let Some(known) = self.connections.get(&connection.id)
        {
            *path = known;
        }
    }

    /// A connection is over.
    pub(super) fn forget(&mut self, connection: u64) {
        self.connections.pop(&connection);
    }
}

/// Without what would not be shown as it is.
fn text(path: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(path)
        .chars()
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    without_cards(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(path: &[u8]) -> &'static str {
        let mut paths = Paths::new(10);
        paths.learn(1, path);
        paths.connections.get(&1).copied().unwrap_or_default()
    }

    #[test]
    fn a_path_ends_at_its_nul_and_an_abstract_name_does_not() {
        assert_eq!(path_of(b"/run/docker.sock\0\0"), "/run/docker.sock");
        assert_eq!(path_of(b"/run/docker.sock"), "/run/docker.sock");
        assert_eq!(path_of(b"\0containerd"), "@containerd");
        assert_eq!(path_of(b"\0a\0b"), "@a\u{fffd}b");
        assert_eq!(path_of(b""), "");
    }

    #[test]
    fn there_are_bounds() {
        let mut paths = Paths::new(2);
        for number in 0..=PATHS as u64 {
            paths.learn(number, format!("/{number}").as_bytes());
        }
        assert_eq!((paths.paths.len(), paths.connections.len(), paths.unknown()), (PATHS, 2, 1));
        paths.learn(7, b"/1");
        assert_eq!(paths.unknown(), 1);
    }
}
