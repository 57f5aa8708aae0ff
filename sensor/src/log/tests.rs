//! Writes in, records out.

use std::sync::Arc;

use proptest::prelude::*;

use super::{Engine, Iostream, Lines, Severity, Told, Written};
use crate::config::Logs;
use crate::identity::Identity;
use crate::trace::WallClock;

const PIPE: u64 = 1;
const CLOCK: WallClock = WallClock::new(1_000_000_000);
const MS: u64 = 1_000_000;

fn write(tid: u32, time_ns: u64, bytes: &[u8]) -> Written<'_> {
    Written {
        pipe: PIPE,
        tgid: 10,
        tid,
        time_ns,
        descriptor: 1,
        at: 0,
        bytes,
        is_last: true,
        is_cut: false,
        is_cut_at_line: false,
        is_gap: false,
        lost: 0,
        lost_at_line: false,
    }
}

fn engine(logs: &Logs) -> Engine {
    let mut engine = Engine::new(logs);
    engine.follow(PIPE, Arc::from("shop"), Some(Iostream::Stdout));
    engine
}

/// The records of some writes.
fn told(logs: &Logs, writes: &[Written<'_>]) -> Vec<Told> {
    let mut engine = engine(logs);
    let mut told = Vec::new();
    writes.iter().for_each(|write| engine.push(write, CLOCK, &mut told));
    let last = writes.last().map_or(0, |write| write.time_ns);
    engine.finish(last, CLOCK, &mut told);
    told
}

fn bodies(writes: &[Written<'_>]) -> Vec<String> {
    told(&Logs::default(), writes).into_iter().map(|told| told.record.body).collect()
}

/// One write a line, a millisecond apart, as a program without a buffer does it.
fn by_line(text: &str) -> Vec<String> {
    let lines: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
    let writes: Vec<_> = lines.iter().zip(1..).map(|(line, n)| write(1, n * MS, line.as_bytes())).collect();
    bodies(&writes)
}

/// All in one write.
fn at_once(text: &str) -> Vec<String> {
    bodies(&[write(1, MS, text.as_bytes())])
}

#[test]
fn a_line_is_told_as_soon_as_its_write_is() {
    let mut engine = engine(&Logs::default());
    let mut told = Vec::new();
    engine.push(&write(1, 5, b"one\ntwo\r\n"), CLOCK, &mut told);
    let bodies: Vec<&str> = told.iter().map(|told| told.record.body.as_str()).collect();
    assert_eq!(bodies, ["one", "two"]);
    let record = &told[0].record;
    assert_eq!((record.time_unix_ns, record.pid, record.tid), (1_000_000_005, 10, 1));
    assert_eq!((&*record.service_name, record.iostream), ("shop", Iostream::Stdout));
    assert_eq!(record.severity, None);
}

/// The time of day is set while a program writes.
#[test]
fn a_step_of_the_clock_is_followed() {
    let mut engine = engine(&Logs::default());
    let mut told = Vec::new();
    engine.push(&write(1, 5, b"before\n"), WallClock::new(1_000), &mut told);
    engine.push(&write(1, 6, b"after\n"), WallClock::new(500), &mut told);
    let times: Vec<u64> = told.iter().map(|told| told.record.time_unix_ns).collect();
    assert_eq!(times, [1_005, 506]);
}

#[test]
fn partial_writes_are_joined() {
    assert_eq!(bodies(&[write(1, 1, b"on"), write(1, 2, b"e"), write(1, 3, b"\ntwo\n")]), ["one", "two"]);
    // The euro sign is cut in the middle.
    assert_eq!(bodies(&[write(1, 1, b"3 \xe2\x82"), write(1, 2, b"\xac\n")]), ["3 \u{20ac}"]);
}

#[test]
fn interleaved_writers_are_kept_apart() {
    let other = Written { tgid: 20, ..write(2, 2, b"other") };
    let rest = Written { tgid: 20, ..write(2, 4, b" end\n") };
    assert_eq!(bodies(&[write(1, 1, b"on"), other, write(1, 3, b"e\n"), rest]), ["one", "other end"]);
    // So are threads of a process that write piece by piece.
    let pieces = [write(1, 1, b"a"), write(2, 2, b"b"), write(1, 3, b"\n"), write(2, 4, b"\n")];
    assert_eq!(bodies(&pieces), ["a", "b"]);
}

#[test]
fn a_flushed_buffer_goes_on_in_any_thread() {
    let mut buffer = b"x\n".repeat(2046);
    buffer.extend_from_slice(b"half");
    let told = bodies(&[write(1, 1, &buffer), write(2, 2, b" of a line\n")]);
    assert_eq!(told.last().map(String::as_str), Some("half of a line"));
    assert_eq!(told.len(), 2047);
}

#[test]
fn chunks_of_a_write_are_one_write() {
    let first = Written { is_last: false, ..write(1, 1, b"one\ntw") };
    let second = Written { at: 6, ..write(1, 1, b"o\n") };
    assert_eq!(bodies(&[first, second]), ["one", "two"]);
}

#[test]
fn what_waits_too_long_is_told_in_part() {
    let mut engine = engine(&Logs::default());
    let mut told = Vec::new();
    engine.push(&write(1, 0, b"Password: "), CLOCK, &mut told);
    engine.turn(999 * MS, CLOCK, &mut told);
    assert!(told.is_empty());
    engine.turn(1000 * MS, CLOCK, &mut told);
    assert_eq!((told[0].record.body.as_str(), told[0].record.is_cut), ("Password: ", true));
    assert_eq!(engine.line_counts().cut, 1);
}

#[test]
fn a_line_has_a_bound() {
    let long = "가".repeat(100_000);
    let told = told(&Logs::default(), &[write(1, 1, long.as_bytes()), write(1, 2, b"\n")]);
    assert_eq!(told.len(), 2);
    assert!(told[0].record.is_cut && !told[1].record.is_cut);
    assert_eq!(told[0].record.body.clone() + &told[1].record.body, long, "no character is cut");
}

#[test]
fn a_cut_write_leaves_no_fragments() {
    let cut = Written { is_cut: true, ..write(1, 1, b"one\ntw") };
    assert_eq!(bodies(&[cut, write(1, 2, b"o\nthree\n")]), ["one", "tw", "three"]);
    let at_line = Written { is_cut_at_line: true, ..cut };
    assert_eq!(bodies(&[at_line, write(1, 2, b"three\n")]), ["one", "tw", "three"]);
}

/// Every line feed is told, was counted with what was lost, or is counted here.
#[test]
fn after_a_loss_no_fragment_is_told() {
    let mut engine = engine(&Logs::default());
    let mut told = Vec::new();
    engine.push(&write(1, 1, b"one\ntw"), CLOCK, &mut told);
    // "o\nthree\nfo" is lost.
    engine.push(&Written { lost: 2, ..write(1, 2, b"ur\nfive\n") }, CLOCK, &mut told);
    // "six\n" is lost.
    engine.push(&Written { lost: 5, lost_at_line: true, ..write(1, 3, b"seven\n") }, CLOCK, &mut told);
    let bodies: Vec<&str> = told.iter().map(|told| told.record.body.as_str()).collect();
    assert_eq!(bodies, ["one", "five", "seven"]);
    assert_eq!(engine.line_counts().broken, 1);
}

const JAVA: &str = "java.lang.IllegalStateException: payment 7\n\tat com.lionpay.Pay.run(Pay.java:10)\n\tat java.base/java.lang.Thread.run(Thread.java:840)\nCaused by: java.io.IOException: closed\n\tat com.lionpay.Net.read(Net.java:3)\n\t... 2 more";
const PYTHON: &str = "Traceback (most recent call last):\n  File \"/app.py\", line 3, in <module>\n    run()\nValueError: bad\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"/app.py\", line 5, in <module>\n    raise KeyError(1)\nKeyError: 1";
const GO: &str = "panic: boom\n\ngoroutine 1 [running]:\nmain.(*Shop).pay(...)\n\t/src/main.go:12\nmain.main()\n\t/src/main.go:20 +0x1d\nexit status 2";
const DOTNET: &str = "Unhandled exception. System.InvalidOperationException: boom\n ---> System.Exception: inner\n   at Pay.Inner() in /src/Pay.cs:line 3\n   --- End of inner exception stack trace ---\n   at Pay.Main() in /src/Pay.cs:line 9";

#[test]
fn stack_traces_stay_one_record() {
    for trace in [JAVA, PYTHON, GO, DOTNET] {
        assert_eq!(by_line(&format!("before\n{trace}\nafter\n")), ["before", trace, "after"]);
        assert_eq!(at_once(&format!("{trace}\nafter\n")), [trace, "after"]);
    }
}

#[test]
fn a_logger_writes_its_message_and_the_trace_at_once() {
    let text = format!("2026-11-23 10:00:00 ERROR c.l.Pay - failed\n{JAVA}\n");
    assert_eq!(at_once(&text), [text.trim_end()]);
    let text = format!("ERROR:root:failed\n{PYTHON}\n");
    assert_eq!(at_once(&text), [text.trim_end()]);
    let text = "fail: Pay[0]\n      failed\n      System.Exception: x\n         at Pay.Main() in /src/Pay.cs:line 9\n";
    assert_eq!(at_once(text), [text.trim_end()]);
    let jul = format!("Nov 23, 2026 10:00:00\u{202f}PM Server handle\nSEVERE: failed\n{JAVA}\n\n");
    let told = told(&Logs::default(), &[write(1, 1, jul.as_bytes())]);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].record.body, jul.trim_end());
    assert_eq!(told[0].record.severity, Some(Severity::ERROR));
    assert_eq!(told[0].during, Some((1, 1)), "its write held nothing else");
}

