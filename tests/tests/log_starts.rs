//! The start of a program that the sensor could not be told of.

use nix::sys::signal::Signal;
use tests::logs::{Piped, Script, parse};
use tests::sensor::Options;
use tests::wait::{patience, wait_until};

/// Fills the ring buffer with records that are smaller than that of a start; or waits to be asked.
const PROGRAM: &str = "
import os, signal, sys
if sys.argv[1] == 'fill':
    for _ in range(20_000):
        os.write(1, b'full\\n')
else:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    open(sys.argv[2], 'w').close()
    signal.sigwait([signal.SIGTERM])
    os.write(1, b'asked\\n')
";

/// Its streams are followed all the same once the sensor reads again, and the loss is counted.
#[test]
fn a_program_whose_start_found_no_room_is_followed() {
    let script = Script::new(".py", PROGRAM);
    let sensor = Options::default()
        .logs("ring_bytes", "65536")
        .argument("--logs")
        .argument(&script.name)
        .argument("--print")
        .argument("logs")
        .start();
    let lost = || sensor.metrics().count("sensor_lost_total", &[("cause", "log_start_lost")]);
    let ready = script.directory().join("ready");
    let run = |what: &str| Piped::start(script.run("python3").arg(what).arg(&ready));
    assert_eq!(lost(), 0);
    sensor.signal(Signal::SIGSTOP);
    let (filled, _) = run("fill").succeed(60);
    assert_eq!(filled.lines().count(), 20_000);
    let mut asked = run("ask");
    wait_until("the program to wait", patience(30), || ready.exists().then_some(()));
    sensor.signal(Signal::SIGCONT);
    wait_until("the lost start to be counted", patience(30), || (lost() > 0).then_some(()));
    asked.signal(Signal::SIGTERM);
    asked.wait(30);
    let records = parse(&sensor.stop().stdout);
    let bodies: Vec<&str> =
        records.iter().map(|record| &*record.body).filter(|body| *body != "full").collect();
    assert_eq!(bodies, ["asked"]);
    assert!(records.len() < 20_001, "nothing was lost");
}
