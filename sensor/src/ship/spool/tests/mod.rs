mod damage;
mod model;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Batch, Cause, Limits, Medium, Queue, Sync};

/// Writes until it is told to fail, and then only a part.
#[derive(Debug, Default)]
struct Faulty {
    fails: Option<(usize, io::ErrorKind)>,
    fails_sync: bool,
    syncs: usize,
}

impl Medium for Faulty {
    fn write(&mut self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self.fails {
            None => file.write_all_at(bytes, offset),
            Some((written, kind)) => {
                file.write_all_at(&bytes[..written.min(bytes.len())], offset)?;
                Err(kind.into())
            }
        }
    }

    fn sync(&mut self, _: &File) -> io::Result<()> {
        self.syncs += 1;
        if self.fails_sync { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
    }
}

const AGE: Duration = Duration::from_secs(3_600);

fn limits(max_bytes: u64, segment_bytes: u64) -> Limits {
    Limits { max_bytes, segment_bytes, max_age: AGE, sync: Sync::Always }
}

fn open(directory: &Path, readers: &[&str], limits: &Limits) -> Queue<Faulty> {
    Queue::open_on(Faulty::default(), directory, readers, limits.clone()).unwrap()
}

fn drain(queue: &mut Queue<Faulty>, reader: usize, now_ms: u64) -> Vec<Batch> {
    std::iter::from_fn(|| {
        let batch = queue.read(reader, now_ms)?;
        queue.acknowledge(reader, batch.number, batch.items);
        Some(batch)
    })
    .collect()
}

/// What all batches hold that the first reader gets.
fn payloads(queue: &mut Queue<Faulty>) -> Vec<Vec<u8>> {
    drain(queue, 0, 0).into_iter().map(|batch| batch.payload).collect()
}

fn files(directory: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == suffix))
        .collect();
    files.sort();
    files
}

#[test]
fn batches_come_back_in_order_and_once() {
    let directory = tempfile::tempdir().unwrap();
    let limits = limits(1_000_000, 300);
    let mut queue = open(directory.path(), &["a", "b"], &limits);
    for number in 0..20_u8 {
        queue.push(&[number; 50], u32::from(number), 1_000).unwrap();
    }
    assert!(files(directory.path(), "seg").len() > 3);
    let got: Vec<u8> = drain(&mut queue, 0, 1_000).iter().map(|batch| batch.payload[0]).collect();
    assert_eq!(got, (0..20).collect::<Vec<_>>());
    assert_eq!((queue.waiting(0), queue.waiting(1)), (0, 20));
    drop(queue);
    let mut queue = open(directory.path(), &["a", "b"], &limits);
    assert_eq!(drain(&mut queue, 0, 1_000), []);
    assert_eq!(drain(&mut queue, 1, 1_000).len(), 20);
    assert_eq!(files(directory.path(), "seg").len(), 1, "what everybody has is removed");
}

#[test]
fn an_acknowledgement_out_of_order_outlives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let limits = limits(1_000_000, 1_000);
    let mut queue = open(directory.path(), &["a"], &limits);
    let numbers: Vec<u64> = (0..3).map(|byte| queue.push(&[byte], 1, 0).unwrap()).collect();
    for _ in 0..3 {
        queue.read(0, 0).unwrap();
    }
    queue.acknowledge(0, numbers[1], 1);
    drop(queue);
    let mut queue = open(directory.path(), &["a"], &limits);
    let got: Vec<u64> = drain(&mut queue, 0, 0).iter().map(|batch| batch.number).collect();
    assert_eq!(got, [numbers[0], numbers[2]]);
}

#[test]
fn the_oldest_go_when_it_is_full_and_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let mut queue = open(directory.path(), &["a", "b"], &limits(1_000, 300));
    let first = queue.push(&[0; 100], 7, 0).unwrap();
    queue.read(0, 0).unwrap();
    queue.acknowledge(0, first, 7);
    for number in 1..30 {
        queue.push(&[number; 100], 7, 0).unwrap();
        assert!(queue.bytes() <= 1_000);
    }
    let left = drain(&mut queue, 0, 0).len() as u64;
    assert_eq!(queue.lost(0).batches(Cause::Bytes), 29 - left);
    assert_eq!(queue.lost(0).items(Cause::Bytes), 7 * (29 - left));
    assert_eq!(queue.lost(1).items(Cause::Bytes), 7 * (30 - left), "the other reader lost the first too");
    assert!(queue.push(&[0; 1_001], 1, 0).is_err());
}

#[test]
fn the_old_go_and_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let mut queue = open(directory.path(), &["a"], &limits(100_000, 50_000));
    let age = u64::try_from(AGE.as_millis()).unwrap();
    queue.push(b"old", 3, 1_000).unwrap();
    queue.push(b"young", 4, 1_000 + age / 2).unwrap();
    let left = drain(&mut queue, 0, 1_001 + age);
    assert_eq!(left.iter().map(|batch| batch.payload.as_slice()).collect::<Vec<_>>(), [b"young"]);
    assert_eq!((queue.lost(0).batches(Cause::Age), queue.lost(0).items(Cause::Age)), (1, 3));
}

