//! A receiver in simulated time.

use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use tokio::time::{Instant, sleep};

use super::*;
use crate::ship::sender::{self, Answer, Outcome};

/// How long an answer takes.
pub(super) const LATENCY: Duration = Duration::from_millis(50);

/// An attempt to send something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    /// When it is answered, since the start.
    pub(super) at: Duration,
    /// How many there were before.
    pub(super) number: usize,
    /// How many were under way when it came, with it.
    pub(super) flying: usize,
}

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is taken.
    Taken,
    /// It is taken, and the answer does not arrive.
    Unanswered,
    /// It does not arrive.
    Lost,
    /// It is answered so.
    Status(u16),
}

/// What the receiver does.
type Behaviour = dyn Fn(&Attempt) -> Fate + Send + std::marker::Sync;

/// A receiver.
#[derive(Clone)]
pub(super) struct Fake(Arc<Inner>);

struct Inner {
    start: Instant,
    behaviour: Box<Behaviour>,
    latency: Box<dyn Fn(usize) -> Duration + Send + std::marker::Sync>,
    attempts: Mutex<Vec<(Duration, Fate)>>,
    taken: Mutex<Vec<Vec<u8>>>,
    flying: AtomicUsize,
    most: AtomicUsize,
}

impl Fake {
    pub(super) fn new(behaviour: impl Fn(&Attempt) -> Fate + Send + std::marker::Sync + 'static) -> Self {
        Self::slow(|_| LATENCY, behaviour)
    }

    /// One whose answers take so long, by the number of the attempt.
    pub(super) fn slow(
        latency: impl Fn(usize) -> Duration + Send + std::marker::Sync + 'static,
        behaviour: impl Fn(&Attempt) -> Fate + Send + std::marker::Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            start: Instant::now(),
            behaviour: Box::new(behaviour),
            latency: Box::new(latency),
            attempts: Mutex::default(),
            taken: Mutex::default(),
            flying: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        }))
    }

    /// When each attempt was answered.
    pub(super) fn attempts(&self) -> Vec<Duration> {
        self.0.attempts.lock().unwrap().iter().map(|(at, _)| *at).collect()
    }

    /// Attempts of this fate.
    pub(super) fn count(&self, fate: Fate) -> usize {
        self.0.attempts.lock().unwrap().iter().filter(|(_, known)| *known == fate).count()
    }

    /// The bodies that were taken, in the order of their answers.
    pub(super) fn taken(&self) -> Vec<Vec<u8>> {
        self.0.taken.lock().unwrap().clone()
    }

    /// The most requests that were under way at once.
    pub(super) fn most(&self) -> usize {
        self.0.most.load(Ordering::Relaxed)
    }
}

/// Counts a request while it is under way, also one that is given up.
struct Flying(Arc<Inner>);

impl Drop for Flying {
    fn drop(&mut self) {
        self.0.flying.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Transport for Fake {
    fn send(&self, request: sender::Request, _: u32) -> Pin<Box<dyn Future<Output = Outcome> + Send + '_>> {
        let fake = Arc::clone(&self.0);
        Box::pin(async move {
            let now = fake.flying.fetch_add(1, Ordering::Relaxed) + 1;
            let _flying = Flying(Arc::clone(&fake));
            fake.most.fetch_max(now, Ordering::Relaxed);
            let number = fake.attempts.lock().unwrap().len();
            sleep((fake.latency)(number + now)).await;
            let at = fake.start.elapsed();
            let mut attempts = fake.attempts.lock().unwrap();
            let attempt = Attempt { at, number: attempts.len(), flying: now };
            let fate = (fake.behaviour)(&attempt);
            attempts.push((at, fate));
            if matches!(fate, Fate::Taken | Fate::Unanswered) {
                fake.taken.lock().unwrap().push(request.body.to_vec());
            }
            let status = match fate {
                Fate::Taken => 200,
                Fate::Status(status) => status,
                Fate::Lost | Fate::Unanswered => return Outcome::Network("connection reset".to_owned()),
            };
            let mut headers = hyper::HeaderMap::new();
            if status == 429 {
                headers.insert("retry-after", hyper::header::HeaderValue::from_static("300"));
            }
            Outcome::Answered(Answer { status, headers, body: bytes::Bytes::new() })
        })
    }
}

impl Run {
    pub(super) async fn drained_in_simulated_time(&self) {
        let deadline = Instant::now() + Duration::from_secs(3600);
        while self.store.depth(0).waiting > 0 {
            assert!(Instant::now() < deadline, "the backlog does not shrink");
            sleep(Duration::from_millis(100)).await;
        }
    }
}
