//! What is on disk is not what was written.

use std::fs;

use proptest::prelude::*;

use super::{drain, files, limits, open, payloads};
use crate::ship::spool::{ASIDE_MAX, Cause};

#[test]
fn a_torn_write_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let limits = limits(100_000, 10_000);
    for length in [1, 27, 28, 60] {
        let mut queue = open(directory.path(), &["a"], &limits);
        queue.push(b"whole", 1, 0).unwrap();
        queue.push(&[7; 100], 1, 0).unwrap();
        drop(queue);
        let last = files(directory.path(), "seg").pop().unwrap();
        let file = fs::OpenOptions::new().write(true).open(&last).unwrap();
        file.set_len(file.metadata().unwrap().len() - length).unwrap();
        let mut queue = open(directory.path(), &["a"], &limits);
        assert_eq!(queue.torn(), 1);
        queue.push(b"next", 1, 0).unwrap();
        let got = payloads(&mut queue);
        assert_eq!(got, [b"whole".to_vec(), b"next".to_vec()], "{length} bytes are missing");
    }
}

#[test]
fn a_segment_that_was_only_started_is_no_loss() {
    let directory = tempfile::tempdir().unwrap();
    let limits = limits(100_000, 10_000);
    let mut queue = open(directory.path(), &["a"], &limits);
    queue.push(b"whole", 1, 0).unwrap();
    drop(queue);
    fs::write(directory.path().join("00000000000000000002.seg"), b"LPSP").unwrap();
    let mut queue = open(directory.path(), &["a"], &limits);
    assert_eq!((queue.lost(0).batches(Cause::Damaged), queue.torn()), (0, 1));
    assert_eq!(queue.push(b"next", 1, 0).unwrap(), 2);
    assert_eq!(drain(&mut queue, 0, 0).len(), 2);
}

#[test]
fn an_unreadable_segment_is_set_aside_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let limits = limits(100_000, 100);
    let mut queue = open(directory.path(), &["a"], &limits);
    for number in 0..12 {
        queue.push(&[number; 40], 5, 0).unwrap();
    }
    drop(queue);
    let segments = files(directory.path(), "seg");
    assert_eq!(segments.len(), 12);
    for segment in &segments[2..6] {
        fs::write(segment, b"something else entirely").unwrap();
    }
    let mut queue = open(directory.path(), &["a"], &limits);
    assert_eq!(queue.lost(0).batches(Cause::Damaged), 4);
    assert_eq!(files(directory.path(), "bad").len(), ASIDE_MAX);
    let got: Vec<u8> = drain(&mut queue, 0, 0).iter().map(|batch| batch.payload[0]).collect();
    assert_eq!(got, [0, 1, 6, 7, 8, 9, 10, 11]);
}

#[test]
fn damage_that_comes_while_it_is_open_is_no_crash() {
    let directory = tempfile::tempdir().unwrap();
    let mut queue = open(directory.path(), &["a", "b"], &limits(100_000, 100));
    for number in 0..4 {
        queue.push(&[number; 40], 5, 0).unwrap();
    }
    let segments = files(directory.path(), "seg");
    fs::remove_file(&segments[1]).unwrap();
    fs::write(&segments[2], b"x").unwrap();
    let got: Vec<u8> = drain(&mut queue, 0, 0).iter().map(|batch| batch.payload[0]).collect();
    assert_eq!(got, [0, 3]);
    let lost = queue.lost(0);
    assert_eq!((lost.batches(Cause::Damaged), lost.items(Cause::Damaged)), (2, 10));
    let got: Vec<u8> = drain(&mut queue, 1, 0).iter().map(|batch| batch.payload[0]).collect();
    assert_eq!(got, [0, 3], "the other reader goes on as well");
    queue.push(b"more", 1, 0).unwrap();
    assert_eq!(drain(&mut queue, 0, 0).len(), 1);
}

#[test]
fn a_damaged_cursor_sends_all_again() {
    let directory = tempfile::tempdir().unwrap();
    let limits = limits(100_000, 10_000);
    let mut queue = open(directory.path(), &["a"], &limits);
    queue.push(b"one", 1, 0).unwrap();
    assert_eq!(drain(&mut queue, 0, 0).len(), 1);
    drop(queue);
    fs::write(&files(directory.path(), "cursor")[0], "1 99 , 00000000\n").unwrap();
    let mut queue = open(directory.path(), &["a"], &limits);
    assert_eq!(drain(&mut queue, 0, 0).len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any byte of any file may change: what is read is what was written, and the rest is counted.
    #[test]
    fn no_change_of_a_byte_yields_a_wrong_batch(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1_u8..), 1..6),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let limits = limits(100_000, 300);
        let mut queue = open(directory.path(), &["a"], &limits);
        let content = |number: u64| vec![u8::try_from(number % 251).unwrap(); 60];
        let mut accepted = Vec::new();
        for number in 1..=12 {
            accepted.push(queue.push(&content(number), 1, 0).unwrap());
        }
        drop(queue);
        let segments = files(directory.path(), "seg");
        for (file, place, change) in &changes {
            let path = &segments[file.index(segments.len())];
            let mut bytes = fs::read(path).unwrap();
            let place = place.index(bytes.len());
            bytes[place] ^= *change;
            fs::write(path, bytes).unwrap();
        }
        let mut queue = open(directory.path(), &["a"], &limits);
        let got = drain(&mut queue, 0, 0);
        for batch in &got {
            prop_assert_eq!(&batch.payload, &content(batch.number));
        }
        prop_assert!(got.is_sorted_by(|a, b| a.number < b.number));
        let gone = accepted.len() - got.len();
        let counted = queue.lost(0).batches(Cause::Damaged) + queue.torn();
        prop_assert!(gone == 0 || counted > 0, "{} are gone and none is counted", gone);
        let number = queue.push(&content(13), 1, 0).unwrap();
        prop_assert!(got.iter().all(|batch| batch.number < number));
    }
}
