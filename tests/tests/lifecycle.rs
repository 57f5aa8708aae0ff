//! How the sensor starts, refuses to start, and ends.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Output};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tests::calls::{Role, calls};
use tests::link::{Link, free_port};
use tests::process::{Process, copy_file, killed_by};
use tests::sensor::{Options, Sensor, Stopped, binary, exclusive, require_root, run};
use tests::wait::{patience, wait_until};

/// `EX_USAGE` of sysexits.h: the configuration is wrong.
const USAGE: i32 = 64;
/// `EX_CONFIG` of sysexits.h: the kernel does not have what is needed.
const KERNEL: i32 = 78;

/// The eBPF programs that a process holds, by the kernel's numbers.
fn programs_of(pid: u32) -> BTreeSet<u32> {
    let directory = format!("/proc/{pid}/fdinfo");
    let entries = std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("list {directory}: {error}"));
    let infos = entries.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok());
    let lines: Vec<String> =
        infos.flat_map(|info| info.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.iter().filter_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok()).collect()
}

/// Those of these programs that the kernel still has.
fn still_loaded(programs: &BTreeSet<u32>) -> BTreeSet<u32> {
    let loaded = aya::programs::loaded_programs().filter_map(Result::ok);
    loaded.map(|info| info.id()).filter(|id| programs.contains(id)).collect()
}

#[track_caller]
fn nothing_attached(programs: &BTreeSet<u32>) {
    // The kernel frees a program when its last user on any processor is done.
    wait_until("the kernel to drop the programs", patience(20), || {
        still_loaded(programs).is_empty().then_some(())
    });
}

fn one_exchange(path: &str) -> u16 {
    let mut link = Link::open(Ipv4Addr::LOCALHOST.into());
    link.request(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
    link.response(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    link.port()
}

/// Ends the sensor right after exchanges, which must be in what it prints last.
#[track_caller]
fn drains(signal: Signal) {
    let sensor = Sensor::start();
    let programs = programs_of(sensor.id());
    assert!(!still_loaded(&programs).is_empty(), "a running sensor holds programs");
    let ports: BTreeSet<String> = (0..50).map(|_| one_exchange("/last").to_string()).collect();
    // Nobody answers this one, so nobody may say that it was answered.
    let mut open = Link::open(Ipv4Addr::LOCALHOST.into());
    open.request(b"GET /open HTTP/1.1\r\nHost: localhost\r\n\r\n");
    sensor.signal(signal);
    let stopped = sensor.wait(patience(30));
    assert_eq!(stopped.status.code(), Some(0), "{}", stopped.stderr);
    let spans = stopped.spans();
    for role in [Role::Server, Role::Client] {
        let of = |path: &str| -> Vec<_> {
            let mine = |port: &str| ports.contains(port) || port == open.port().to_string();
            spans
                .iter()
                .filter(|span| span.kind == role.span_kind() && mine(span.attribute("server.port")))
                .filter(|span| span.path() == path)
                .collect()
        };
        assert_eq!(of("/last").len(), 50, "{role:?}");
        assert!(
            of("/open").iter().all(|span| span.attribute("http.response.status_code").is_empty()),
            "{role:?}"
        );
    }
    nothing_attached(&programs);
}

#[test]
fn sigterm_drains() {
    drains(Signal::SIGTERM);
}

#[test]
fn sigint_drains() {
    drains(Signal::SIGINT);
}

#[test]
fn a_duration_ends_it() {
    let start = Instant::now();
    let sensor = Options::default().spans().argument("--duration").argument("3s").start();
    let port = one_exchange("/while").to_string();
    let stopped = sensor.wait(patience(30));
    assert_eq!(stopped.status.code(), Some(0), "{}", stopped.stderr);
    assert!(start.elapsed() >= Duration::from_secs(3), "it ended early");
    let spans = stopped.spans();
    assert_eq!(spans.iter().filter(|span| span.attribute("server.port") == port).count(), 2);
}

/// Runs `sensor run` with this configuration until it ends by itself.
#[track_caller]
fn run_to_end(config: &str, listen: SocketAddr, prepare: impl FnOnce(&mut Command)) -> (ExitStatus, String) {
    let directory = TempDir::new().expect("make a directory");
    let path = directory.path().join("sensor.yaml");
    std::fs::write(&path, config).expect("write a configuration");
    let mut command = run(&path, listen);
    prepare(&mut command);
    let mut process = Process::start(&mut command);
    let status = process.wait(30);
    (status, process.stderr())
}

fn any_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}

#[test]
fn a_wrong_configuration_is_refused() {
    let _lock = exclusive();
    for (config, key, right) in [
        ("capture:\n  head_bytes: 7\n", "capture.head_bytes", "4096"),
        ("capture:\n  ring_bytes: 100000\n", "capture.ring_bytes", "power of two"),
        ("capture:\n  haed_bytes: 1024\n", "capture.haed_bytes", "capture.head_bytes"),
        ("capture:\n  route: magic\n", "capture.route", "fentry"),
        ("listen: nowhere\n", "listen", ""),
        ("capturing: {}\n", "capturing", "capture"),
        ("capture: [\n", "", ""),
    ] {
        let (status, stderr) = run_to_end(config, any_address(), |_| {});
        assert_eq!(status.code(), Some(USAGE), "{config}{stderr}");
        assert!(stderr.contains(key) && stderr.contains(right), "{key} and {right} are not in: {stderr}");
        assert!(!stderr.contains("capturing\"") && !stderr.contains("panicked"), "{stderr}");
    }
}

#[test]
fn a_missing_configuration_is_refused() {
    let output = run(std::path::Path::new("/nonexistent/sensor.yaml"), any_address())
        .output()
        .expect("run the sensor");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(USAGE), "{stderr}");
    assert!(stderr.contains("/nonexistent/sensor.yaml"), "{stderr}");
}

