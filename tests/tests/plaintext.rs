//! What is inside TLS, read where programs hand it to OpenSSL: the same exchanges as without TLS, each on its own socket.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tests::calls::{Calls, Role, calls};
use tests::cards::{card, masked};
use tests::https::{Certificate, Nginx};
use tests::plaintext::{Node, expect_node, expect_python, sensor, untold};
use tests::process::{Process, program};
use tests::sensor::Options;
use tests::wait::{load_seconds, patience, wait_until};

#[test]
fn curl_and_nginx() {
    // One is older than the sensor, the other younger.
    let older = Nginx::start("TLSv1.2", "");
    let sensor = sensor();
    let younger = Nginx::start("TLSv1.3", "");
    for server in [&older, &younger] {
        let _ = server.curl(&[], &["/first", "/missing", "/last"]);
        let _ = server.curl(&["--data", "a=b"], &["/first"]);
        let expected = calls(&[
            ("GET /first 200", 1),
            ("GET /missing 404", 1),
            ("GET /last 200", 1),
            ("POST /first 200", 1),
        ]);
        sensor.expect_both(server.port, &expected);
    }
    let spans = sensor.expect_spans(Role::Client, younger.port, 4);
    assert!(
        spans.iter().all(|span| span.attribute("url.full").starts_with("https://shop.test/")),
        "{spans:?}"
    );
    let spans = sensor.expect_spans(Role::Server, older.port, 4);
    assert!(spans.iter().all(|span| span.attribute("url.scheme") == "https"), "{spans:?}");
    assert_eq!(untold(&sensor), Calls::new());
}

/// Frames are walked as they are without TLS.
#[test]
fn http2() {
    let server = Nginx::start("TLSv1.2 TLSv1.3", "http2");
    let sensor = sensor();
    let _ = server.curl(&["--http2", "-w", "%{http_version}"], &["/first", "/missing", "/first"]);
    sensor.expect_both(server.port, &calls(&[("GET /first 200", 2), ("GET /missing 404", 1)]));
    let spans = sensor.expect_spans(Role::Server, server.port, 3);
    assert!(spans.iter().all(|span| span.attribute("network.protocol.version") == "2"), "{spans:?}");
    assert_eq!(untold(&sensor), Calls::new());
}

#[test]
fn cards_are_masked_before_they_leave_the_kernel() {
    const MASKED: [(&str, &str); 2] = [("rule", "card"), ("layer", "kernel")];
    // It is older, so that its library is probed before the first request.
    let server = Nginx::start("TLSv1.3", "");
    let sensor = sensor();
    let before = sensor.metrics().count("sensor_masked_total", &MASKED);
    let number = card(7);
    let _ = server.curl(&[], &[&format!("/pay/{number}")]);
    for role in [Role::Client, Role::Server] {
        let spans = sensor.expect_spans(role, server.port, 1);
        assert_eq!(spans[0].path(), format!("/pay/{}", masked(&number)));
    }
    wait_until("what was masked to be counted", patience(20), || {
        (sensor.metrics().count("sensor_masked_total", &MASKED) >= before + 2).then_some(())
    });
}

/// A thread a connection, all at once: Python, whose OpenSSL has the socket, as nginx's has.
#[test]
fn a_hundred_connections_of_python_and_nginx() {
    let server = Nginx::start("TLSv1.2 TLSv1.3", "");
    let sensor = sensor();
    expect_python(&sensor, &server, &mut program("python3"));
    assert_eq!(untold(&sensor), Calls::new());
}

/// One thread for all connections, and an OpenSSL that never touches a socket: Node.js, which has it in its program.
#[test]
fn a_hundred_connections_of_node() {
    let server = Node::start(&mut program("node"));
    let sensor = sensor();
    expect_node(&sensor, &server, &mut program("node"));
    assert_eq!(untold(&sensor), Calls::new());
}

/// So much is logged of files that are probed.
const LOG: &str = "info,sensor::capture::plaintext=debug";
/// Probes of OpenSSL's library.
const PROBES: usize = 11;

/// How many probes and rings of reports a process holds.
fn held(pid: u32) -> usize {
    let is_one = |path: &Path| fs::read_link(path).is_ok_and(|to| to == Path::new("anon_inode:[perf_event]"));
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("the sensor's descriptors");
    open.filter_map(Result::ok).filter(|entry| is_one(&entry.path())).count()
}

