//! What waits for a receiver that is away for two hours is on the disk, and memory stays as it is. It has a process of its
//! own, as other tests would be in what it measures.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sensor::ship::gate::Signal;
use sensor::ship::sender::{Outcome, Request, Transport};
use sensor::ship::spool::{Limits, Sync};
use sensor::ship::stats::Stats;
use sensor::ship::store::Store;
use sensor::ship::wire::Wire;
use sensor::ship::worker::{Stop, Worker};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

const OUTAGE: Duration = Duration::from_secs(2 * 3_600);
/// By then caches and threads are what they will be.
const WARM: Duration = Duration::from_secs(600);
const INTERVAL: Duration = Duration::from_secs(10);
const BATCH_BYTES: usize = 32 * 1024;

/// A receiver that is away.
#[derive(Default)]
struct Away(Arc<AtomicU64>);

impl Transport for Away {
    fn send(&self, request: Request, _: u32) -> Pin<Box<dyn Future<Output = Outcome> + Send + '_>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            sleep(Duration::from_millis(50)).await;
            drop(request);
            Outcome::Network("connection refused".to_owned())
        })
    }
}

/// Bytes that no compression makes fewer, and in which no card number is.
fn batch(number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3] | 0x80
    };
    (0..BATCH_BYTES).map(|_| next()).collect()
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("read /proc/self/status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    kib * 1024
}

#[tokio::test(start_paused = true)]
async fn memory_is_flat_while_a_receiver_is_away() {
    let directory = tempfile::tempdir().expect("make a directory");
    let limits = Limits {
        max_bytes: 1 << 30,
        segment_bytes: 1 << 20,
        max_age: Duration::from_secs(24 * 3_600),
        sync: Sync::Never,
    };
    let store = Store::open(directory.path(), Signal::Logs, &["receiver"], limits).expect("open the spool");
    let attempts = Arc::<AtomicU64>::default();
    let (stop, stopped) = watch::channel(Stop::Run);
    let worker = Worker {
        name: "receiver".to_owned(),
        store: store.clone(),
        reader: 0,
        wire: Arc::new(Wire::Loki),
        transport: Arc::new(Away(Arc::clone(&attempts))),
        stats: Arc::<Stats>::default(),
    };
    let task = tokio::spawn(worker.run(stopped));
    let (start, mut number, mut warm) = (Instant::now(), 0, None);
    while start.elapsed() < OUTAGE {
        let to = store.clone();
        tokio::task::spawn_blocking(move || to.accept(batch(number), 1)).await.expect("no panic");
        number += 1;
        sleep(INTERVAL).await;
        if warm.is_none() && start.elapsed() >= WARM {
            warm = Some((resident(), store.depth(0).bytes));
        }
    }
    let depth = store.depth(0);
    let (memory_before, spool_before) = warm.expect("the outage is longer");
    let (memory, spool) = (resident().saturating_sub(memory_before), depth.bytes - spool_before);
    assert_eq!(depth.waiting, number, "nothing was lost");
    assert!(attempts.load(Ordering::Relaxed) > 100, "it was tried all the time");
    assert!(spool > 15 * 1024 * 1024, "{spool} bytes more wait on the disk");
    assert!(memory < spool / 4, "{spool} bytes more wait, and {memory} bytes more are resident");
    stop.send_replace(Stop::Now);
    task.await.expect("the worker ends");
}
