//! Which names a resolver asks for by itself: it completes a short name by each domain of its search list (`resolv.conf(5)`)
//! until one is known. That the others do not exist is no failure.
//!
//! A `NXDOMAIN` is held for a moment. When the same process then asks for another completion of the same name, or for that
//! name itself, it was a step of the search; else it is the result.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::Read as _;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

/// How long a resolver may take to ask for the next name, in nanoseconds.
const PATIENCE_NS: u64 = 1_000_000_000;
/// The most results to hold; beyond that the oldest is told as it is.
const HELD: usize = 4_096;
/// Search lists to remember, one a process.
const LISTS: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");
/// Domains of a list, as many as glibc takes of old, and bytes of a file.
const DOMAINS: usize = 16;
const FILE_MAX: u64 = 64 * 1024;

/// Results that are held. `T` is what is told of one.
#[derive(Debug)]
pub(super) struct Search<T> {
    held: VecDeque<Held<T>>,
    lists: LruCache<u32, Arc<[String]>>,
}

#[derive(Debug)]
struct Held<T> {
    tgid: u32,
    since_ns: u64,
    name: Arc<str>,
    what: T,
}

/// What became of a name that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A step of a search.
    Step,
    /// The result.
    Final,
}

impl<T> Search<T> {
    pub(super) fn new() -> Self {
        Self { held: VecDeque::new(), lists: LruCache::new(LISTS) }
    }

    /// A process asks for a name: what is held of it may be decided.
    pub(super) fn asks(&mut self, tgid: u32, name: &str, mut tell: impl FnMut(T, Verdict)) {
        if !self.held.iter().any(|held| held.tgid == tgid) {
            // Read while the process lives, for what it asks for next.
            self.list(tgid);
            return;
        }
        let list = self.list(tgid);
        let own = completed(name, &list);
        for held in std::mem::take(&mut self.held) {
            let is_step = held.tgid == tgid
                && *held.name != *name
                && (completed(&held.name, &list).iter().any(|base| own.contains(base))
                    || is_completion_of(&held.name, name));
            if is_step {
                tell(held.what, Verdict::Step);
            } else {
                self.held.push_back(held);
            }
        }
    }

    /// A name does not exist.
    pub(super) fn hold(
        &mut self,
        tgid: u32,
        name: &Arc<str>,
        what: T,
        now_ns: u64,
        mut tell: impl FnMut(T, Verdict),
    ) {
        if self.held.len() >= HELD
            && let Some(oldest) = self.held.pop_front()
        {
            tell(oldest.what, Verdict::Final);
        }
        self.held.push_back(Held { tgid, since_ns: now_ns, name: Arc::clone(name), what });
    }

    /// Tells what has been held long enough.
    pub(super) fn expire(&mut self, now_ns: u64, mut tell: impl FnMut(T, Verdict)) {
        while let Some(first) = self.held.front()
            && first.since_ns + PATIENCE_NS <= now_ns
            && let Some(first) = self.held.pop_front()
        {
            tell(first.what, Verdict::Final);
        }
    }

    #[cfg(test)]
    pub(super) fn set_list(&mut self, tgid: u32, list: &[&str]) {
        self.lists.put(tgid, list.iter().map(|domain| (*domain).to_owned()).collect());
    }

    fn list(&mut self, tgid: u32) -> Arc<[String]> {
        if let Some(list) = self.lists.get(&tgid) {
            return Arc::clone(list);
        }
        let mut text = String::new();
        let file = File::open(format!("/proc/{tgid}/root/etc/resolv.conf"));
        match file.and_then(|file| file.take(FILE_MAX).read_to_string(&mut text)) {
            Ok(_) => {
                let list: Arc<[String]> = parse(&text).into();
                self.lists.put(tgid, Arc::clone(&list));
                list
            }
            // A process that has ended has no list that can be read.
            Err(_) => Arc::new([]),
        }
    }
}

/// The last `search` or `domain` line of a `resolv.conf`.
fn parse(text: &str) -> Vec<String> {
    let mut list = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if matches!(words.next(), Some("search" | "domain")) {
            list = words.take(DOMAINS).map(|word| word.trim_end_matches('.').to_ascii_lowercase()).collect();
        }
    }
    list.retain(|domain| !domain.is_empty());
    list
}

/// The names that `name` may be the completion of: itself, and it without each of the domains at its end.
fn completed<'a>(name: &'a str, list: &[String]) -> HashSet<&'a str> {
    list.iter()
        .filter_map(|domain| name.strip_suffix(domain.as_str())?.strip_suffix('.'))
        .chain([name])
        .collect()
}

/// Whether `name` is `base` and a domain.
fn is_completion_of(name: &str, base: &str) -> bool {
    name.strip_prefix(base).is_some_and(|domain| domain.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: [&str; 3] = ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"];

    /// Asks for names that do not exist, one after the other, and tells which were steps.
    fn steps(list: &[&str], names: &[&str]) -> Vec<String> {
        let mut search = Search::new();
        search.set_list(1, list);
        let mut found = Vec::new();
        for name in names {
            let name = Arc::from(*name);
            search.asks(1, &name, |name: Arc<str>, verdict| {
                assert_eq!(verdict, Verdict::Step);
                found.push(name.to_string());
            });
            search.hold(1, &name, Arc::clone(&name), 1, |_, _| panic!("there is room"));
        }
        let mut last = Vec::new();
        search.expire(1 + PATIENCE_NS, |name, verdict| last.push((name, verdict)));
        assert!(last.iter().all(|(_, verdict)| *verdict == Verdict::Final));
        assert_eq!(found.len() + last.len(), names.len());
        found
    }

    #[test]
    fn all_but_the_last_are_steps() {
        let names = ["api.shop.svc.cluster.local", "api.svc.cluster.local", "api.cluster.local", "api"];
        assert_eq!(steps(&LIST, &names), names[..3]);
        // Names with dots enough are asked for as they are first.
        assert_eq!(steps(&LIST, &["a.b.c", "a.b.c.shop.svc.cluster.local"]), ["a.b.c"]);
        assert_eq!(steps(&LIST, &["a.cluster.local", "b.cluster.local"]), [""; 0]);
    }

    #[test]
    fn without_a_list_only_the_bare_name_says_it() {
        let names = ["api.shop.svc.cluster.local", "api.svc.cluster.local", "api"];
        assert_eq!(steps(&[], &names), names[..2]);
        assert_eq!(steps(&[], &names[..2]), [""; 0]);
    }

    #[test]
    fn both_families_of_a_name_are_no_steps_of_each_other() {
        assert_eq!(steps(&LIST, &["a.cluster.local", "a.cluster.local"]), [""; 0]);
    }

    #[test]
    fn another_process_decides_nothing() {
        let mut search = Search::new();
        search.set_list(1, &LIST);
        search.set_list(2, &LIST);
        search.hold(1, &"a.cluster.local".into(), (), 1, |(), _| ());
        search.asks(2, "a", |(), _| panic!("of another process"));
    }

    #[test]
    fn the_last_list_of_a_file_counts() {
        let text = "# search no\nsearch a.example.\nnameserver 1.2.3.4\nsearch B.example c.example\n";
        assert_eq!(parse(text), ["b.example", "c.example"]);
        assert_eq!(parse("domain d.example\noptions ndots:5\n"), ["d.example"]);
    }
}
