//! What programs write arrives at a receiver of logs: in order, once, with its labels, its severity and its trace.

use std::collections::BTreeSet;

use tempfile::TempDir;
use tests::kills::{any_moment, kills};
use tests::logs::{Piped, Script, ask, number, piped_server, warm_up};
use tests::parallel::trace;
use tests::receiver::Lines;
use tests::sensor::{Options, SETTLE, Sensor};
use tests::wait::{patience, wait_until};

fn options(receiver: &Lines, spool: &TempDir, follow: &str) -> Options {
    let ship = format!(
        "ship:\n  cluster: test\n  node: test-node\n  spool: {{directory: {}}}\n  receivers:\n  \
         - {{name: loki, protocol: loki, url: '{}'}}\n",
        spool.path().display(),
        receiver.url()
    );
    Options::default().yaml(&ship).argument("--logs").argument(follow)
}

/// Also when the receiver refuses at first.
#[test]
fn each_line_arrives_once_and_in_order() {
    const LINES: u64 = 20_000;
    let text = format!("for number in range({LINES}):\n    print(number, flush=True)\n");
    let script = Script::new(".py", &text);
    let (receiver, spool) = (Lines::start(503), TempDir::new().expect("make a directory"));
    let sensor = options(&receiver, &spool, &script.name).start();
    let (stdout, _) = Piped::start(&mut script.run("python3")).succeed(60);
    assert_eq!(stdout.lines().count() as u64, LINES);
    wait_until("an attempt", patience(SETTLE), || (receiver.requests() > 0).then_some(()));
    receiver.answer(204);
    wait_until("all lines", patience(120), || (receiver.lines().len() as u64 >= LINES).then_some(()));
    assert_eq!(sensor.metrics().count("sensor_log_lines_lost_total", &[]), 0);
    assert!(sensor.stop().status.success());
    let lines = receiver.lines();
    assert!(lines.is_sorted_by_key(tests::loki::Entry::time_ns), "as they were written, also after retries");
    let numbers: Vec<u64> =
        lines.iter().map(|line| line.line.split(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (0..LINES).collect::<Vec<_>>());
    let labels: BTreeSet<String> = receiver.taken().into_iter().map(|stream| stream.labels).collect();
    let expected = format!("{{cluster=\"test\", service_name=\"{}\"}}", script.name);
    assert_eq!(labels.into_iter().collect::<Vec<_>>(), [expected]);
    for line in &lines {
        assert_eq!(line.metadata("host_name"), "test-node", "{line:?}");
        assert_eq!(line.metadata("log_iostream"), "stdout", "{line:?}");
        assert_eq!((line.metadata("trace_id"), line.metadata("span_id")), ("", ""), "{line:?}");
    }
}

/// `SENSOR_TEST_KILLS` says how often. Lines that are written while there is no sensor are not seen.
#[test]
fn lines_outlive_kills_under_load() {
    let kills = kills();
    // A write a line, so that a sensor that starts between two writes starts between two lines.
    let text = "import itertools, os, time\nfor number in itertools.count():\n    os.write(1, b'%d\\n' % number)\n    \
                time.sleep(0.0005)\n";
    let script = Script::new(".py", text);
    let (receiver, spool) = (Lines::start(204), TempDir::new().expect("make a directory"));
    let writer = Piped::start(&mut script.run("python3"));
    let accepted =
        |sensor: &Sensor| sensor.metrics().count("sensor_ship_accepted_total", &[("signal", "logs")]);
    let mut all = 0;
    for _ in 0..kills {
        let sensor = options(&receiver, &spool, &script.name).start();
        wait_until("lines on disk", patience(SETTLE), || (accepted(&sensor) > 0).then_some(()));
        any_moment();
        all += accepted(&sensor);
        drop(sensor.kill());
    }
    drop(writer);
    let sensor = options(&receiver, &spool, &script.name).start();
    let waiting = || sensor.metrics().sum("sensor_ship_waiting_batches", &[("receiver", "loki")]);
    wait_until("what waits to arrive", patience(SETTLE), || (waiting() == 0.0).then_some(()));
    let (mut last, mut distinct, mut again) = (None, 0, 0);
    let mut known = BTreeSet::new();
    for line in receiver.lines() {
        let number: u64 = line.line.parse().expect("a number");
        if known.insert(number) {
            assert!(last < Some((line.time_ns(), number)), "{number} after {last:?}");
            last = Some((line.time_ns(), number));
            distinct += 1;
        } else {
            again += 1;
        }
    }
    assert!(distinct >= all, "{all} lines accepted, {distinct} arrived");
    let lost = |cause: &str| sensor.metrics().sum("sensor_ship_lost_total", &[("cause", cause)]);
    assert_eq!(lost("spool_damaged") + lost("spool_full"), 0.0);
    eprintln!("{kills} kills, {all} lines known to be accepted, {distinct} arrived, {again} of them again");
    assert!(sensor.stop().status.success());
}

#[test]
fn lines_carry_the_trace_of_their_request() {
    const REQUESTS: u32 = 100;
    let script = Script::fixture(".py", "log_server.py");
    let (receiver, spool) = (Lines::start(204), TempDir::new().expect("make a directory"));
    let sensor = options(&receiver, &spool, &script.name).start();
    let (server, port) = piped_server(&script.run("python3"));
    warm_up(port);
    ask(port, 8, REQUESTS);
    let of_requests = || receiver.lines().into_iter().filter(|line| number(&line.line).is_some());
    wait_until("two lines a request", patience(SETTLE), || {
        (of_requests().count() >= 2 * REQUESTS as usize).then_some(())
    });
    drop(server);
    let sensor = sensor.stop();
    assert!(sensor.status.success(), "{}", sensor.stderr);
    let lines: Vec<_> = of_requests().collect();
    assert_eq!(lines.len(), 2 * REQUESTS as usize);
    for line in lines {
        let number = number(&line.line).expect("a number");
        assert_eq!(line.metadata("trace_id"), trace(number), "{line:?}");
        assert_eq!(line.metadata("span_id").len(), 16, "{line:?}");
        assert_eq!((line.metadata("severity_text"), line.metadata("severity_number")), ("INFO", "9"));
    }
}
