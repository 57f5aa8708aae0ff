//! What programs write to standard output and error becomes log records, each line once and in order.

use std::collections::{BTreeMap, HashMap};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tests::cards::{card, masked, search};
use tests::fixtures;
use tests::link::free_port;
use tests::logs::{Piped, Record, Script, ask, number, parse, piped_server, warm_up};
use tests::parallel::trace;
use tests::process::program;
use tests::sensor::{Options, Sensor};
use tests::spans::{self, Span};
use tests::wait::{patience, wait_until};

/// A sensor that follows one program and prints its records.
fn follow(name: &str) -> Sensor {
    Options::default().argument("--logs").argument(name).argument("--print").argument("logs").start()
}

/// Everything that the sensor printed, once it has worked off what was written.
fn records(sensor: Sensor) -> Vec<Record> {
    parse(&sensor.stop().stdout)
}

fn bodies(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.body.as_str()).collect()
}

#[test]
fn a_program_is_followed_from_its_first_line() {
    let script = Script::new(".sh", "echo one\necho two >&2\nprintf 'half '\nprintf 'a line\\n'\n");
    let sensor = follow(&script.name);
    let (stdout, stderr) = Piped::start(&mut script.run("sh")).succeed(30);
    assert_eq!((stdout.as_str(), stderr.as_str()), ("one\nhalf a line\n", "two\n"));
    let records = records(sensor);
    assert_eq!(bodies(&records), ["one", "two", "half a line"]);
    assert_eq!(
        records.iter().map(|record| &*record.iostream).collect::<Vec<_>>(),
        ["stdout", "stderr", "stdout"]
    );
    assert!(
        records.iter().all(|record| record.service == script.name && record.trace_id.is_empty()),
        "{records:?}"
    );
}

/// What is written within a program is none of its streams; what its children write to its streams is.
#[test]
fn only_the_programs_own_streams_are_followed() {
    let script = Script::new(
        ".sh",
        "echo inner | cat >/dev/null\n\
         echo through | sed 's/$/ a pipeline/'\n\
         sh -c 'echo a child'\n\
         echo reopened >/dev/stdout\n\
         exec 7>&1; echo duplicated >&7\n\
         echo to a file >file; echo to nothing >/dev/null\n\
         echo tee | tee copy\n\
         exec sh -c 'echo replaced'\n",
    );
    let sensor = follow(&script.name);
    let (stdout, _) = Piped::start(script.run("sh").current_dir(script.directory())).succeed(30);
    let expected = ["through a pipeline", "a child", "reopened", "duplicated", "tee", "replaced"];
    assert_eq!(stdout.lines().collect::<Vec<_>>(), expected);
    assert_eq!(bodies(&records(sensor)), expected);
}

/// A terminal is as good as a pipe.
#[test]
fn what_is_written_to_a_terminal_is_told() {
    let script =
        Script::new(".sh", "echo one\nprintf '\\033[32mgreen\\033[0m\\n' >&2\ntest -t 1 && echo terminal\n");
    let sensor = follow(&script.name);
    let inner = format!("import pty; pty.spawn(['sh', '{}'])", script.path().display());
    let (stdout, _) = Piped::start(program("python3").args(["-c", &inner])).succeed(30);
    assert_eq!(stdout.lines().count(), 3, "{stdout}");
    let records = records(sensor);
    assert_eq!(bodies(&records), ["one", "green", "terminal"]);
    assert!(records.iter().all(|record| record.service == script.name), "{records:?}");
}

/// Bytes that are in no user memory are counted; what other calls write is told.
const MOVES: &str = "
import os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.write(file, b'from a file\\n' * 10)
os.write(1, b'before\\n')
assert os.sendfile(1, file, 0, 24) == 24
assert os.splice(file, 1, 36, offset_src=0) == 36
os.write(1, b'between\\n')
assert os.pwritev(1, [b'in two ', b'pieces\\n'], -1, os.RWF_DSYNC) == 14
os.writev(1, [b'after\\n'])
";

