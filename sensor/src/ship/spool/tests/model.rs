//! The queue against a model of it: any order of pushes, failures, reads, acknowledgements and restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;

use proptest::prelude::*;

use super::{Faulty, drain, limits, open};
use crate::ship::spool::{Cause, Queue};

const READERS: [&str; 2] = ["a", "b"];
const MAX_BYTES: u64 = 3_000;

#[derive(Clone, Debug)]
enum Step {
    Push { length: usize, items: u32 },
    FailedPush { length: usize, written: usize },
    UnsyncedPush { length: usize },
    PushAll { lengths: Vec<usize>, written: Option<usize>, is_synced: bool },
    Read { reader: usize },
    Acknowledge { reader: usize, which: prop::sample::Index },
    Rewind { reader: usize },
    Restart,
    Pass { minutes: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let reader = 0..READERS.len();
    prop_oneof![
        8 => (1_usize..400, 0_u32..9).prop_map(|(length, items)| Step::Push { length, items }),
        1 => (1_usize..400, 0_usize..400).prop_map(|(length, written)| Step::FailedPush { length, written }),
        1 => (1_usize..400).prop_map(|length| Step::UnsyncedPush { length }),
        4 => (prop::collection::vec(1_usize..400, 0..9), prop::option::weighted(0.2, 0_usize..400), prop::bool::weighted(0.8))
            .prop_map(|(lengths, written, is_synced)| Step::PushAll { lengths, written, is_synced }),
        6 => reader.clone().prop_map(|reader| Step::Read { reader }),
        6 => (reader.clone(), any::<prop::sample::Index>())
            .prop_map(|(reader, which)| Step::Acknowledge { reader, which }),
        1 => reader.prop_map(|reader| Step::Rewind { reader }),
        1 => Just(Step::Restart),
        1 => (1_u64..30).prop_map(|minutes| Step::Pass { minutes }),
    ]
}

/// What one reader must have got.
#[derive(Default)]
struct View {
    /// Read and not acknowledged since the last start or rewind.
    out: Vec<u64>,
    /// The last number read since then.
    last: u64,
    acknowledged: BTreeSet<u64>,
    lost_batches: u64,
    lost_items: u64,
}

struct Model {
    accepted: BTreeMap<u64, (Vec<u8>, u32)>,
    views: [View; 2],
    now_ms: u64,
}

impl Model {
    /// Adds up what the queue counted; it starts anew with each opening.
    fn collect(&mut self, queue: &Queue<Faulty>) {
        for (reader, view) in self.views.iter_mut().enumerate() {
            let lost = queue.lost(reader);
            assert_eq!(lost.batches(Cause::Damaged), 0, "nothing was damaged");
            view.lost_batches += lost.batches(Cause::Bytes) + lost.batches(Cause::Age);
            view.lost_items += lost.items(Cause::Bytes) + lost.items(Cause::Age);
            view.out.clear();
            view.last = 0;
        }
    }
}

fn payload(number: usize, length: usize) -> Vec<u8> {
    (0..length).map(|place| u8::try_from((number * 31 + place * 7) % 256).unwrap()).collect()
}

fn run(steps: &[Step]) {
    let directory = tempfile::tempdir().unwrap();
    let limits = limits(MAX_BYTES, 600);
    let mut queue = open(directory.path(), &READERS, &limits);
    let mut model = Model { accepted: BTreeMap::new(), views: Default::default(), now_ms: 1 };
    for (index, step) in steps.iter().enumerate() {
        match step {
            Step::Push { length, items } => {
                let payload = payload(index, *length);
                let number = queue.push(&payload, *items, model.now_ms).unwrap();
                assert!(model.accepted.keys().all(|known| *known < number), "{number} is not new");
                model.accepted.insert(number, (payload, *items));
            }
            Step::FailedPush { length, written } => {
                queue.medium_mut().fails = Some((*written, ErrorKind::StorageFull));
                assert!(queue.push(&payload(index, *length), 1, model.now_ms).is_err());
                queue.medium_mut().fails = None;
            }
            Step::UnsyncedPush { length } => {
                queue.medium_mut().fails_sync = true;
                assert!(queue.push(&payload(index, *length), 1, model.now_ms).is_err());
                queue.medium_mut().fails_sync = false;
            }
            Step::PushAll { lengths, written, is_synced } => {
                let payloads: Vec<Vec<u8>> = lengths
                    .iter()
                    .enumerate()
                    .map(|(place, length)| payload(index + place, *length))
                    .collect();
                let batches: Vec<(&[u8], u32)> =
                    payloads.iter().zip(0..).map(|(payload, items)| (payload.as_slice(), items)).collect();
                queue.medium_mut().fails = written.map(|written| (written, ErrorKind::StorageFull));
                queue.medium_mut().fails_sync = !is_synced;
                let results = queue.push_all(&batches, model.now_ms);
                (queue.medium_mut().fails, queue.medium_mut().fails_sync) = (None, false);
                assert_eq!(results.len(), batches.len());
                for ((payload, items), result) in batches.into_iter().zip(results) {
                    assert_eq!(result.is_ok(), written.is_none() && *is_synced, "{result:?}");
                    if let Ok(number) = result {
                        assert!(model.accepted.keys().all(|known| *known < number), "{number} is not new");
                        model.accepted.insert(number, (payload.to_owned(), items));
                    }
                }
            }
            Step::Read { reader } => {
                let view = &mut model.views[*reader];
                if let Some(batch) = queue.read(*reader, model.now_ms) {
                    let (payload, items) = &model.accepted[&batch.number];
                    assert_eq!((&batch.payload, batch.items), (payload, *items));
                    assert!(batch.number > view.last, "out of order");
                    assert!(!view.acknowledged.contains(&batch.number), "read after it was acknowledged");
                    view.last = batch.number;
                    view.out.push(batch.number);
                }
            }
            Step::Acknowledge { reader, which } => {
                let view = &mut model.views[*reader];
                if !view.out.is_empty() {
                    let number = view.out.remove(which.index(view.out.len()));
                    let before = queue.waiting(*reader);
                    queue.acknowledge(*reader, number, model.accepted[&number].1);
                    // It may have been dropped, and counted, while it was out.
                    if queue.waiting(*reader) < before {
                        view.acknowledged.insert(number);
                    }
                }
            }
            Step::Rewind { reader } => {
                queue.rewind(*reader);
                model.views[*reader].out.clear();
                model.views[*reader].last = 0;
            }
            Step::Restart => {
                model.collect(&queue);
                drop(queue);
                queue = open(directory.path(), &READERS, &limits);
                assert_eq!(queue.torn(), 0);
            }
            Step::Pass { minutes } => model.now_ms += minutes * 60_000,
        }
        assert!(queue.bytes() <= MAX_BYTES);
    }
    model.collect(&queue);
    drop(queue);
    let mut queue = open(directory.path(), &READERS, &limits);
    for (reader, view) in model.views.iter().enumerate() {
        let rest = drain(&mut queue, reader, model.now_ms);
        let late = queue.lost(reader);
        let batches = view.lost_batches + late.batches(Cause::Age);
        let lost_items = view.lost_items + late.items(Cause::Age);
        let total = view.acknowledged.len() + rest.len() + usize::try_from(batches).unwrap();
        assert_eq!(total, model.accepted.len(), "each accepted batch is delivered or counted");
        let items = |numbers: &mut dyn Iterator<Item = u64>| -> u64 {
            numbers.map(|number| u64::from(model.accepted[&number].1)).sum()
        };
        let delivered =
            items(&mut view.acknowledged.iter().copied()) + items(&mut rest.iter().map(|batch| batch.number));
        assert_eq!(delivered + lost_items, items(&mut model.accepted.keys().copied()), "items");
        assert!(rest.iter().all(|batch| !view.acknowledged.contains(&batch.number)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_queue_does_what_the_model_says(steps in prop::collection::vec(step(), 1..120)) {
        run(&steps);
    }
}
