//! Pairing questions and answers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;

use super::Captured;
use super::message::{Message, Question};
use super::search::{Search, Verdict};
use super::stream::Stream;
use crate::flow::{Names, Places};
use crate::identity::Service;
use crate::mask::Masker;
use crate::metric::dns::{DnsMetrics, Lookup};
use crate::metric::limit::Limited;

/// Questions that wait for their answer.
const PENDING: usize = 16_384;
/// Directions of TCP connections.
const STREAMS: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");
/// How many times the timeout a question is remembered after it, so that its late answer is known.
const LATE: u64 = 4;
/// `NXDOMAIN`
const NO_SUCH_NAME: u8 = 3;

/// Settings.
#[derive(Clone, Copy, Debug)]
pub struct DnsConfig {
    /// How long an answer may take.
    pub timeout: Duration,
    /// Names that are told apart.
    pub max_names: usize,
}

/// What was not seen, or not understood.
#[derive(Clone, Copy, Debug, Default)]
pub struct DnsLosses {
    /// Messages that are none, or not of one question.
    pub malformed: u64,
    /// Pieces of a TCP stream in which the next message could not be found.
    pub stream: u64,
    /// Questions for which there was no room.
    pub full: u64,
    /// Answers to no question that was seen.
    pub unpaired: u64,
    /// Answers to a question that was given up, and counted as such.
    pub late: u64,
}

/// All lookups under way.
pub struct Lookups {
    timeout_ns: u64,
    pending: HashMap<Key, Pending>,
    streams: LruCache<(u64, SocketAddr, bool), Stream>,
    search: Search<Held>,
    names: Limited,
    losses: DnsLosses,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    socket: u64,
    id: u16,
    question: Question,
}

#[derive(Debug)]
struct Pending {
    /// When it was first sent.
    since_ns: u64,
    /// When it was last sent.
    sent_ns: u64,
    service: Option<Service>,
    /// It has taken too long, and was counted.
    is_over: bool,
}

#[derive(Debug)]
struct Held {
    service: Option<Service>,
    name: Arc<str>,
    took_ns: u64,
    now_ns: u64,
}

/// What a message is taken with.
pub struct Around<'a, N> {
    /// Names of processes.
    pub names: &'a mut N,
    /// Where the addresses in answers are kept.
    pub places: &'a mut Places,
    /// Masks names.
    pub masker: &'a Masker,
    /// What is told.
    pub metrics: &'a mut DnsMetrics,
}

impl Lookups {
    /// None under way.
    #[must_use]
    pub fn new(config: DnsConfig) -> Self {
        Self {
            timeout_ns: u64::try_from(config.timeout.as_nanos()).unwrap_or(u64::MAX / 8),
            pending: HashMap::new(),
            streams: LruCache::new(STREAMS),
            search: Search::new(),
            names: Limited::new(config.max_names),
            losses: DnsLosses::default(),
        }
    }

    /// Lookups whose name was one too many.
    #[must_use]
    pub fn folded(&self) -> u64 {
        self.names.folded()
    }

    /// What was not seen so far.
    #[must_use]
    pub fn losses(&self) -> DnsLosses {
        self.losses
    }

    /// Takes what was captured.
    pub fn take(&mut self, captured: &Captured<'_>, around: &mut Around<'_, impl Names>) {
        if !captured.is_stream {
            self.message(captured, captured.bytes, around);
            return;
        }
        let key = (captured.socket, captured.local, captured.is_sent);
        let mut stream = self.streams.pop(&key).unwrap_or_default();
        let taken = stream.take(captured.bytes, captured.length, |message| {
            self.message(captured, message, around);
        });
        match taken {
            Ok(()) => {
                self.streams.put(key, stream);
            }
            Err(_) => self.losses.stream += 1,
        }
    }

    fn message(&mut self, captured: &Captured<'_>, bytes: &[u8], around: &mut Around<'_, impl Names>) {
        match Message::parse(bytes) {
            Some(message) if message.is_answer != captured.is_sent => {
                let key = Key { socket: captured.socket, id: message.id, question: message.question.clone() };
                if message.is_answer {
                    self.answer(captured, &key, &message, around);
                } else {
                    self.question(captured, key, around);
                }
            }
            _ => self.losses.malformed += 1,
        }
    }

