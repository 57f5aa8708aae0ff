//! Where a signal goes now: what its sink needs while there is a receiver.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::store::Store;

/// A batch that waits to be written. It is encoded: as a message of many small strings it would take several times the
/// memory.
#[derive(Debug)]
pub struct Encoded {
    /// The message.
    pub(super) payload: Vec<u8>,
    /// Its lines or spans.
    pub(super) items: u32,
}

/// Writes batches to the spool until the outlet is closed.
pub(super) async fn write(mut batches: mpsc::Receiver<Encoded>, store: Store) {
    while let Some(Encoded { payload, items }) = batches.recv().await {
        let store = store.clone();
        if tokio::task::spawn_blocking(move || store.accept(payload, items)).await.is_err() {
            tracing::error!("a batch could not be stored");
        }
    }
}

/// Shared by the sink, which asks, and by who applies the settings, which opens and closes it.
pub struct Outlet<T>(Arc<Mutex<Option<T>>>);

impl<T> Outlet<T> {
    /// Opens it, in place of what was open before.
    pub(super) fn set(&self, open: T) {
        *self.lock() = Some(open);
    }

    /// Closes it: the receiver's end gets what was sent, and no more.
    pub fn close(&self) {
        *self.lock() = None;
    }

    /// Whether it is open.
    pub(super) fn is_open(&self) -> bool {
        self.lock().is_some()
    }

    /// What is open.
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Outlet<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Outlet<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}