#[test]
fn names_of_exceptions_without_frames_are_lines() {
    let text = "starting\nTimeoutError: none\nend\n";
    assert_eq!(at_once(text), ["starting", "TimeoutError: none", "end"]);
}

#[test]
fn a_first_line_can_be_configured() {
    let logs = Logs { first_line: "^\\d+ ".to_owned(), ..Logs::default() };
    let told = told(&logs, &[write(1, 1, b"1 a\nmore\n2 b\n"), write(1, 2, b"again\n3 c\n")]);
    let bodies: Vec<&str> = told.iter().map(|told| told.record.body.as_str()).collect();
    assert_eq!(bodies, ["1 a\nmore", "2 b\nagain", "3 c"]);
}

#[test]
fn a_record_has_a_most_of_lines_and_of_time() {
    let logs = Logs { max_lines: 3, ..Logs::default() };
    let text = "java.lang.Error: x\n\tat a\n\tat b\n\tat c\n\tat d\n";
    assert_eq!(told(&logs, &[write(1, 1, text.as_bytes())]).len(), 2);
    let late = [write(1, 1, b"java.lang.Error: x\n"), write(1, 600 * MS, b"\tat a\n")];
    assert_eq!(told(&Logs::default(), &late).len(), 2);
}

#[test]
fn a_buffer_with_several_records_has_no_request() {
    let told = told(&Logs::default(), &[write(1, 1, b"one\ntwo\n"), write(1, 2, b"three\n")]);
    let during: Vec<_> = told.iter().map(|told| told.during).collect();
    assert_eq!(during, [None, None, Some((2, 2))]);
}

