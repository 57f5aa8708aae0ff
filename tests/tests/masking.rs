//! Card numbers do not leave the kernel: neither the ring buffer nor the daemon's memory holds one.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use memchr::memmem;
use tempfile::TempDir;
use tests::cards::{card, holds, masked, search, whole};
use tests::link::Link;
use tests::logs::{Piped, Script};
use tests::process::program;
use tests::receiver::{Lines, Traces};
use tests::sensor::{Options, SETTLE, Sensor, binary, exclusive};
use tests::wait::{load_seconds, patience, wait_until};

const REQUESTS: u64 = 400;

/// A connection on which each request is read in one piece and answered.
fn ask(parts: &[&[String]]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port");
    let address = listener.local_addr().expect("the port");
    let mut client = TcpStream::connect(address).expect("connect");
    let (mut server, _) = listener.accept().expect("accept");
    client.set_nodelay(true).expect("send at once");
    for request in parts {
        for part in *request {
            client.write_all(part.as_bytes()).expect("send");
            let mut read = vec![0; part.len()];
            server.read_exact(&mut read).expect("receive");
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        server.write_all(answer).expect("answer");
        client.read_exact(&mut [0; 38]).expect("read the answer");
    }
    address.port()
}

fn request(card: &str) -> String {
    format!("GET /pay/{card}/now?pan={card} HTTP/1.1\r\nHost: shop\r\nUser-Agent: till {card}\r\n\r\n")
}

/// Numbers in a path, a query and a header value, sent and received whole.
#[test]
fn whole_numbers_stay_in_the_kernel() {
    let sensor = Sensor::start();
    let requests: Vec<[String; 1]> = (0..REQUESTS).map(|index| [request(&card(index))]).collect();
    let requests: Vec<&[String]> = requests.iter().map(|request| &request[..]).collect();
    let port = ask(&requests).to_string();

    let expected: HashSet<String> =
        (0..REQUESTS).map(|index| format!("/pay/{}/now", masked(&card(index)))).collect();
    wait_until("all paths, masked", patience(SETTLE), || {
        let spans = sensor.spans();
        let own = spans.iter().filter(|span| span.attribute("server.port") == port && span.kind == 2);
        let paths: HashSet<String> = own.map(|span| span.path().to_owned()).collect();
        (paths == expected).then_some(())
    });
    let spans = sensor.spans();
    let span = spans.iter().find(|span| span.attribute("server.port") == port).expect("a span");
    assert_eq!(span.attribute("http.route"), "/pay/{id}/now");
    let (found, in_ring) = search(sensor.id());
    assert!(found.is_empty(), "in the sensor's memory: {found:?}");
    assert!(in_ring, "the ring buffer was not searched");

    let counted = || sensor.metrics().count("sensor_masked_total", &[("layer", "kernel"), ("rule", "card")]);
    let at_least = REQUESTS * 3 * 2;
    wait_until("the numbers to be counted", patience(SETTLE), || (counted() >= at_least).then_some(()));
}

/// A number that no write held whole is masked where the daemon puts the head together.
#[test]
fn split_numbers_are_masked_by_the_daemon() {
    let sensor = Sensor::start();
    let parts: Vec<[String; 2]> = (0..40)
        .map(|index| {
            let whole = request(&card(index));
            // Between the first and the last digit of the path's number.
            let (start, rest) =
                whole.split_at("GET /pay/".len() + 1 + usize::try_from(index).expect("small") % 15);
            [start.to_owned(), rest.to_owned()]
        })
        .collect();
    let parts: Vec<&[String]> = parts.iter().map(|parts| &parts[..]).collect();
    let port = ask(&parts).to_string();
    wait_until("all paths, masked", patience(SETTLE), || {
        let spans = sensor.spans();
        let own = spans.iter().filter(|span| span.attribute("server.port") == port && span.kind == 2);
        (own.count() == parts.len()).then_some(())
    });
    for span in sensor.spans().iter().filter(|span| span.attribute("server.port") == port) {
        for text in [span.path(), span.attribute("url.full"), span.attribute("url.query")] {
            let whole = (0..40).map(card).find(|card| text.contains(card.as_str()));
            assert_eq!(whole, None, "{text}");
        }
    }
}

/// What a program is given on its command line, and what it is called.
#[test]
fn the_arguments_of_programs_stay_in_the_kernel() {
    let sensor = Sensor::start();
    for index in 0..40 {
        let number = card(index);
        let status = program("true").args([&number, &format!("--pan={number}")]).status().expect("run true");
        assert!(status.success());
    }
    sensor.barrier();
    let (found, in_ring) = search(sensor.id());
    assert!(found.is_empty(), "in the sensor's memory: {found:?}");
    assert!(in_ring, "the ring buffer was not searched");
}

/// Writes a line of JSON whose field is a card number in escapes, and takes a name that is one; then asks itself something.
const NAMES: &str = "
import os, socket, sys
card, name = open(sys.argv[1]).read().split()
with open('/proc/self/comm', 'w') as comm:
    comm.write(name)
escaped = '\\\\u%04x%s\\\\u0020%s' % (ord(card[0]), card[1:8], card[8:])
os.write(1, ('{\"level\":\"info\",\"%s\":{\"%s\":\"paid\"}}\\n' % (escaped, escaped)).encode())
listener = socket.create_server(('127.0.0.1', 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
client.sendall(b'GET /named HTTP/1.1\\r\\nHost: shop\\r\\n\\r\\n')
server.recv(4096)
server.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n')
client.recv(4096)
print('port', listener.getsockname()[1], file=sys.stderr)
";

/// One request on a connection of HTTP/2 in which nothing is compressed (RFC 9113, section 4.1; RFC 7541, section 6.2).
fn ask_by(method: &str) -> u16 {
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).expect("a short frame");
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let field = |name: u8, value: &str| {
        let length = u8::try_from(value.len()).expect("a short value");
        [&[name, length], value.as_bytes()].concat()
    };
    const SETTINGS: u8 = 4;
    const HEADERS: u8 = 1;
    const END: u8 = 0x5;
    let block = [field(2, method), field(4, "/by-method"), field(1, "shop"), vec![0x86]].concat();
    let mut link = Link::open(Ipv4Addr::LOCALHOST.into());
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    link.request(&[&preface[..], &frame(SETTINGS, 0, 0, &[])].concat());
    link.response(&frame(SETTINGS, 0, 0, &[]));
    link.request(&frame(HEADERS, END, 1, &block));
    link.response(&frame(HEADERS, END, 1, &[0x88]));
    link.port()
}

/// What a process calls itself, a method that nobody knows, and a field of a log line in escapes.
#[test]
fn names_are_masked() {
    /// Fifteen digits, which a process's name has room for.
    const NAME: &str = "378282246310005";
    let (script, number) = (Script::new(".py", NAMES), card(17));
    let text = script.directory().join("text");
    std::fs::write(&text, format!("{number} {NAME}")).expect("write a file");
    let sensor = Options::default()
        .argument("--logs")
        .argument(&script.name)
        .argument("--print")
        .argument("spans,logs");
    let sensor = sensor.start();
    let (stdout, stderr) = Piped::start(script.run("python3").arg(&text)).succeed(30);
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    let named = stderr.trim().strip_prefix("port ").expect("a port").to_owned();
    let by_method = ask_by(&format!("PAY-{number}")).to_string();
    for port in [&named, &by_method] {
        wait_until("a request", patience(SETTLE), || {
            let requests = "http_server_request_duration_seconds_count";
            let told = sensor.metrics().count(requests, &[("server_port", port)]);
            (told >= 1).then(|| assert_eq!(told, 1))
        });
    }
    wait_until("a line", patience(SETTLE), || {
        (sensor.metrics().count("sensor_log_records_total", &[]) >= 1).then_some(())
    });
    assert_eq!(holds(sensor.id(), NAME), (false, false));
    assert!(holds(sensor.id(), "***********0005").1, "no process's name is in the ring buffer");
    let pages = ["/metrics", "/status", "/status.json"].map(|path| sensor.page(path)).concat();
    let stopped = sensor.stop();
    for told in [&stopped.stdout, &stopped.stderr, &pages] {
        assert!(!told.contains(NAME) && whole(told.as_bytes()).next().is_none(), "{told}");
    }
    assert!(stopped.stdout.contains(&format!("PAY-{}", masked(&number))), "{}", stopped.stdout);
    assert!(!stopped.stdout.contains("u0034"), "{}", stopped.stdout);
    let field = masked(&format!("{} {}", &number[..8], &number[8..]));
    assert!(stopped.stdout.contains(&format!("\"{field}\":{{\"{field}\":\"paid\"}}")), "{}", stopped.stdout);
}

/// What cannot be masked is not captured without it.
#[test]
fn without_masking_of_heads_and_programs_nothing_starts() {
    assert_refused("mask_head_judge");
    assert_refused("mask_started_judge");
}

/// The same of headers of HTTP/2 and of log lines.
#[test]
fn without_masking_of_frames_and_lines_nothing_starts() {
    assert_refused("mask_frames_judge");
    assert_refused("mask_log_judge");
}

/// Starts a sensor whose masking the kernel refuses.
#[track_caller]
fn assert_refused(function: &str) {
    let _lock = exclusive();
    let sensor = refused(&std::fs::read(binary()).expect("read the sensor"), function);
    let directory = TempDir::new().expect("make a directory");
    let path = directory.path().join("sensor");
    std::fs::write(&path, sensor).expect("write a sensor");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("make it a program");
    let config = directory.path().join("sensor.yaml");
    std::fs::write(&config, Options::default().config()).expect("write the configuration");
    let mut command = Command::new(&path);
    command.args(["run", "--listen", "127.0.0.1:0", "--duration", "60s", "--logs", "nobody"]);
    let output = command.arg("--config").arg(&config).output().expect("run the sensor");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(1 | 78)), "{function}: {} {stderr}", output.status);
    assert!(!stderr.contains("which masks card numbers"), "{function}: {stderr}");
    assert!(stderr.contains("cannot load"), "{function}: {stderr}");
}

