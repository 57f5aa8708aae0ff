//! A receiver that is away for two hours, in simulated time.

use tokio::time::{Instant, sleep};

use super::fake::{Attempt, Fake, Fate};
use super::numbered::{KINDS, Numbers};
use super::*;
use crate::ship::remote_write::v1::WriteRequest;

const OUTAGE: Duration = Duration::from_secs(2 * 3600);

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
    let timestamp = |body: Vec<u8>| {
        let body = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
        WriteRequest::decode(&*body).unwrap().timeseries[0].samples[0].timestamp
    };
    fake.taken().into_iter().map(timestamp).collect()
}

/// Away, or answering with this status, until the outage is over.
fn after_the_outage(during: Fate) -> impl Fn(&Attempt) -> Fate {
    move |attempt| if attempt.at < OUTAGE { during } else { Fate::Taken }
}

async fn survive(during: Fate) -> (Fake, Vec<i64>, Vec<i64>) {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), Signal::Metrics);
    let fake = Fake::new(after_the_outage(during));
    let run = Run::start(&store, remote_write(false), fake.clone());
    let pushed = load(&store, OUTAGE + Duration::from_secs(600)).await;
    run.drained_in_simulated_time().await;
    run.stop().await;
    let expected: Vec<i64> = (0..i64::from(pushed)).collect();
    let got = timestamps(&fake);
    (fake, got, expected)
}

#[tokio::test(start_paused = true)]
async fn all_arrives_in_order_and_once_after_two_hours() {
    let (fake, got, expected) = survive(Fate::Lost).await;
    assert_eq!(got, expected);
    let during = fake.attempts().into_iter().filter(|at| *at < OUTAGE).count();
    // Full jitter up to a minute is half a minute on average.
    assert!((100..700).contains(&during), "{during} attempts in two hours");
    assert_eq!(fake.most(), 1, "batches wait on the disk, not in memory");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_overloaded_for_two_hours_is_given_the_time_that_it_asks_for() {
    let (fake, got, expected) = survive(Fate::Status(429)).await;
    assert_eq!(got, expected);
    let during: Vec<Duration> = fake.attempts().into_iter().filter(|at| *at < OUTAGE).collect();
    assert!(during.len() <= 25, "{} attempts: more than one in 300 s", during.len());
    assert!(during.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(300)));
}

#[tokio::test(start_paused = true)]
async fn wrong_credentials_for_two_hours_lose_nothing() {
    let (fake, got, expected) = survive(Fate::Status(401)).await;
    assert_eq!(got, expected);
    let during = fake.attempts().into_iter().filter(|at| *at < OUTAGE).count();
    assert!((100..=121).contains(&during), "{during} attempts: one a minute");
}

#[tokio::test(start_paused = true)]
async fn lines_and_spans_arrive_once_and_in_order_after_two_hours() {
    for kind in KINDS {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path(), kind.signal);
        let fake = Fake::new(after_the_outage(Fate::Lost));
        let run = Run::start(&store, (kind.wire)(), fake.clone());
        let (start, mut numbers) = (Instant::now(), Numbers::new(kind, 5));
        while start.elapsed() < OUTAGE + Duration::from_secs(600) {
            numbers.accept(&store, 2, 1).await;
            sleep(Duration::from_secs(15)).await;
        }
        run.drained_in_simulated_time().await;
        assert_eq!((run.delivered(), run.refused()), (numbers.items(), 0));
        run.stop().await;
        numbers.assert_once_and_in_order(&fake.taken());
        assert!(fake.most() <= 4, "batches wait on the disk, not in memory");
    }
}