/// A copy of OpenSSL's library in this directory.
fn copy_library(directory: &Path) -> PathBuf {
    let library =
        Path::new("/usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH)).join("libssl.so.3");
    let copied = directory.join("libssl.so.3");
    let _ = fs::copy(library, &copied).expect("copy the library");
    copied
}

/// A library is probed when a process has mapped it, however late that does, and left alone when the last user has ended, be it
/// one that has mapped nothing itself.
#[test]
fn probes_come_and_go_with_their_users() {
    let sensor = Options::default().capture("tls", "true").spans().argument("--log").argument(LOG).start();
    let certificate = Certificate::new();
    let copied = copy_library(certificate.directory());
    let inode = fs::metadata(&copied).expect("the copy").ino();
    let says = |start: &str| {
        wait_until(start, patience(30), || {
            sensor.stderr().contains(&format!("{start} inode {inode} ")).then_some(())
        });
    };
    let script = certificate.script(
        ".py",
        "import ctypes, os, signal\n\
         ctypes.CDLL('DIRECTORY/libssl.so.3')\n\
         if os.fork(): os._exit(0)\n\
         while True: signal.pause()\n",
    );
    let mut process = Process::start(program("python3").arg(script));
    assert!(process.wait(30).success());
    says("OpenSSL's functions are probed in");
    assert!(held(sensor.id()) >= PROBES);
    let gone = format!("the last user is gone of inode {inode} ");
    assert!(!sensor.stderr().contains(&gone), "{}", sensor.stderr());
    // With it the child that is left.
    drop(process);
    says("the last user is gone of");
}

/// Programs, some with a library of their own, half of them killed in the middle of a call, leave behind neither probes nor notes of
/// calls nor memory.
#[test]
fn programs_come_and_go() {
    /// What the allocator keeps of what was freed.
    const MEMORY_TOLERANCE: f64 = 4.0 * 1024.0 * 1024.0;
    /// So many libraries are probed at once from then on: each is for ten seconds longer than it is used.
    const WARM_UP: Duration = Duration::from_secs(15);
    /// And so many programs have come and gone: on a busy host fewer do in that time.
    const FIRST: u64 = 200;
    /// One in so many has a library of its own: probes are taken away at some seven a second, and a library has eleven.
    const OWN: u64 = 8;
    let server = Nginx::start("TLSv1.3", "");
    let reader = server.script(
        ".py",
        "import socket, ssl\n\
         context = ssl.create_default_context(cafile='DIRECTORY/certificate.pem')\n\
         plain = socket.create_connection(('127.0.0.1', PORT))\n\
         s = context.wrap_socket(plain, server_hostname='shop.test')\n\
         print('reading', flush=True)\n\
         s.recv(1)\n",
    );
    let sensor = Options::default().capture("tls", "true").spans().argument("--log").argument(LOG).start();
    let count = |name: &str, labels: &[(&str, &str)]| sensor.metrics().count(name, labels);
    let probed = || count("sensor_tls_probed_files", &[]);
    let noted = || count("sensor_map_entries", &[("map", "tls_calls")]);
    let memory = || sensor.metrics().sum("process_resident_memory_bytes", &[]);

    let mut blocked = Process::start(program("python3").arg(&reader));
    let _ = blocked.line("reading");
    wait_until("its call to be noted", patience(20), || (noted() == 1).then_some(()));
    // What is held beside the probes. Other programs of this host may have theirs, too.
    let beside =
        |probed: u64| held(sensor.id()).saturating_sub(PROBES * usize::try_from(probed).expect("a count"));
    let beside_before = beside(probed());
    drop(blocked);

    let (mut runs, mut own) = (0, BTreeSet::new());
    let mut churn = |time: Duration, programs: u64| {
        let until = Instant::now() + time;
        while Instant::now() < until || runs < programs {
            let directory = TempDir::new().expect("make a directory");
            if runs % OWN == 0 {
                let copied = copy_library(directory.path());
                let _ = own.insert(fs::metadata(copied).expect("the copy").ino());
            }
            let mut curl = program("curl");
            let _ = server.get(curl.env("LD_LIBRARY_PATH", directory.path()), &[], &["/first"]);
            let mut python = program("python3");
            let mut python = Process::start(python.arg(&reader).env("LD_LIBRARY_PATH", directory.path()));
            let _ = python.line("reading");
            runs += 1;
        }
    };
    churn(WARM_UP, FIRST);
    let memory_before = memory();
    churn(Duration::from_secs(load_seconds()), 0);
    let told = |start: &str| {
        let log = sensor.stderr();
        own.iter().map(|inode| log.matches(&format!("{start} inode {inode} ")).count()).collect::<Vec<_>>()
    };
    assert!(told("are probed in").into_iter().sum::<usize>() >= own.len() / 2, "{}", sensor.stderr());
    wait_until("the last users to be gone", patience(60), || {
        (told("are probed in") == told("the last user is gone of")).then_some(())
    });
    wait_until("the calls to be gone", patience(20), || (noted() == 0).then_some(()));
    wait_until("their descriptors to be closed", patience(60), || {
        (beside(probed()) <= beside_before).then_some(())
    });
    let memory_after = memory();
    assert!(
        memory_after <= memory_before + MEMORY_TOLERANCE,
        "{memory_before} bytes resident before, {memory_after} after {runs} programs"
    );
    sensor.expect(Role::Server, server.port, &calls(&[("GET /first 200", runs)]));
    for cause in ["attach", "limit", "reports_lost"] {
        assert_eq!(count("sensor_tls_probe_misses_total", &[("cause", cause)]), 0, "{cause}");
    }
    assert_eq!(untold(&sensor), Calls::new());
}

/// Off is off.
#[test]
fn nothing_is_probed_unless_asked_for() {
    let sensor = Options::default().capture("tls", "false").spans().start();
    let server = Nginx::start("TLSv1.3", "");
    let _ = server.curl(&[], &["/first"]);
    sensor.expect_both(server.port, &Calls::new());
    assert_eq!(held(sensor.id()), 0);
}
