//! Its program, and who may run it.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

/// The sensor's program: `SENSOR_BIN`, else the release build beside the test's own build.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("SENSOR_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("the test's own path");
    let release = format!("{}-unknown-linux-gnu/release/sensor", std::env::consts::ARCH);
    let found = test.ancestors().map(|target| target.join(&release)).find(|path| path.is_file());
    found.expect("no sensor to test; hint: cargo xtask image, or name one in SENSOR_BIN")
}

/// `sensor run` with this configuration and address.
///
/// # Panics
/// When the test is not run by root, or there is no sensor.
#[must_use]
pub fn run(config: &std::path::Path, listen: SocketAddr) -> Command {
    require_root();
    let mut command = Command::new(binary());
    command.arg("run").arg("--config").arg(config).arg("--listen").arg(listen.to_string());
    command
}

/// The `service_name` of the test itself.
///
/// # Panics
/// When the test does not know its own path.
#[must_use]
pub fn own_name() -> String {
    let path = std::env::current_exe().expect("the test's own path");
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Fails the test when it is not run by root, since the sensor needs to be.
///
/// # Panics
/// See above.
pub fn require_root() {
    assert!(nix::unistd::geteuid().is_root(), "the end-to-end tests load eBPF programs: run them as root");
}

/// Held by the one test that may run a sensor now: there is one sensor a host, and tests run side by side.
#[derive(Debug)]
pub struct Exclusive(#[expect(dead_code, reason = "the lock lives as long as the file is open")] File);

/// Waits for the right to run a sensor.
///
/// # Panics
/// When the lock file cannot be made.
#[must_use]
pub fn exclusive() -> Exclusive {
    let path = std::env::temp_dir().join("lionpay-sensor-tests.lock");
    let file = File::create(&path).unwrap_or_else(|error| panic!("make {}: {error}", path.display()));
    file.lock().unwrap_or_else(|error| panic!("lock {}: {error}", path.display()));
    Exclusive(file)
}