#[test]
fn what_is_in_no_user_memory_is_counted() {
    let script = Script::new(".py", MOVES);
    let sensor = follow(&script.name);
    let path = script.directory().join("file");
    let (stdout, _) = Piped::start(script.run("python3").arg(&path)).succeed(30);
    assert_eq!(stdout.lines().count(), 4 + 5);
    wait_until("what was moved to be counted", patience(30), || {
        let bytes = sensor.metrics().count("sensor_log_bytes_total", &[("fate", "spliced")]);
        (bytes >= 24 + 36).then(|| assert_eq!(bytes, 24 + 36))
    });
    let moves = sensor.metrics().count("sensor_lost_total", &[("cause", "log_spliced")]);
    assert_eq!(moves, 2);
    assert_eq!(bodies(&records(sensor)), ["before", "between", "in two pieces", "after"]);
}

/// By process id, of a program that runs already; others are left alone.
#[test]
fn a_running_process_is_followed() {
    let script = Script::new(".sh", "trap 'echo asked; exit' TERM\nwhile :; do sleep 0.05; done\n");
    let mut one = Piped::start(&mut script.run("sh"));
    let other = Piped::start(&mut script.run("sh"));
    let sensor = follow(&one.id().to_string());
    one.signal(Signal::SIGTERM);
    one.wait(30);
    other.signal(Signal::SIGTERM);
    let _ = other.succeed(30);
    let records = records(sensor);
    assert_eq!(bodies(&records), ["asked"]);
    assert_eq!(records[0].pid, u64::from(one.id()));
}

/// Whole numbers in text and fields, and one that comes in two writes.
#[test]
fn no_card_number_is_told() {
    let script = Script::new(
        ".sh",
        "echo 'paid with 4111 1111 1111 1111'\n\
         echo '{\"card\":\"5555555555554444\",\"amount\":1000}'\n\
         printf 'in two 41111111'; echo 11111111\n",
    );
    let sensor = follow(&script.name);
    let (stdout, _) = Piped::start(&mut script.run("sh")).succeed(30);
    assert_eq!(stdout.lines().count(), 3);
    let printed = sensor.stop().stdout;
    let digits: String = printed.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    assert!(!digits.contains("4111111111111111") && !digits.contains("5555555555554444"), "{printed}");
    let records = parse(&printed);
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|record| record.body.contains('*')), "{records:?}");
    assert!(records[1].attributes["card"].as_str().is_some_and(|card| card.contains('*')), "{records:?}");
}

/// Writes a file in pieces of 16 KiB, every other one as a vector.
const PIECES: &str = "
import os, sys
text = open(sys.argv[1], 'rb').read()
for number, at in enumerate(range(0, len(text), 16384)):
    piece = text[at:at + 16384]
    if number % 2:
        assert os.writev(1, [piece[at:at + 2345] for at in range(0, len(piece), 2345)]) == len(piece)
    else:
        assert os.write(1, piece) == len(piece)
";

/// One in each line, so that some lie across the ends of chunks and segments, at every offset.
#[test]
fn whole_numbers_stay_in_the_kernel() {
    const PIECE: usize = 16 * 1024;
    const SHIFTS: usize = 37;
    let script = Script::new(".py", PIECES);
    let sensor = follow(&script.name);
    let (mut text, mut expected, mut cards) = (String::new(), Vec::new(), 0_u64);
    for shift in 0..SHIFTS {
        let end = (shift + 1) * PIECE;
        let mut push = |line: String, told: String| {
            text += &line;
            text.push('\n');
            expected.push(told);
            end - text.len()
        };
        let mut left = push("x".repeat(shift), "x".repeat(shift));
        while left > 64 {
            let plain = card(cards);
            let groups = [&plain[..4], &plain[4..8], &plain[8..12], &plain[12..]];
            let number = match cards % 3 {
                0 => plain,
                1 => groups.join(" "),
                _ => groups.join("-"),
            };
            left = push(format!("k{cards}: {number}; é"), format!("k{cards}: {}; é", masked(&number)));
            cards += 1;
        }
        let rest = "y".repeat(left - 1);
        push(rest.clone(), rest);
    }
    let path = script.directory().join("text");
    std::fs::write(&path, &text).expect("write a file");
    let (stdout, _) = Piped::start(script.run("python3").arg(&path)).succeed(60);
    assert_eq!(stdout, text);

    let count = |name: &str, labels: &[(&str, &str)]| sensor.metrics().count(name, labels);
    wait_until("all lines to be told", patience(60), || {
        (count("sensor_log_records_total", &[]) >= expected.len() as u64).then_some(())
    });
    let (found, in_ring) = search(sensor.id());
    assert!(found.is_empty(), "in the sensor's memory: {found:?}");
    assert!(in_ring, "the ring buffer was not searched");
    let counted = count("sensor_masked_total", &[("layer", "kernel"), ("rule", "card")]);
    assert!(counted >= cards, "{counted} of {cards} counted");
    let records = records(sensor);
    let wrong = bodies(&records).into_iter().zip(&expected).find(|(told, expected)| told != expected);
    assert_eq!(wrong, None);
    assert_eq!(records.len(), expected.len());
}

