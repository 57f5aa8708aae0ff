//! Order, once, and how many requests are under way, in simulated time.

use tokio::time::{Instant, sleep};

use super::fake::{Attempt, Fake, Fate};
use super::numbered::{KINDS, Numbers};
use super::*;

/// An odd number whose multiples are spread well.
const SPREAD: usize = 0x9e37_79b9;

/// Some number below `bound` that is different for each attempt, and the same in each run.
fn spread(number: usize, bound: usize) -> usize {
    (number.wrapping_mul(SPREAD) >> 8) % bound
}

/// Answers that overtake each other, as far as they are under way at once.
fn uneven(number: usize) -> Duration {
    Duration::from_millis(10 + spread(number, 200) as u64)
}

#[tokio::test(start_paused = true)]
async fn order_outlives_retries_and_splits() {
    const REFUSED: [Fate; 4] = [Fate::Lost, Fate::Status(503), Fate::Status(413), Fate::Status(504)];
    for kind in KINDS {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path(), kind.signal);
        let behaviour = |attempt: &Attempt| match spread(attempt.number, 12) {
            place @ 0..4 => REFUSED[place],
            _ => Fate::Taken,
        };
        let fake = Fake::slow(uneven, behaviour);
        let mut numbers = Numbers::new(kind, 20);
        for _ in 0..30 {
            numbers.accept(&store, 3, 20_000).await;
        }
        let run = Run::start(&store, (kind.wire)(), fake.clone());
        for _ in 0..300 {
            numbers.accept(&store, 2, 10).await;
            sleep(Duration::from_millis(500)).await;
        }
        run.drained_in_simulated_time().await;
        assert_eq!((run.delivered(), run.refused()), (numbers.items(), 0));
        run.stop().await;
        numbers.assert_once_and_in_order(&fake.taken());
        assert!(fake.most() > 1, "nothing could overtake anything");
        assert!(
            REFUSED.into_iter().all(|fate| fake.count(fate) > 0),
            "{:?} are too few",
            fake.attempts().len()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_was_not_answered_comes_again() {
    for kind in KINDS {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path(), kind.signal);
        let behaviour = |attempt: &Attempt| match spread(attempt.number, 8) {
            0 => Fate::Unanswered,
            _ => Fate::Taken,
        };
        let fake = Fake::slow(uneven, behaviour);
        let mut numbers = Numbers::new(kind, 20);
        let run = Run::start(&store, (kind.wire)(), fake.clone());
        for _ in 0..200 {
            numbers.accept(&store, 1, 10).await;
            sleep(Duration::from_millis(100)).await;
        }
        run.drained_in_simulated_time().await;
        assert_eq!(run.delivered(), numbers.items());
        run.stop().await;
        let again = numbers.assert_in_order(&fake.taken());
        let unanswered = fake.count(Fate::Unanswered);
        assert!(unanswered > 10 && again >= unanswered as u64, "{unanswered} requests, {again} items");
    }
}

#[tokio::test(start_paused = true)]
async fn order_outlives_a_restart() {
    for kind in KINDS {
        let directory = tempfile::tempdir().unwrap();
        let fake = Fake::slow(uneven, |_| Fate::Taken);
        let mut numbers = Numbers::new(kind, 20);
        for life in 0..20 {
            let store = open(directory.path(), kind.signal);
            let run = Run::start(&store, (kind.wire)(), fake.clone());
            for _ in 0..10 {
                numbers.accept(&store, 1, 20_000).await;
            }
            // Ends with requests under way.
            sleep(Duration::from_millis(100 + spread(life, 300) as u64)).await;
            run.stop().await;
        }
        let store = open(directory.path(), kind.signal);
        let run = Run::start(&store, (kind.wire)(), fake.clone());
        run.drained_in_simulated_time().await;
        run.stop().await;
        numbers.assert_in_order(&fake.taken());
    }
}

/// So many batches of a MiB in so many streams, which wait before the worker starts; how long it takes to send them.
async fn backlog(streams: usize, batches: usize, fake: &Fake) -> Duration {
    let [kind, _] = KINDS;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), kind.signal);
    let mut numbers = Numbers::new(kind, streams);
    for _ in 0..batches {
        numbers.accept(&store, 4, 1024 * 1024 / streams / 4).await;
    }
    let start = Instant::now();
    let run = Run::start(&store, (kind.wire)(), fake.clone());
    run.drained_in_simulated_time().await;
    assert_eq!(run.delivered(), numbers.items());
    run.stop().await;
    numbers.assert_once_and_in_order(&fake.taken());
    start.elapsed()
}

/// 50 000 lines of 230 bytes a second are 11 MiB; a batch has one.
#[tokio::test(start_paused = true)]
async fn a_backlog_of_one_stream_is_sent_faster_than_it_grows() {
    let fake = Fake::slow(|_| Duration::from_millis(100), |_| Fate::Taken);
    let took = backlog(4, 60, &fake).await;
    assert!(took < Duration::from_secs(60) / 22, "{took:?} for 5.5 s of lines at 100 ms a request");
}

#[tokio::test(start_paused = true)]
async fn as_many_requests_are_under_way_as_the_receiver_takes() {
    let takes_all = Fake::new(|_| Fate::Taken);
    let fast = backlog(32, 60, &takes_all).await;
    assert_eq!(takes_all.most(), 4);
    let takes_two = Fake::new(|attempt| if attempt.flying > 2 { Fate::Status(503) } else { Fate::Taken });
    backlog(32, 60, &takes_two).await;
    let (refused, taken) = (takes_two.count(Fate::Status(503)), takes_two.count(Fate::Taken));
    assert!(takes_two.most() >= 2 && refused > 0 && refused * 3 < taken, "{refused} refused, {taken} taken");
    let takes_one = Fake::new(|attempt| if attempt.flying > 1 { Fate::Status(503) } else { Fate::Taken });
    let slow = backlog(32, 60, &takes_one).await;
    assert!(fast < slow, "{fast:?} and {slow:?}");
}