#[test]
fn an_address_in_use_is_refused() {
    let _lock = exclusive();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port");
    let address = taken.local_addr().expect("an address");
    let (status, stderr) = run_to_end("", address, |_| {});
    assert!(!status.success(), "{stderr}");
    assert!(stderr.contains(&address.to_string()), "the address is not in: {stderr}");
}

#[test]
fn who_is_not_root_is_refused() {
    let _lock = exclusive();
    // Where others than root may read it.
    let directory = TempDir::new().expect("make a directory");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), mode).expect("set permissions");
    let copy = copy_file(&binary(), &directory.path().join("sensor"));
    let mut command = Command::new(&copy);
    let output =
        command.args(["run", "--listen"]).arg(any_address().to_string()).uid(65534).gid(65534).output();
    let output = output.expect("run the sensor");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{stderr}");
    assert!(stderr.contains("root"), "{stderr}");
}

#[test]
fn a_killed_sensor_leaves_nothing_attached() {
    let sensor = Sensor::start();
    let programs = programs_of(sensor.id());
    assert!(!still_loaded(&programs).is_empty(), "a running sensor holds programs");
    sensor.signal(Signal::SIGKILL);
    let stopped: Stopped = sensor.wait(patience(30));
    assert!(killed_by(stopped.status, Signal::SIGKILL));
    nothing_attached(&programs);
    drop(stopped);

    let second = Sensor::start();
    let port = one_exchange("/second");
    second.expect_both(port, &calls(&[("GET /second 200", 1)]));
}

#[test]
fn a_second_sensor_stops() {
    let sensor = Sensor::start();
    let (status, stderr) = run_to_end("", any_address(), |_| {});
    assert!(!status.success(), "{stderr}");
    assert!(stderr.contains("another sensor"), "{stderr}");
    assert!(stderr.contains("hint:"), "what to do is not in: {stderr}");
    // The first one does not mind.
    let port = one_exchange("/first");
    sensor.expect_both(port, &calls(&[("GET /first 200", 1)]));
}

/// Hides the kernel's BTF from one thread and what it starts.
fn without_btf<T: Send>(action: impl FnOnce() -> T + Send) -> T {
    let hidden = || {
        let none: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS).expect("make a mount namespace");
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("make mounts private");
        mount(Some("none"), "/sys/kernel/btf", Some("tmpfs"), MsFlags::empty(), none)
            .expect("mount over BTF");
        action()
    };
    std::thread::scope(|scope| scope.spawn(hidden).join().expect("the thread without BTF"))
}

#[test]
fn a_kernel_without_btf_is_refused() {
    require_root();
    let _lock = exclusive();
    let (status, stderr) = without_btf(|| run_to_end("", any_address(), |_| {}));
    assert_eq!(status.code(), Some(KERNEL), "{stderr}");
    assert!(stderr.contains("BTF") && stderr.contains("/sys/kernel/btf/vmlinux"), "{stderr}");
    assert!(stderr.contains("CONFIG_DEBUG_INFO_BTF"), "what to do is not in: {stderr}");

    let output = without_btf(|| check(""));
    assert_eq!(output.status.code(), Some(KERNEL), "sensor check, too: {output:?}");
}

/// Runs `sensor check` with this configuration.
fn check(config: &str) -> Output {
    let directory = TempDir::new().expect("make a directory");
    let path = directory.path().join("sensor.yaml");
    std::fs::write(&path, config).expect("write a configuration");
    Command::new(binary()).arg("check").arg("--config").arg(&path).output().expect("run sensor check")
}

#[test]
fn check_says_what_is_allowed() {
    require_root();
    let _lock = exclusive();
    let output = check(&Options::default().config());
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for subject in ["BTF", "ring buffer", "fentry", "socket", "syscall"] {
        let line = stdout.lines().find(|line| line.to_lowercase().contains(&subject.to_lowercase()));
        assert!(line.is_some(), "no line about {subject}:\n{stdout}");
    }
}

#[test]
fn check_refuses_what_run_would_refuse() {
    require_root();
    let output = check("capture:\n  head_bytes: 7\n");
    assert_eq!(output.status.code(), Some(USAGE), "{output:?}");
    let both = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(both.contains("capture.head_bytes"), "{both}");
}

/// A check says that `run` would stop at once, and does not disturb who runs.
#[test]
fn check_beside_a_running_sensor() {
    let sensor = Sensor::start();
    let output = check(&Options::default().config());
    assert!(!output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("another sensor"), "{output:?}");
    let port = one_exchange("/checked");
    sensor.expect_both(port, &calls(&[("GET /checked 200", 1)]));
}

/// A check leaves nothing attached, so a sensor can start after it.
#[test]
fn check_leaves_nothing_attached() {
    require_root();
    let lock = exclusive();
    assert!(check(&Options::default().config()).status.success());
    drop(lock);
    drop(Sensor::start());
}