/// The sensor with a function of its eBPF programs that no kernel lets pass: it begins with a read of a register that holds
/// nothing.
fn refused(sensor: &[u8], function: &str) -> Vec<u8> {
    const READ_R9: [u8; 8] = [0xbf, 0x90, 0, 0, 0, 0, 0, 0];
    const EM_BPF: [u8; 2] = [247, 0];
    const SYMBOLS: u64 = 2;
    let number = |at: usize, bytes: usize| {
        sensor[at..at + bytes].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let at = |offset: u64| usize::try_from(offset).expect("a place in memory");
    // ELF-64, little-endian: the tables of sections and symbols.
    let object = memmem::find_iter(sensor, b"\x7fELF\x02\x01")
        .find(|start| sensor[start + 18..start + 20] == EM_BPF)
        .expect("the eBPF object");
    let section = |index: u64| object + at(number(object + 0x28, 8) + index * number(object + 0x3a, 2));
    let start = |section: usize| object + at(number(section + 0x18, 8));
    let symbols = (0..number(object + 0x3c, 2)).map(section).find(|place| number(place + 4, 4) == SYMBOLS);
    let symbols = symbols.expect("a table of symbols");
    let names = start(section(number(symbols + 0x28, 4)));
    let symbol =
        (0..number(symbols + 0x20, 8) / 24).map(|index| start(symbols) + at(index * 24)).find(|place| {
            let name = &sensor[names + at(number(*place, 4))..];
            name.strip_prefix(function.as_bytes()).is_some_and(|rest| rest[0] == 0)
        });
    let symbol = symbol.unwrap_or_else(|| panic!("no function {function}"));
    let code = start(section(number(symbol + 6, 2))) + at(number(symbol + 8, 8));
    let mut sensor = sensor.to_vec();
    sensor[code..code + 8].copy_from_slice(&READ_R9);
    sensor
}

/// The switch is for measurements, and in programs that are built for them alone.
#[test]
fn no_sensor_can_leave_masking_out() {
    let program = std::fs::read(binary()).expect("read the sensor");
    assert!(memmem::find(&program, b"mask_head_steps").is_some(), "the sensor has no eBPF programs");
    assert_eq!(memmem::find(&program, b"UNMASKED"), None);
    let sensor = Sensor::start();
    assert!(sensor.stderr().contains("which masks card numbers"), "{}", sensor.stderr());
    assert_eq!(sensor.metrics().count("sensor_mask_layer", &[("layer", "kernel")]), 1);
    assert_eq!(sensor.metrics().select("sensor_mask_layer", &[]).count(), 1);
}

/// Writes the lines of a file again and again for some seconds, a hundred of them a tenth of a second.
const WRITER: &str = "
import os, sys, time
lines = open(sys.argv[1], 'rb').read().splitlines(keepends=True)
start, at = time.monotonic(), 0
while time.monotonic() < start + float(sys.argv[2]):
    for _ in range(100):
        os.write(1, lines[at % len(lines)])
        at += 1
    time.sleep(max(0, start + at / 1000 - time.monotonic()))
print('lines', at, file=sys.stderr)
";

/// A line of each form that loggers have.
fn line(index: u64) -> String {
    let plain = card(index);
    let groups = [&plain[..4], &plain[4..8], &plain[8..12], &plain[12..]];
    match index % 4 {
        0 => format!("2026-11-27T10:11:12.123Z INFO paid by {plain}\n"),
        1 => format!(
            "{{\"level\":\"info\",\"pan\":{plain},\"{plain}\":{{\"n\":[\"{}\"]}}}}\n",
            groups.join("-")
        ),
        2 => format!("level=info card={} msg=\"{}\"\n", groups.join("."), groups.join(" ")),
        _ => format!("카드{plain}번 {index}\n"),
    }
}

/// Requests on one connection until `end`, each with a number in path, query, host and headers; how many there were.
fn requests(end: Instant, first: u64) -> u64 {
    let mut link = Link::open(Ipv4Addr::LOCALHOST.into());
    let mut count = 0;
    while Instant::now() < end {
        let card = card(first + count % 10_000);
        let head = format!(
            "POST /pay/{card}/now?pan={card} HTTP/1.1\r\nHost: {card}.shop\r\nUser-Agent: till {card}\r\n\
             Tracestate: till={card}\r\nX-Card: {card}\r\nContent-Length: 0\r\n\r\n"
        );
        link.request(head.as_bytes());
        link.response(format!("HTTP/1.1 200 OK\r\nX-Card: {card}\r\nContent-Length: 0\r\n\r\n").as_bytes());
        count += 1;
    }
    count
}

/// Numbers in all that is captured at once, for a minute: the sensor's memory holds none of them, nothing that it told or
/// sent does, and the last gate had nothing to do.
#[test]
fn a_minute_of_load_leaves_no_number() {
    const LINES: u64 = 10_000;
    let (seconds, script) = (load_seconds(), Script::new(".py", WRITER));
    let text = script.directory().join("text");
    std::fs::write(&text, (0..LINES).map(line).collect::<String>()).expect("write a file");
    let (lines, traces, spool) =
        (Lines::start(204), Traces::start(200), TempDir::new().expect("make a directory"));
    let ship = format!(
        "ship:\n  cluster: test\n  spool: {{directory: {}}}\n  traces: {{sample_percent: 1}}\n  receivers:\n  \
         - {{name: loki, protocol: loki, url: '{}'}}\n  - {{name: tempo, protocol: otlp_http, url: '{}'}}\n",
        spool.path().display(),
        lines.url(),
        traces.url()
    );
    let sensor = Options::default().yaml(&ship).argument("--logs").argument(&script.name).start();

    let end = Instant::now() + Duration::from_secs(seconds);
    let (exchanges, written) = std::thread::scope(|scope| {
        let connections = [0, 10_000].map(|first| scope.spawn(move || requests(end, first)));
        let mut writer = script.run("python3");
        let writer = Piped::start(writer.arg(&text).arg(seconds.to_string()));
        let mut programs = 20_000;
        while Instant::now() < end {
            let status = program("true").arg(format!("--pan={}", card(programs))).status().expect("run true");
            assert!(status.success());
            programs += 1;
            // A program's start is none of what makes the load.
            std::thread::sleep(Duration::from_millis(200));
        }
        let (stdout, stderr) = writer.succeed(30);
        let said: u64 = stderr.trim().strip_prefix("lines ").expect("a count").parse().expect("a number");
        assert_eq!(stdout.lines().count() as u64, said);
        let exchanges: u64 = connections.map(|made| made.join().expect("a connection")).iter().sum();
        (exchanges, said)
    });
    sensor.barrier();
    let count = |name: &str, labels: &[(&str, &str)]| sensor.metrics().count(name, labels);
    wait_until("all lines to be told", patience(60), || {
        let told = count("sensor_log_records_total", &[]) + count("sensor_log_lines_lost_total", &[]);
        (told >= written).then_some(())
    });
    wait_until("lines and spans to be taken", patience(SETTLE), || {
        (lines.requests() > 0 && traces.requests() > 0).then_some(())
    });

    let (found, in_ring) = search(sensor.id());
    assert!(found.is_empty(), "in the sensor's memory: {found:?}");
    assert!(in_ring, "the ring buffer was not searched");
    // Six in a request and one in its response, on either side, and one in a line at least.
    let counted = count("sensor_masked_total", &[("layer", "kernel"), ("rule", "card")]);
    eprintln!("{exchanges} exchanges, {written} lines, {counted} numbers masked");
    // What the kernel did not run the programs for, and counts, was neither masked nor told.
    let missed = 6 * count("sensor_lost_total", &[("cause", "program_missed")]);
    let all = exchanges * 14 + written;
    assert!(counted + missed >= all, "{counted} of {all} numbers were masked, {missed} may have been missed");
    assert_eq!(count("sensor_mask_gate_hits_total", &[]), 0);
    let pages = ["/metrics", "/status", "/status.json"].map(|path| sensor.page(path)).concat();
    let stopped = sensor.stop();
    assert!(stopped.status.success(), "{}", stopped.stderr);
    let (sent, spans) = (format!("{:?}", lines.taken()), format!("{:?}", traces.taken()));
    assert!(sent.contains("402400******") && spans.contains("402400******"), "nothing masked was sent");
    for (of, text) in [("pages", pages), ("stderr", stopped.stderr), ("lines", sent), ("spans", spans)] {
        assert_eq!(whole(text.as_bytes()).next(), None, "{of}");
    }
}
