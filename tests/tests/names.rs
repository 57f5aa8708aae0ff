//! `service_name` on a bare host: the executable's name, for interpreters the script's, for Java the jar's or the
//! main class'.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tests::calls::Role;
use tests::client::curl;
use tests::fixtures;
use tests::process::{Process, copy, copy_file, program};
use tests::sensor::{Options, Sensor};
use tests::server::{Kind, Server};

fn directory() -> TempDir {
    TempDir::new().expect("make a directory")
}

/// Starts a server of the tests' kind, asks it, and requires its name.
#[track_caller]
fn serves_as(sensor: &Sensor, command: &mut std::process::Command, name: &str) {
    let mut process = Process::start(command);
    let port: u16 = process.line("listening ").parse().expect("a port");
    assert_eq!(curl(&[&format!("http://127.0.0.1:{port}/")]), 200);
    assert_eq!(sensor.service(Role::Server, port), name);
}

#[test]
fn python_scripts() {
    let sensor = Options::default().start();
    let directory = directory();
    let script = fixtures::write(directory.path(), "server.py", "shop.py");
    serves_as(&sensor, program("python3").arg(&script), "shop.py");
    serves_as(
        &sensor,
        program("python3").args(["-u", "-X", "utf8", "-W", "ignore"]).arg(&script).arg("--port=1"),
        "shop.py",
    );
    serves_as(&sensor, program("python3").arg("shop.py").current_dir(&directory), "shop.py");
    let text = format!("#!/usr/bin/env python3\n{}", fixtures::text("server.py"));
    serves_as(
        &sensor,
        &mut std::process::Command::new(executable(directory.path(), "orders", &text)),
        "orders",
    );
}

#[test]
fn node_scripts() {
    let sensor = Options::default().start();
    let directory = directory();
    let script = fixtures::write(directory.path(), "server.js", "front.js");
    serves_as(&sensor, program("node").arg(&script), "front.js");
    serves_as(
        &sensor,
        program("node").args(["--max-old-space-size=64", "--no-warnings"]).arg(&script),
        "front.js",
    );
}

#[test]
fn java_jars_and_classes() {
    let sensor = Options::default().start();
    let directory = directory();
    let jar = fixtures::java(directory.path(), "server.jar", "billing.jar");
    let flags = ["-Xmx64m", "-XX:TieredStopAtLevel=1", "-Dname=value"];
    serves_as(&sensor, program("java").args(flags).arg("-jar").arg(&jar).arg("argument"), "billing.jar");
    fixtures::java(directory.path(), "Server.class", "Server.class");
    serves_as(&sensor, program("java").args(flags).arg("-cp").arg(directory.path()).arg("Server"), "Server");
}

#[test]
fn plain_executables() {
    let sensor = Options::default().start();
    let server = Server::start(Kind::Nginx);
    assert_eq!(curl(&[&server.url("/")]), 200);
    assert_eq!(sensor.service(Role::Server, server.port), "nginx");
    assert_eq!(sensor.service(Role::Client, server.port), "curl");
}

/// A process that has ended before anybody could look at it, with a name longer than the kernel's short one.
#[test]
fn a_client_that_has_gone() {
    let sensor = Options::default().start();
    let directory = directory();
    let batch = copy("curl", directory.path(), "settlement-report-batch");
    let server = Server::start(Kind::Nginx);
    for _ in 0..20 {
        let output = std::process::Command::new(&batch)
            .args(["--silent", "--noproxy", "*", &server.url("/")])
            .output();
        assert!(output.expect("run the copy of curl").status.success());
    }
    assert_eq!(sensor.service(Role::Client, server.port), "settlement-report-batch");
}

/// A server that was there before the sensor is named like any other.
#[test]
fn a_process_older_than_the_sensor() {
    let servers = [Server::start(Kind::Python), Server::start(Kind::Jdk)];
    let sensor = Options::default().start();
    for (server, name) in servers.iter().zip(["server.py", "server.jar"]) {
        assert_eq!(curl(&[&server.url("/")]), 200);
        assert_eq!(sensor.service(Role::Server, server.port), name);
    }
}

fn executable(directory: &Path, name: &str, text: &str) -> PathBuf {
    let draft = directory.join(format!("{name}.draft"));
    std::fs::write(&draft, text).expect("write a script");
    std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o755)).expect("make it executable");
    copy_file(&draft, &directory.join(name))
}