#[test]
fn fields_are_kept() {
    let line = br#"{"level":50,"msg":"declined","trace_id":"0af7651916cd43dd8448eb211c80319c"}
"#;
    let told = told(&Logs::default(), &[write(1, 1, line)]);
    assert_eq!(told[0].record.severity, Some(Severity::ERROR));
    assert_eq!(told[0].record.attributes["msg"], "declined");
    assert_eq!(told[0].record.trace_id.map(|id| id[0]), Some(0x0a));
    assert_eq!(told[0].during, None, "it has a trace of its own");
}

#[test]
fn filters_leave_out_and_count() {
    let text = b"DEBUG a\nINFO b\nINFO health\nplain\n";
    let logs = Logs {
        min_severity: "info".to_owned(),
        drop: vec!["health".to_owned()],
        keep: vec!["[a-z]".to_owned()],
        ..Logs::default()
    };
    let mut engine = engine(&logs);
    let mut told = Vec::new();
    engine.push(&write(1, 1, text), CLOCK, &mut told);
    assert_eq!(told.iter().map(|told| told.record.body.as_str()).collect::<Vec<_>>(), ["INFO b", "plain"]);
    assert_eq!(engine.counts().filtered, [0, 1, 1, 0, 0, 0]);
    assert_eq!(engine.counts().told, 2);
}

