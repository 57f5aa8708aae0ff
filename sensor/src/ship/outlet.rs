//! Where a signal goes now: what its sink needs while there is a receiver.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

/// A batch that waits to be written. It is encoded: as a message of many small strings it would take several times the
/// memory.
#[derive(Debug)]
pub struct Encoded {
    /// The message.
    pub(super) payload: Vec<u8>,
    /// Its lines or spans.
    pub(super) items: u32,
}

/// Most batches that are written at once: all that may wait.
const AT_ONCE_MAX: usize = 32;

/// Writes batches to the spool until the outlet is closed. All that wait are accepted at once, so that a slow disk is waited
/// for once for all of them.
pub(super) async fn write(
    mut batches: mpsc::Receiver<Encoded>,
    accept: impl Fn(Vec<Encoded>) + Clone + Send + 'static,
) {
    loop {
        let mut waiting = Vec::new();
        if batches.recv_many(&mut waiting, AT_ONCE_MAX).await == 0 {
            return;
        }
        let accept = accept.clone();
        if tokio::task::spawn_blocking(move || accept(waiting)).await.is_err() {
            tracing::error!("batches could not be stored");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_comes_while_the_disk_is_slow_is_accepted_at_once() {
        const WAITING: u32 = 15;
        let (batches, waiting) = mpsc::channel(16);
        let (groups, mut told) = mpsc::unbounded_channel();
        let (disk, is_done) = std::sync::mpsc::channel::<()>();
        let is_done = Arc::new(Mutex::new(is_done));
        let writer = tokio::spawn(write(waiting, move |group: Vec<Encoded>| {
            groups.send(group.iter().map(|batch| batch.items).collect::<Vec<_>>()).unwrap();
            is_done.lock().unwrap().recv().unwrap();
        }));
        let send = |items| batches.try_send(Encoded { payload: Vec::new(), items }).unwrap();
        send(0);
        assert_eq!(told.recv().await.unwrap(), [0]);
        (1..=WAITING).for_each(send);
        disk.send(()).unwrap();
        assert_eq!(told.recv().await.unwrap(), (1..=WAITING).collect::<Vec<_>>());
        disk.send(()).unwrap();
        drop(batches);
        writer.await.unwrap();
    }
}
