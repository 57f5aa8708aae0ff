//! The spool of one signal, shared by who fills it and its receivers.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::gate::{self, Signal};
use super::spool::{Batch, Cause, Limits, Queue, SpoolError};
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

    /// The queue.
    pub fn queue(&self) -> MutexGuard<'_, Queue> {
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

    /// Items that a reader lost in the spool, by cause.
    #[must_use]
    pub fn lost(&self, reader: usize) -> [(Cause, u64); 3] {
        let lost = self.queue().lost(reader);
        Cause::ALL.map(|cause| (cause, lost.items(cause)))
    }
}