#[test]
fn a_full_disk_refuses_and_is_recovered_from() {
    let directory = tempfile::tempdir().unwrap();
    let limits = limits(100_000, 200);
    let mut queue = open(directory.path(), &["a"], &limits);
    queue.push(b"before", 1, 0).unwrap();
    for written in [0, 5, 40] {
        queue.medium_mut().fails = Some((written, io::ErrorKind::StorageFull));
        let error = queue.push(&[1; 100], 1, 0).unwrap_err();
        assert!(error.is_full(), "{error}");
        // A new segment can't be started either.
        assert!(queue.push(&[1; 150], 1, 0).unwrap_err().is_full());
    }
    queue.medium_mut().fails = None;
    queue.medium_mut().fails_sync = true;
    assert!(!queue.push(b"unsure", 1, 0).unwrap_err().is_full());
    queue.medium_mut().fails_sync = false;
    queue.push(b"after", 1, 0).unwrap();
    drop(queue);
    let mut queue = open(directory.path(), &["a"], &limits);
    let got = payloads(&mut queue);
    assert_eq!(got, [b"before".to_vec(), b"after".to_vec()]);
    assert_eq!(queue.torn(), 0);
}

/// Batches of these lengths, each of one item.
fn push_all(queue: &mut Queue<Faulty>, lengths: &[usize]) -> Vec<Option<u64>> {
    let payloads: Vec<Vec<u8>> = lengths.iter().map(|length| vec![7; *length]).collect();
    let batches: Vec<(&[u8], u32)> = payloads.iter().map(|payload| (payload.as_slice(), 1)).collect();
    queue.push_all(&batches, 0).into_iter().map(Result::ok).collect()
}

#[test]
fn what_waits_is_synchronised_once() {
    let directory = tempfile::tempdir().unwrap();
    let limits = limits(1_000_000, 10_000);
    let mut queue = open(directory.path(), &["a"], &limits);
    queue.push(b"first", 1, 0).unwrap();
    let before = queue.medium_mut().syncs;
    assert_eq!(push_all(&mut queue, &[100; 32]), (2..34).map(Some).collect::<Vec<_>>());
    assert_eq!(queue.medium_mut().syncs - before, 1, "one for 32 batches");
    // A segment of 10 000 bytes takes 78 records of 128: each has one, and its start another, of the directory.
    let before = queue.medium_mut().syncs;
    assert_eq!(push_all(&mut queue, &[100; 200]).len(), 200);
    assert_eq!(files(directory.path(), "seg").len(), 3);
    assert_eq!(queue.medium_mut().syncs - before, 3 + 2);
    drop(queue);
    let mut queue = open(directory.path(), &["a"], &limits);
    assert_eq!(drain(&mut queue, 0, 0).len(), 1 + 32 + 200);
}

#[test]
fn nothing_is_accepted_before_it_is_synchronised() {
    let directory = tempfile::tempdir().unwrap();
    let limits = limits(1_000_000, 10_000);
    let mut queue = open(directory.path(), &["a"], &limits);
    queue.push(b"before", 1, 0).unwrap();
    queue.medium_mut().fails_sync = true;
    assert_eq!(push_all(&mut queue, &[100; 5]), [None; 5]);
    assert_eq!((queue.waiting(0), queue.next_number()), (1, 2));
    queue.medium_mut().fails_sync = false;
    queue.push(b"after", 1, 0).unwrap();
    drop(queue);
    let mut queue = open(directory.path(), &["a"], &limits);
    let got = payloads(&mut queue);
    assert_eq!(got, [b"before".to_vec(), b"after".to_vec()]);
}

#[test]
fn one_that_is_refused_takes_no_other_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let limits = limits(10_000, 5_000);
    let mut queue = open(directory.path(), &["a"], &limits);
    assert_eq!(push_all(&mut queue, &[10, 20_000, 10]), [Some(1), None, Some(2)]);
    queue.medium_mut().fails = Some((5, io::ErrorKind::StorageFull));
    assert_eq!(push_all(&mut queue, &[10, 10]), [None; 2]);
    queue.medium_mut().fails = None;
    assert_eq!(push_all(&mut queue, &[10]), [Some(3)]);
    assert_eq!(drain(&mut queue, 0, 0).len(), 3);
}

#[test]
fn one_process_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let limits = limits(1_000, 1_000);
    let _queue = open(directory.path(), &["a"], &limits);
    let error = Queue::open(directory.path(), &["a"], limits).unwrap_err();
    assert!(error.to_string().contains("used by another process"), "{error}");
}

#[test]
fn a_reader_that_is_no_more_holds_nothing_up() {
    let directory = tempfile::tempdir().unwrap();
    let limits = limits(100_000, 100);
    let mut queue = open(directory.path(), &["a", "gone"], &limits);
    for _ in 0..10 {
        queue.push(&[0; 50], 1, 0).unwrap();
    }
    drain(&mut queue, 0, 0);
    assert_eq!(files(directory.path(), "seg").len(), 10);
    drop(queue);
    let queue = open(directory.path(), &["a"], &limits);
    assert_eq!(files(directory.path(), "seg").len(), 1);
    assert_eq!(files(directory.path(), "cursor").len(), 1);
    drop(queue);
}
