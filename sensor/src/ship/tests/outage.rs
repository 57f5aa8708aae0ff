//! A receiver that is away for two hours, in simulated time.

use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use tokio::time::{Instant, sleep};

use super::*;
use crate::ship::remote_write::v1::WriteRequest;
use crate::ship::sender::{self, Answer, Outcome};

const OUTAGE: Duration = Duration::from_secs(2 * 3600);
/// One request more than this is enough for the load, so that the backlog shrinks.
const LATENCY: Duration = Duration::from_millis(50);

/// What a receiver does to a request at a time after the start.
type Behaviour = dyn Fn(Duration) -> Option<u16> + Send + std::marker::Sync;

#[derive(Clone)]
struct Fake(Arc<Inner>);

struct Inner {
    start: Instant,
    behaviour: Box<Behaviour>,
    attempts: Mutex<Vec<Duration>>,
    taken: Mutex<Vec<Vec<u8>>>,
    flying: AtomicUsize,
    most: AtomicUsize,
}

impl Fake {
    fn new(behaviour: impl Fn(Duration) -> Option<u16> + Send + std::marker::Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            start: Instant::now(),
            behaviour: Box::new(behaviour),
            attempts: Mutex::default(),
            taken: Mutex::default(),
            flying: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        }))
    }
}

impl Transport for Fake {
    fn send(&self, request: sender::Request, _: u32) -> Pin<Box<dyn Future<Output = Outcome> + Send + '_>> {
        let fake = Arc::clone(&self.0);
        Box::pin(async move {
            let now = fake.flying.fetch_add(1, Ordering::Relaxed) + 1;
            fake.most.fetch_max(now, Ordering::Relaxed);
            sleep(LATENCY).await;
            fake.flying.fetch_sub(1, Ordering::Relaxed);
            let at = fake.start.elapsed();
            fake.attempts.lock().unwrap().push(at);
            match (fake.behaviour)(at) {
                None => Outcome::Network("connection refused".to_owned()),
                Some(status) => {
                    if status < 300 {
                        fake.taken.lock().unwrap().push(request.body.to_vec());
                    }
                    let mut headers = hyper::HeaderMap::new();
                    if status == 429 {
                        headers.insert("retry-after", hyper::header::HeaderValue::from_static("300"));
                    }
                    Outcome::Answered(Answer { status, headers, body: bytes::Bytes::new() })
                }
            }
        })
    }
}

/// One collection every 15 s, until some time after the outage.
async fn load(store: &Store, until: Duration) -> u32 {
    let start = Instant::now();
    let mut number = 0;
    while start.elapsed() < until {
        let store = store.clone();
        tokio::task::spawn_blocking(move || store.accept(samples(number), 1)).await.unwrap();
        number += 1;
        sleep(Duration::from_secs(15)).await;
    }
    number
}

fn timestamps(fake: &Fake) -> Vec<i64> {
    let taken = fake.0.taken.lock().unwrap();
    taken
        .iter()
        .map(|body| {
            let body = snap::raw::Decoder::new().decompress_vec(body).unwrap();
            WriteRequest::decode(&*body).unwrap().timeseries[0].samples[0].timestamp
        })
        .collect()
}

async fn survive(down: Option<u16>) -> (Fake, Vec<i64>, Vec<i64>) {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), Signal::Metrics);
    let fake = Fake::new(move |at| if at < OUTAGE { down } else { Some(204) });
    let run = Run::start(&store, remote_write(false), fake.clone());
    let pushed = load(&store, OUTAGE + Duration::from_secs(600)).await;
    run.drained_in_simulated_time().await;
    run.stop().await;
    let expected: Vec<i64> = (0..i64::from(pushed)).collect();
    let got = timestamps(&fake);
    (fake, got, expected)
}