/// Lines that are numbered from 0, each in a write of its own, as fast as it goes.
const NUMBERS: &str = "
import os, sys, time
count, rate, width = map(int, sys.argv[1:])
start = time.monotonic()
for number in range(count):
    os.write(1, b'%d ' % number + b'x' * width + b'\\n')
    if rate and number % 500 == 499:
        time.sleep(max(0, start + number / rate - time.monotonic()))
";

/// How many whole lines were told, whose numbers must rise; with how many the sensor says were lost.
fn numbers(sensor: Sensor, count: u64) -> (u64, u64) {
    let settled = || {
        let metrics = sensor.metrics();
        let lost = metrics.count("sensor_log_lines_lost_total", &[]);
        let told = metrics.count("sensor_log_records_total", &[]);
        let cut = metrics.count("sensor_lost_total", &[("cause", "log_cut_line")]);
        (told - cut + lost >= count).then_some(lost)
    };
    let lost = wait_until("all lines to be told or lost", patience(60), settled);
    let records = records(sensor);
    let whole = records.iter().filter(|record| !record.is_cut);
    let number = |record: &Record| record.body.split(' ').next().and_then(|number| number.parse().ok());
    let told: Vec<u64> = whole.map(|record| number(record).expect("a number")).collect();
    assert!(told.is_sorted_by(|a, b| a < b), "each line once, in order");
    (told.len() as u64, lost)
}

#[test]
fn at_full_speed_each_line_is_told_once_or_counted() {
    const LINES: u64 = 1_000_000;
    let script = Script::new(".py", NUMBERS);
    let sensor = follow(&script.name);
    let arguments = [&LINES.to_string(), "0", "20"];
    let (stdout, _) = Piped::start(script.run("python3").args(arguments)).succeed(120);
    assert_eq!(stdout.lines().count() as u64, LINES);
    let (told, lost) = numbers(sensor, LINES);
    assert_eq!(told + lost, LINES, "{told} told and {lost} lost");
}

/// A ring buffer that is far too small: what is lost is counted, to the line.
#[test]
fn what_finds_no_room_is_counted_to_the_line() {
    const LINES: u64 = 200_000;
    let script = Script::new(".py", NUMBERS);
    let sensor = Options::default()
        .logs("ring_bytes", "65536")
        .logs("processes", &format!("[{}]", script.name))
        .argument("--print")
        .argument("logs")
        .start();
    // Several lines a write, which are cut anywhere.
    let text = "
import os
text = ''.join(f'{n} ' + 'x' * 30 + chr(10) for n in range(200000)).encode()
for at in range(0, len(text), 10000):
    os.write(1, text[at:at + 10000])
";
    script.write(text);
    let (stdout, _) = Piped::start(&mut script.run("python3")).succeed(60);
    assert_eq!(stdout.lines().count() as u64, LINES);
    let (told, lost) = numbers(sensor, LINES);
    assert_eq!(told + lost, LINES, "{told} told and {lost} lost");
    assert!(lost > 0, "the ring buffer was large enough");
}

