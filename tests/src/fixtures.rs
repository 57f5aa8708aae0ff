//! The files that servers of the tests consist of.
//!
//! They are part of the test programs, so that these need nothing but the servers' own programs where they run.
//! Java is compiled when a test runs, or beforehand by the program `fixtures` for places without a compiler.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Names and texts of the fixtures.
const FILES: [(&str, &str); 25] = [
    ("server.py", include_str!("../fixtures/server.py")),
    ("server.js", include_str!("../fixtures/server.js")),
    ("Server.java", include_str!("../fixtures/Server.java")),
    ("Client.java", include_str!("../fixtures/Client.java")),
    ("Https.cs", include_str!("../fixtures/Https.cs")),
    ("chain.py", include_str!("../fixtures/chain.py")),
    ("chain.js", include_str!("../fixtures/chain.js")),
    ("log_server.py", include_str!("../fixtures/log_server.py")),
    ("log_server.js", include_str!("../fixtures/log_server.js")),
    ("log_app.py", include_str!("../fixtures/log_app.py")),
    ("LogServer.java", include_str!("../fixtures/LogServer.java")),
    ("grpc_server.py", include_str!("../fixtures/grpc_server.py")),
    ("grpc_client.py", include_str!("../fixtures/grpc_client.py")),
    ("grpc_server.js", include_str!("../fixtures/grpc_server.js")),
    ("grpc_client.js", include_str!("../fixtures/grpc_client.js")),
    ("ask.js", include_str!("../fixtures/ask.js")),
    ("nginx.conf", include_str!("../fixtures/nginx.conf")),
    ("calls.lua", include_str!("../fixtures/calls.lua")),
    ("gate.lua", include_str!("../fixtures/gate.lua")),
    ("pod.json", include_str!("../fixtures/kubernetes/pod.json")),
    ("node.json", include_str!("../fixtures/kubernetes/node.json")),
    ("service.json", include_str!("../fixtures/kubernetes/service.json")),
    ("endpointslice.json", include_str!("../fixtures/kubernetes/endpointslice.json")),
    ("job.json", include_str!("../fixtures/kubernetes/job.json")),
    ("MANIFEST.MF", "Main-Class: Server\n"),
];

/// The environment variable that names a directory made by [`prepare`].
pub const DIRECTORY: &str = "SENSOR_TEST_FIXTURES";

/// The text of a fixture.
///
/// # Panics
/// When there is none of that name.
#[must_use]
pub fn text(name: &str) -> &'static str {
    FILES.iter().find(|(file, _)| *file == name).map_or_else(|| panic!("no fixture {name}"), |(_, text)| text)
}

/// Writes a fixture below `directory`, under its own or another name.
///
/// # Panics
/// When it cannot be written.
pub fn write(directory: &Path, name: &str, as_name: &str) -> PathBuf {
    let path = directory.join(as_name);
    std::fs::write(&path, text(name)).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
    path
}

/// Writes all fixtures to `directory` and compiles the Java ones there to `Server.class` and `server.jar`.
///
/// # Errors
/// When a file cannot be written, or the compiler is missing or fails.
pub fn prepare(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    for (name, text) in FILES {
        let path = directory.join(name);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    execute(directory, "javac", &["--release", "11", "Server.java", "LogServer.java", "Client.java"])?;
    execute(directory, "jar", &["cfm", "server.jar", "MANIFEST.MF", "Server.class"])
}

fn execute(directory: &Path, program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).current_dir(directory).output();
    let output = output.with_context(|| format!("run {program}"))?;
    if !output.status.success() {
        bail!("{program} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Copies the compiled Java file `name` (`Server.class` or `server.jar`) to `directory` under another name, from
/// the prepared directory where one is named, else compiled there and then.
///
/// # Panics
/// When that fails.
pub fn java(directory: &Path, name: &str, as_name: &str) -> PathBuf {
    let prepared = match std::env::var_os(DIRECTORY) {
        Some(prepared) => PathBuf::from(prepared),
        None => {
            let made = directory.join("prepared");
            if let Err(error) = prepare(&made) {
                panic!(
                    "compile the Java server: {error:#}; hint: install a JDK or name prepared files in {DIRECTORY}"
                );
            }
            made
        }
    };
    let path = directory.join(as_name);
    std::fs::copy(prepared.join(name), &path).unwrap_or_else(|error| panic!("copy {name}: {error}"));
    path
}