impl Run {
    async fn drained_in_simulated_time(&self) {
        let deadline = Instant::now() + Duration::from_secs(3600);
        while self.store.depth(0).waiting > 0 {
            assert!(Instant::now() < deadline, "the backlog does not shrink");
            sleep(Duration::from_secs(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_arrives_in_order_and_once_after_two_hours() {
    let (fake, got, expected) = survive(None).await;
    assert_eq!(got, expected);
    let during = fake.0.attempts.lock().unwrap().iter().filter(|at| **at < OUTAGE).count();
    // Full jitter up to a minute is half a minute on average.
    assert!((100..700).contains(&during), "{during} attempts in two hours");
    assert_eq!(fake.0.most.load(Ordering::Relaxed), 1, "batches wait on the disk, not in memory");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_overloaded_for_two_hours_is_given_the_time_that_it_asks_for() {
    let (fake, got, expected) = survive(Some(429)).await;
    assert_eq!(got, expected);
    let attempts = fake.0.attempts.lock().unwrap();
    let during: Vec<&Duration> = attempts.iter().filter(|at| **at < OUTAGE).collect();
    assert!(during.len() <= 25, "{} attempts: more than one in 300 s", during.len());
    assert!(during.windows(2).all(|pair| *pair[1] - *pair[0] >= Duration::from_secs(300)));
}

#[tokio::test(start_paused = true)]
async fn wrong_credentials_for_two_hours_lose_nothing() {
    let (fake, got, expected) = survive(Some(401)).await;
    assert_eq!(got, expected);
    let during = fake.0.attempts.lock().unwrap().iter().filter(|at| **at < OUTAGE).count();
    assert!((100..=121).contains(&during), "{during} attempts: one a minute");
}

/// Two hours of requests with one numbered item each, by a signal whose requests overtake each other; what the receiver
/// took of them.
async fn numbered(signal: Signal, wire: Wire, payload: fn(u32) -> Vec<u8>) -> (Fake, u32) {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), signal);
    let fake = Fake::new(|at| if at < OUTAGE { None } else { Some(200) });
    let run = Run::start(&store, wire, fake.clone());
    let start = Instant::now();
    let mut number = 0;
    while start.elapsed() < OUTAGE + Duration::from_secs(600) {
        let store = store.clone();
        tokio::task::spawn_blocking(move || store.accept(payload(number), 1)).await.unwrap();
        number += 1;
        sleep(Duration::from_secs(15)).await;
    }
    run.drained_in_simulated_time().await;
    assert_eq!((run.delivered(), run.refused()), (u64::from(number), 0));
    run.stop().await;
    assert!(fake.0.most.load(Ordering::Relaxed) <= 4, "batches wait on the disk, not in memory");
    (fake, number)
}

/// Each is there once, and none is more places from its own than requests are under way.
fn assert_once_and_in_order(got: &[u32], count: u32) {
    let mut sorted = got.to_vec();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..count).collect::<Vec<_>>());
    for (place, number) in (0..).zip(got) {
        assert!(number.abs_diff(place) <= 4, "{number} at place {place}");
    }
}

#[tokio::test(start_paused = true)]
async fn lines_arrive_once_and_in_order_after_two_hours() {
    let payload = |number| {
        let mut batch = loki::Batch::default();
        batch.push(loki::Line {
            time_ns: u64::from(number),
            labels: vec![("job".into(), "a/b".to_owned())],
            metadata: Vec::new(),
            body: "hello".to_owned(),
            severity: None,
        });
        batch.take().unwrap().encode_to_vec()
    };
    let (fake, count) = numbered(Signal::Logs, Wire::Loki, payload).await;
    let number = |body: &Vec<u8>| {
        let body = snap::raw::Decoder::new().decompress_vec(body).unwrap();
        let request = loki::proto::PushRequest::decode(&*body).unwrap();
        u32::try_from(request.streams[0].entries[0].timestamp.unwrap().nanos).unwrap()
    };
    let got: Vec<u32> = fake.0.taken.lock().unwrap().iter().map(number).collect();
    assert_once_and_in_order(&got, count);
}

#[tokio::test(start_paused = true)]
async fn spans_arrive_once_and_in_order_after_two_hours() {
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData};
    let payload = |number| {
        let span = Span { end_time_unix_nano: u64::from(number), ..Span::default() };
        let scope = ScopeSpans { spans: vec![span], ..ScopeSpans::default() };
        let resource = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
        TracesData { resource_spans: vec![resource] }.encode_to_vec()
    };
    let (fake, count) = numbered(Signal::Traces, Wire::OtlpHttp, payload).await;
    let number = |body: &Vec<u8>| {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&**body), &mut bytes).unwrap();
        let data = TracesData::decode(&*bytes).unwrap();
        u32::try_from(data.resource_spans[0].scope_spans[0].spans[0].end_time_unix_nano).unwrap()
    };
    let got: Vec<u32> = fake.0.taken.lock().unwrap().iter().map(number).collect();
    assert_once_and_in_order(&got, count);
}

#[tokio::test(start_paused = true)]
async fn several_requests_are_under_way_when_the_receiver_takes_them() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), Signal::Logs);
    for _ in 0..100 {
        store.accept(lines(1), 1);
    }
    let fake = Fake::new(|_| Some(204));
    let run = Run::start(&store, Wire::Loki, fake.clone());
    run.drained_in_simulated_time().await;
    assert_eq!(fake.0.most.load(Ordering::Relaxed), 4);
    assert_eq!(fake.0.taken.lock().unwrap().len(), 100, "each once");
    run.stop().await;
}
