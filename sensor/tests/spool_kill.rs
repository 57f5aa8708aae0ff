//! A process that fills and drains a spool is killed 200 times at random moments: what it said it accepted is
//! delivered, in order and whole.
//!
//! The test starts its own program again as that process, so it has a harness of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use rand::Rng;
use sensor::ship::spool::{Batch, Cause, Limits, Queue, Sync};

const WORKER: &str = "SPOOL_KILL_WORKER";
const KILLS: usize = 200;
/// Deliveries that are under way at once.
const WINDOW: usize = 4;

fn main() -> ExitCode {
    if let Some(directory) = std::env::var_os(WORKER) {
        work(Path::new(&directory));
    }
    let test = Trial::test("a_spool_survives_kill_9", || {
        survive();
        Ok(())
    });
    libtest_mimic::run(&Arguments::from_args(), vec![test]).exit_code()
}

fn limits() -> Limits {
    let max_age = Duration::from_secs(3_600);
    Limits { max_bytes: 1 << 30, segment_bytes: 64 * 1024, max_age, sync: Sync::Never }
}

fn payload(number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let length = usize::try_from(state >> 52).expect("12 bits");
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

fn tell(what: char, number: u64) {
    // One write: what the reader gets is whole, or has no end of line.
    let line = format!("{what} {number}\n");
    std::io::stdout().write_all(line.as_bytes()).expect("tell the test");
}

/// Fills and drains until it is killed.
fn work(directory: &Path) -> ! {
    let queue = Queue::open(directory, &["receiver"], limits()).expect("open the spool");
    tell('o', queue.torn());
    let queue = Arc::new(Mutex::new(queue));
    let sender = Arc::clone(&queue);
    std::thread::spawn(move || deliver(&sender));
    let mut random = rand::rng();
    loop {
        let mut queue = queue.lock().expect("no panic");
        // The number is what the payload is made of, so it is known before.
        let next = queue.next_number();
        // As many as may wait while the disk is slow, or one.
        let payloads: Vec<Vec<u8>> = (next..next + random.random_range(1..8)).map(payload).collect();
        let batches: Vec<(&[u8], u32)> = payloads.iter().map(|payload| (payload.as_slice(), 1)).collect();
        let numbers = queue.push_all(&batches, 1_000);
        drop(queue);
        for (number, expected) in numbers.into_iter().zip(next..) {
            assert_eq!(number.expect("push"), expected);
            tell('a', expected);
        }
    }
}

/// A sender with several requests under way, answered in any order.
fn deliver(queue: &Mutex<Queue>) {
    let mut random = rand::rng();
    let mut out: Vec<Batch> = Vec::new();
    loop {
        let mut queue = queue.lock().expect("no panic");
        while out.len() < WINDOW
            && let Some(batch) = queue.read(0, 1_000)
        {
            assert_eq!(batch.payload, payload(batch.number), "batch {} is corrupt", batch.number);
            out.push(batch);
        }
        if !out.is_empty() {
            let batch = out.remove(random.random_range(0..out.len()));
            tell('d', batch.number);
            queue.acknowledge(0, batch.number, batch.items);
        }
    }
}

fn survive() {
    let directory = tempfile::tempdir().expect("make a directory");
    let mut accepted = Vec::new();
    let mut delivered: BTreeMap<u64, usize> = BTreeMap::new();
    let mut random = rand::rng();
    for round in 0..KILLS {
        // Every other life may end while the spool is being opened; the others at least do something.
        let batches = if round % 2 == 0 { 5 } else { 0 };
        let life = Duration::from_micros(random.random_range(0..10_000));
        let lines = one_life(directory.path(), batches, life);
        for (what, number) in lines {
            match what {
                'a' => accepted.push(number),
                'd' => *delivered.entry(number).or_default() += 1,
                _ => {}
            }
        }
        assert!(accepted.is_sorted(), "round {round}: a number was given out twice");
    }
    let mut queue = Queue::open(directory.path(), &["receiver"], limits()).expect("open the spool");
    let mut last = 0;
    while let Some(batch) = queue.read(0, 1_000) {
        assert_eq!(batch.payload, payload(batch.number), "batch {} is corrupt", batch.number);
        assert!(batch.number > last, "out of order");
        last = batch.number;
        *delivered.entry(batch.number).or_default() += 1;
        queue.acknowledge(0, batch.number, batch.items);
    }
    assert_eq!(queue.lost(0).batches(Cause::Damaged), 0);
    let missing: Vec<&u64> = accepted.iter().filter(|number| !delivered.contains_key(number)).collect();
    assert!(missing.is_empty(), "accepted and never delivered: {missing:?}");
    let twice: usize = delivered.values().map(|times| times - 1).sum();
    assert!(twice <= KILLS, "{twice} delivered again: more than the one that each kill can interrupt");
    assert!(accepted.len() > KILLS, "{} batches are too few to prove anything", accepted.len());
    eprintln!("{} batches accepted, {twice} of them delivered twice", accepted.len());
}

/// Starts the process, kills it a while after it has accepted so many batches, and returns what it told.
fn one_life(directory: &Path, batches: usize, life: Duration) -> Vec<(char, u64)> {
    let program = std::env::current_exe().expect("the test's own path");
    let mut command = Command::new(program);
    let mut child = command.env(WORKER, directory).stdout(Stdio::piped()).spawn().expect("start the worker");
    let stdout = child.stdout.take().expect("a pipe");
    let (busy, is_busy) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut accepted = 0;
        let mut lines = Vec::new();
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        while stdout.read_line(&mut line).expect("read the pipe") > 0 {
            let whole = line.strip_suffix('\n').and_then(|line| line.split_once(' '));
            if let Some((what, number)) = whole {
                accepted += usize::from(what == "a");
                if accepted == batches {
                    let _ = busy.send(());
                }
                lines.push((what.chars().next().expect("a letter"), number.parse().expect("a number")));
            }
            line.clear();
        }
        lines
    });
    if batches > 0 {
        is_busy.recv_timeout(Duration::from_secs(60)).expect("the worker accepts nothing");
    }
    std::thread::sleep(life);
    child.kill().expect("kill the worker");
    let status = child.wait().expect("wait for the worker");
    assert!(
        std::os::unix::process::ExitStatusExt::signal(&status) == Some(9),
        "it ended by itself: {status}"
    );
    reader.join().expect("the reader of the pipe")
}
