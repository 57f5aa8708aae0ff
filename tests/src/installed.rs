//! Programs that this system does not have: `cargo xtask test` installs them, and says where they are by an environment variable
//! each.

use std::path::PathBuf;
use std::process::Command;

/// Where the libraries of Debian 11 are, as `LD_LIBRARY_PATH` wants it. OpenSSL is 1.1 there.
///
/// # Panics
/// When they are not installed.
#[track_caller]
#[must_use]
pub fn debian_11_libraries() -> String {
    let root = installed("SENSOR_TEST_DEBIAN_11");
    let folder = format!("{}-linux-gnu", std::env::consts::ARCH);
    ["lib", "usr/lib"].map(|lib| root.join(lib).join(&folder).display().to_string()).join(":")
}

/// A program of Debian 11, by its path there.
///
/// # Panics
/// When it is not installed.
#[track_caller]
#[must_use]
pub fn debian_11(path: &str) -> Command {
    let root = installed("SENSOR_TEST_DEBIAN_11");
    let mut command = Command::new(root.join(path));
    command.env("LD_LIBRARY_PATH", debian_11_libraries()).env("PYTHONHOME", root.join("usr"));
    command
}

/// Node.js 16, which has OpenSSL 1.1 in its program.
///
/// # Panics
/// When it is not installed.
#[track_caller]
#[must_use]
pub fn node_16() -> Command {
    Command::new(installed("SENSOR_TEST_NODE_16"))
}

/// The program that runs those of .NET 8.
///
/// # Panics
/// When it is not installed.
#[track_caller]
#[must_use]
pub fn dotnet() -> Command {
    Command::new(installed("SENSOR_TEST_DOTNET"))
}

#[track_caller]
fn installed(variable: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => {
            panic!("{variable} is not set; hint: cargo xtask test installs what it leads to, and sets it")
        }
    }
}