#[test]
fn fifty_thousand_lines_a_second_are_all_told() {
    const LINES: u64 = 250_000;
    let script = Script::new(".py", NUMBERS);
    let sensor = follow(&script.name);
    let arguments = [&LINES.to_string(), "50000", "192"];
    let (stdout, _) = Piped::start(script.run("python3").args(arguments)).succeed(120);
    assert_eq!(stdout.lines().count() as u64, LINES);
    assert_eq!(numbers(sensor, LINES), (LINES, 0));
}

#[test]
fn every_line_has_the_trace_of_its_own_request() {
    const REQUESTS: u32 = 400;
    let script = Script::fixture(".py", "log_server.py");
    let sensor = Options::default()
        .argument("--logs")
        .argument(&script.name)
        .argument("--print")
        .argument("logs,spans")
        .start();
    let (server, port) = piped_server(&script.run("python3"));
    warm_up(port);
    ask(port, 8, REQUESTS);
    sensor.barrier();
    drop(server);
    let stdout = sensor.stop().stdout;
    let (spans, records): (Vec<&str>, Vec<&str>) =
        stdout.lines().partition(|line| line.contains("resourceSpans"));
    let records = parse(&(records.join("\n") + "\n"));
    let spans: Vec<Span> = spans::parse(&(spans.join("\n") + "\n"));
    let spans: HashMap<&str, u32> = spans
        .iter()
        .filter(|span| span.kind == 2 && span.service == script.name)
        .filter_map(|span| Some((span.id.as_str(), number(span.path())?)))
        .collect();
    let mut asked = 0;
    for record in &records {
        let Some(number) = number(&record.body) else {
            let warm = record.body.ends_with("/warm");
            assert!(warm || record.trace_id.is_empty(), "{record:?} was written in no request");
            continue;
        };
        assert_eq!(record.trace_id, trace(number), "{record:?}");
        assert_eq!(spans.get(record.span_id.as_str()), Some(&number), "{record:?}");
        assert_eq!(record.severity, "INFO");
        asked += 1;
    }
    assert_eq!(asked, 2 * REQUESTS);
    assert!(records.iter().any(|record| record.body.ends_with("idle")));
}

/// Requests overlap on one thread: a trace may be missing, and none is wrong.
#[test]
fn an_event_loop_has_no_wrong_trace() {
    const REQUESTS: u32 = 400;
    let script = Script::fixture(".js", "log_server.js");
    let sensor = follow(&script.name);
    let (server, port) = piped_server(&script.run("node"));
    warm_up(port);
    ask(port, 8, REQUESTS);
    sensor.barrier();
    drop(server);
    let records = records(sensor);
    let mut lines = 0;
    for record in &records {
        let Some(number) = record.attributes["id"].as_str().and_then(number) else { continue };
        assert!(record.trace_id.is_empty() || record.trace_id == trace(number), "{record:?}");
        assert_eq!(record.severity, "INFO");
        lines += 1;
    }
    assert_eq!(lines, 2 * REQUESTS);
}

/// The JDK's server has a thread a request, which often takes up the next one before it is known that its last response
/// was whole: a trace may be missing, and none is wrong.
#[test]
fn exceptions_of_the_jdk_stay_one_record() {
    const REQUESTS: u32 = 200;
    let directory = TempDir::new().expect("make a directory");
    let _ = fixtures::java(directory.path(), "LogServer.class", "LogServer.class");
    let sensor = follow("LogServer");
    let mut java = program("java");
    java.args(["-XX:TieredStopAtLevel=1", "-cp"]).arg(directory.path()).arg("LogServer");
    let (server, port) = piped_server(&java);
    warm_up(port);
    ask(port, 8, REQUESTS);
    sensor.barrier();
    drop(server);
    let records = records(sensor);
    let of = |words: &str| -> Vec<&Record> {
        let is = |record: &&Record| record.body.contains(words) && number(&record.body).is_some();
        records.iter().filter(is).collect()
    };
    let (asked, failed) = (of("INFO: asked /"), of("SEVERE: failed /"));
    assert_eq!((asked.len(), failed.len()), (REQUESTS as usize, REQUESTS as usize), "{records:?}");
    for record in &failed {
        let number = number(&record.body).expect("a number");
        let own = format!("declined /{number}\n");
        assert!(record.body.contains(&own), "{record:?}");
        assert!(record.body.contains("\n\tat LogServer.pay("), "{record:?}");
        assert!(record.body.contains("\nCaused by: java.lang.IllegalStateException: "), "{record:?}");
        assert!(record.body.trim_end().ends_with(" more"), "{record:?}");
        assert_eq!(record.severity, "ERROR");
    }
    for record in asked.into_iter().chain(failed) {
        let own = trace(number(&record.body).expect("a number"));
        assert!(record.trace_id.is_empty() || record.trace_id == own, "{record:?}");
    }
}