    fn question(&mut self, captured: &Captured<'_>, key: Key, around: &mut Around<'_, impl Names>) {
        let (metrics, names) = (&mut *around.metrics, &mut self.names);
        self.search.asks(captured.task.tgid, &key.question.name, |held, verdict| {
            no_such_name(&held, verdict, around.masker, names, metrics);
        });
        if let Some(pending) = self.pending.get_mut(&key).filter(|pending| !pending.is_over) {
            // The same again, because nothing has come.
            pending.sent_ns = captured.time_ns;
            return;
        }
        if self.pending.len() >= PENDING {
            self.losses.full += 1;
            return;
        }
        let service = around.names.service(captured.task.tgid, Some(captured.task.comm));
        let (since_ns, sent_ns) = (captured.time_ns, captured.time_ns);
        self.pending.insert(key, Pending { since_ns, sent_ns, service, is_over: false });
    }

    fn answer(
        &mut self,
        captured: &Captured<'_>,
        key: &Key,
        message: &Message,
        around: &mut Around<'_, impl Names>,
    ) {
        let Some(pending) = self.pending.remove(key) else {
            self.losses.unpaired += 1;
            return;
        };
        let tgid = captured.task.tgid;
        if !message.addresses.is_empty() {
            let name: Arc<str> = around.masker.text(&key.question.name).into();
            for (address, seconds) in &message.addresses {
                around.places.learn(*address, &name, tgid, *seconds, captured.time_ns);
            }
        }
        if pending.is_over {
            self.losses.late += 1;
            return;
        }
        if !around.names.is_wanted(pending.service.as_ref()) {
            return;
        }
        let took_ns = captured.time_ns.saturating_sub(pending.since_ns);
        let now_ns = captured.time_ns;
        let name = &key.question.name;
        let (metrics, masker, names) = (&mut *around.metrics, around.masker, &mut self.names);
        if message.code == NO_SUCH_NAME {
            let held = Held { service: pending.service, name: Arc::clone(name), took_ns, now_ns };
            self.search.hold(tgid, name, held, now_ns, |held, verdict| {
                no_such_name(&held, verdict, masker, names, metrics);
            });
            return;
        }
        metrics.answered(
            &Lookup {
                service: &pending.service.unwrap_or_default(),
                name: &names.admit(&masker.text(name), now_ns),
                code: Message::code_name(message.code),
                error: error(message),
            },
            took_ns,
            now_ns,
        );
    }

    /// What is due once a second.
    pub fn second(&mut self, now_ns: u64, around: &mut Around<'_, impl Names>) {
        let (metrics, masker, names) = (&mut *around.metrics, around.masker, &mut self.names);
        self.search.expire(now_ns, |held, verdict| no_such_name(&held, verdict, masker, names, metrics));
        let timeout_ns = self.timeout_ns;
        self.pending.retain(|key, pending| {
            let waited = now_ns.saturating_sub(pending.sent_ns);
            if waited >= timeout_ns && !pending.is_over {
                pending.is_over = true;
                if around.names.is_wanted(pending.service.as_ref()) {
                    let service = pending.service.clone().unwrap_or_default();
                    let name = names.admit(&masker.text(&key.question.name), now_ns);
                    metrics.unanswered(&service, &name, now_ns);
                }
            }
            waited < timeout_ns * LATE
        });
    }
}

fn no_such_name(
    held: &Held,
    verdict: Verdict,
    masker: &Masker,
    names: &mut Limited,
    metrics: &mut DnsMetrics,
) {
    let lookup = Lookup {
        service: &held.service.clone().unwrap_or_default(),
        name: &names.admit(&masker.text(&held.name), held.now_ns),
        code: Message::code_name(NO_SUCH_NAME),
        error: match verdict {
            Verdict::Step => "nxdomain_search",
            Verdict::Final => "nxdomain",
        },
    };
    metrics.answered(&lookup, held.took_ns, held.now_ns);
}

/// Why a lookup failed; empty when it did not.
fn error(message: &Message) -> &'static str {
    match message.code {
        0 if message.is_truncated => "truncated",
        0 => "",
        1 => "formerr",
        2 => "servfail",
        4 => "notimp",
        5 => "refused",
        _ => "other",
    }
}

#[cfg(test)]
mod tests;
