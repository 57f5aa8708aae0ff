//! The spool of one signal, shared by who fills it and its receivers.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::gate::{self, Signal};
use super::outlet::Encoded;
use super::spool::{Batch, Limits, Lost, Queue, SpoolError};
use super::stats::now_ms;
use super::wire;

/// A queue with a bell. Cheap to copy.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    signal: Signal,
    queue: Mutex<Queue>,
    filled: Notify,
    counts: Counts,
    failing: AtomicBool,
}

/// What the way into the spool counts: samples, lines or spans.
#[derive(Debug, Default)]
pub struct Counts {
    /// Written.
    pub accepted: AtomicU64,
    /// Not written, as the disk was full.
    pub disk_full: AtomicU64,
    /// Not written for another reason.
    pub disk_error: AtomicU64,
}

/// What is in the spool for one reader.
#[derive(Clone, Copy, Debug)]
pub struct Depth {
    /// Batches it has not acknowledged.
    pub waiting: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Segments that ended in a write that was cut off.
    pub torn: u64,
    /// What it lost since the queue was opened.
    pub lost: Lost,
}

impl Store {
    /// Opens the spool of a signal below `directory`.
    ///
    /// # Errors
    /// See [`Queue::open`].
    pub fn open(
        directory: &Path,
        signal: Signal,
        readers: &[&str],
        limits: Limits,
    ) -> Result<Self, SpoolError> {
        let queue = Mutex::new(Queue::open(&directory.join(signal.name()), readers, limits)?);
        let (counts, failing) = (Counts::default(), AtomicBool::new(false));
        Ok(Self(Arc::new(Inner { signal, queue, filled: Notify::new(), counts, failing })))
    }

    /// The signal.
    #[must_use]
    pub fn signal(&self) -> Signal {
        self.0.signal
    }

    /// What came in.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// Private: who held it while asking anything else of the store would wait for itself.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an encoded payload, as [`accept_all`](Self::accept_all) takes several.
    pub fn accept(&self, payload: Vec<u8>, items: u32) {
        self.accept_all(vec![Encoded { payload, items }]);
    }

    /// Takes encoded payloads: through the gate, packed, and onto the disk, on which it blocks once for all of them. A
    /// payload that can't be written is lost and counted.
    pub fn accept_all(&self, batches: Vec<Encoded>) {
        let inner = &*self.0;
        let pack = |Encoded { mut payload, items }| {
            gate::before_compression(inner.signal, &mut payload);
            (wire::pack(inner.signal, &payload), items)
        };
        let packed: Vec<(Vec<u8>, u32)> = batches.into_iter().map(pack).collect();
        let batches: Vec<(&[u8], u32)> =
            packed.iter().map(|(payload, items)| (payload.as_slice(), *items)).collect();
        let pushed = self.queue().push_all(&batches, now_ms());
        for ((_, items), pushed) in batches.into_iter().zip(pushed) {
            self.count(items, pushed.err());
        }
        inner.filled.notify_waiters();
    }

    fn count(&self, items: u32, error: Option<SpoolError>) {
        let inner = &*self.0;
        let counter = match &error {
            None => &inner.counts.accepted,
            Some(error) if error.is_full() => &inner.counts.disk_full,
            Some(_) => &inner.counts.disk_error,
        };
        counter.fetch_add(u64::from(items), Ordering::Relaxed);
        // Said when it begins and when it ends, not for each batch.
        let was_failing = inner.failing.swap(error.is_some(), Ordering::Relaxed);
        match error {
            Some(error) if !was_failing => {
                tracing::error!(
                    signal = inner.signal.name(),
                    "the spool takes nothing, what comes is lost: {error}"
                );
            }
            None if was_failing => {
                tracing::info!(signal = inner.signal.name(), "the spool takes batches again");
            }
            _ => {}
        }
    }

    /// The next batch of a reader. It blocks on the disk.
    pub fn read(&self, reader: usize) -> Option<Batch> {
        self.queue().read(reader, now_ms())
    }

    /// Completes when a batch may have come since the future was made.
    pub fn filled(&self) -> tokio::sync::futures::Notified<'_> {
        self.0.filled.notified()
    }

    /// Whether a reader has not acknowledged a batch and can still read it.
    #[must_use]
    pub fn is_pending(&self, reader: usize, number: u64) -> bool {
        self.queue().is_pending(reader, number)
    }

    /// A batch of a reader, and what it held, is done with. It blocks on the disk.
    pub fn acknowledge(&self, reader: usize, number: u64, items: u32) {
        self.queue().acknowledge(reader, number, items);
    }

    /// What is in the spool for a reader, at one moment.
    #[must_use]
    pub fn depth(&self, reader: usize) -> Depth {
        let queue = self.queue();
        Depth {
            waiting: queue.waiting(reader),
            bytes: queue.bytes(),
            torn: queue.torn(),
            lost: queue.lost(reader),
        }
    }
}