#[test]
fn workers_of_gunicorn_are_one_service() {
    let directory = TempDir::new().expect("make a directory");
    fixtures::write(directory.path(), "log_app.py", "log_app.py");
    let sensor = follow("gunicorn");
    let port = free_port();
    let mut gunicorn = program("gunicorn");
    let address = format!("127.0.0.1:{port}");
    gunicorn.args(["--workers", "3", "--bind", &address, "log_app:app"]).current_dir(directory.path());
    let server = Piped::start(&mut gunicorn);
    wait_until("gunicorn to listen", patience(30), || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    ask(port, 8, 200);
    server.signal(Signal::SIGTERM);
    let (stdout, stderr) = server.succeed(30);
    let records = records(sensor);
    // The workers write whole records: what stands between two is one.
    let failed: Vec<&Record> = records.iter().filter(|record| record.body.contains("failed /")).collect();
    assert_eq!(failed.len(), 200);
    for record in &failed {
        assert!(record.body.contains("\nTraceback (most recent call last):\n"), "{record:?}");
        assert!(
            record.body.ends_with(&format!("ValueError: declined /{}", number(&record.body).unwrap())),
            "{record:?}"
        );
        assert_eq!((record.severity.as_str(), record.service.as_str()), ("ERROR", "gunicorn"));
    }
    let asked: Vec<&Record> = records.iter().filter(|record| record.body.contains("asked /")).collect();
    assert_eq!(asked.len(), 200);
    for record in asked.iter().chain(&failed) {
        assert_eq!(record.trace_id, trace(number(&record.body).expect("a number")), "{record:?}");
    }
    let told = |stream: &str| -> usize {
        let of = records.iter().filter(|record| record.iostream == stream);
        of.map(|record| record.body.lines().count()).sum()
    };
    assert_eq!((told("stdout"), told("stderr")), (stdout.lines().count(), stderr.lines().count()));
    let pids: BTreeMap<u64, ()> = failed.iter().map(|record| (record.pid, ())).collect();
    assert!(pids.len() > 1, "several workers wrote: {pids:?}");
}

#[test]
fn nginx_logs_to_standard_output() {
    let directory = TempDir::new().expect("make a directory");
    let sensor = follow("nginx");
    let port = free_port();
    let root = directory.path().display();
    std::fs::write(directory.path().join("0"), "hello\n").expect("write a file");
    let config = directory.path().join("nginx.conf");
    let text = format!(
        "daemon off; pid {root}/pid; error_log stderr; events {{}}\n\
         http {{ access_log /dev/stdout; server {{ listen 127.0.0.1:{port}; root {root}; }} }}\n"
    );
    std::fs::write(&config, text).expect("write nginx.conf");
    let server = Piped::start(program("nginx").arg("-c").arg(&config).arg("-e").arg("stderr"));
    wait_until("nginx to listen", patience(30), || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    for _ in 0..100 {
        assert_eq!(ureq::get(format!("http://127.0.0.1:{port}/0")).call().expect("ask").status(), 200);
    }
    server.signal(Signal::SIGQUIT);
    let (stdout, _) = server.succeed(30);
    let records = records(sensor);
    let access: Vec<&str> = records
        .iter()
        .filter(|record| record.iostream == "stdout")
        .map(|record| record.body.as_str())
        .collect();
    assert_eq!(access, stdout.lines().collect::<Vec<_>>());
    assert_eq!(access.iter().filter(|line| line.contains("\"GET /0 HTTP/1.1\" 200")).count(), 100);
}
