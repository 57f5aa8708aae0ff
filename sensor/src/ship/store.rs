//! The spool of one signal, shared by who fills it and its receivers.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::gate::{self, Signal};
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

    /// Takes an encoded payload: through the gate, packed, and onto the disk, on which it blocks. A payload that can't
    /// be written is lost and counted.
    pub fn accept(&self, mut payload: Vec<u8>, items: u32) {
        let inner = &*self.0;
        gate::before_compression(inner.signal, &mut payload);
        let packed = wire::pack(inner.signal, &payload);
        drop(payload);
        let pushed = self.queue().push(&packed, items, now_ms());
        let (counter, error) = match pushed {
            Ok(_) => (&inner.counts.accepted, None),
            Err(error) if error.is_full() => (&inner.counts.disk_full, Some(error)),
            Err(error) => (&inner.counts.disk_error, Some(error)),
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
        inner.filled.notify_waiters();
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

    /// A batch of a reader is done with.
    pub fn acknowledge(&self, reader: usize, batch: &Batch) {
        self.queue().acknowledge(reader, batch.number, batch.items);
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