#[test]
fn services_are_chosen_and_records_sampled() {
    let count = |logs: &Logs| {
        let mut engine = engine(logs);
        engine.push(&write(1, 1, &b"one\n".repeat(1000)), CLOCK, &mut Vec::new());
        engine.counts()
    };
    let of = |service: &str| Logs { services: vec![service.to_owned()], ..Logs::default() };
    assert_eq!((count(&of("shop")).told, count(&of("pay")).filtered[0]), (1000, 1000));
    let but = Logs { exclude_services: vec!["shop".to_owned()], ..of("shop") };
    assert_eq!(count(&but).filtered[0], 1000);
    let half = count(&Logs { sample: 0.5, ..Logs::default() });
    assert_eq!(half.told + half.filtered[4], 1000);
    // Ten standard deviations.
    assert!((340..=660).contains(&half.told), "{half:?}");
}

#[test]
fn a_budget_is_told_of_once_a_minute() {
    let logs = Logs { bytes_per_minute: 10, ..Logs::default() };
    let mut engine = engine(&logs);
    let mut told = Vec::new();
    engine.push(&write(1, 1, b"0123456\n89\nabcdef\nz\n"), CLOCK, &mut told);
    assert_eq!(told.len(), 3);
    engine.turn(59_000 * MS, CLOCK, &mut told);
    assert_eq!(told.len(), 3);
    engine.turn(60_001 * MS, CLOCK, &mut told);
    engine.turn(60_101 * MS, CLOCK, &mut told);
    assert_eq!(told.len(), 4);
    let notice = &told[3].record;
    assert!(notice.body.contains("1 records (6 bytes)"), "{}", notice.body);
    assert_eq!((&*notice.service_name, notice.severity), ("shop", Some(Severity::WARN)));
    engine.push(&write(1, 60_200 * MS, b"again\n"), CLOCK, &mut told);
    assert_eq!(told.len(), 5);
}

#[test]
fn pipes_that_are_not_followed_are_left_alone() {
    assert!(bodies(&[Written { pipe: 2, ..write(1, 1, b"one\n") }]).is_empty());
}

proptest! {
    /// However a text is cut into writes, the same lines come out.
    #[test]
    fn cuts_do_not_change_lines(text in "[a-z\u{ac00}\u{20ac}\n]{0,200}", cuts in proptest::collection::vec(1_usize..20, 1..50)) {
        let mut lines = Lines::default();
        let mut told = Vec::new();
        let (mut rest, mut cuts) = (text.as_bytes(), cuts.iter().cycle());
        let mut time_ns = 0;
        while !rest.is_empty() {
            let (now, after) = rest.split_at(rest.len().min(*cuts.next().unwrap_or(&1)));
            rest = after;
            time_ns += 1;
            lines.push(&write(1, time_ns, now), |line| told.push(line.bytes.to_vec()));
        }
        lines.finish(|line| told.push(line.bytes.to_vec()));
        let expected: Vec<Vec<u8>> = text.lines().map(|line| line.as_bytes().to_vec()).collect();
        prop_assert_eq!(told, expected);
    }
}

/// Records of a container that is not known yet wait, and are told in their order with what is known then.
#[test]
fn records_wait_for_their_container() {
    let mut engine = engine(&Logs::default());
    let mut told = Vec::new();
    let shop = Identity::of_process(Arc::from("shop"));
    engine.identify(PIPE, shop.clone(), true);
    engine.push(&write(1, MS, b"one\n"), CLOCK, &mut told);
    engine.push(&write(2, 2 * MS, b"two\n"), CLOCK, &mut told);
    engine.turn(200 * MS, CLOCK, &mut told);
    assert!(told.is_empty(), "{told:?}");
    engine.identify(PIPE, Identity::of_process(Arc::from("till")), false);
    engine.push(&write(1, 3 * MS, b"three\n"), CLOCK, &mut told);
    engine.turn(300 * MS, CLOCK, &mut told);
    let mut found: Vec<_> =
        told.iter().map(|told| (&*told.record.body, &*told.record.service_name)).collect();
    found.sort_unstable();
    assert_eq!(found, [("one", "till"), ("three", "till"), ("two", "till")]);
    assert_eq!(engine.waited(), [0, 2, 0], "nobody told which pod it is");
    // The end waits for nobody.
    engine.identify(PIPE, shop, true);
    engine.push(&write(1, 4 * MS, b"four\n"), CLOCK, &mut told);
    engine.finish(400 * MS, CLOCK, &mut told);
    assert_eq!(told.last().unwrap().record.body, "four");
}
