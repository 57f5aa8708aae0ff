//! What is under test, built here and carried into the guest: the sensor's release binary, the end-to-end tests,
//! their fixtures, and the init that runs them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::cpio::Cpio;
use super::job::Job;
use super::module::Module;
use super::program;
use crate::workspace::Workspace;
use crate::{command, run};

/// Tests of what no kernel changes, with servers that would double the size of a guest; and those that need network
/// drivers and filters, which are modules.
const HERE_ONLY: [&str; 7] =
    ["receivers", "flows", "grpc_node", "databases", "deploy_files", "deploy_queries", "deploy_image"];

/// Paths of everything built for the guest.
pub(super) struct Payload {
    init: PathBuf,
    /// None when the guest is only to boot.
    tested: Option<Tested>,
}

struct Tested {
    sensor: PathBuf,
    /// Names and paths of the test programs.
    tests: Vec<(String, PathBuf)>,
    fixtures: PathBuf,
    /// The program that measures what each way costs.
    routes: PathBuf,
}

impl Payload {
    /// Only init: a guest that boots, tells what its kernel has, and powers off.
    pub(super) fn bare(workspace: &Workspace) -> Result<Self> {
        let built = cargo(workspace, &["build", "--package", "tests", "--bin", "init"])?;
        Ok(Self { init: executable(&built, "bin", "init")?, tested: None })
    }

    /// Init, the release build of the sensor, the tests and what they need.
    pub(super) fn full(workspace: &Workspace, dir: &Path) -> Result<Self> {
        run::build(workspace)?;
        let bins = cargo(workspace, &["build", "--package", "tests", "--bins"])?;
        let tests = cargo(workspace, &["test", "--no-run", "--package", "tests", "--test", "*"])?;
        let is_for_guests = |(kind, name, _): &(String, String, PathBuf)| {
            kind == "test" && !HERE_ONLY.contains(&name.as_str())
        };
        let tests: Vec<_> = executables(&tests).filter(is_for_guests).collect();
        ensure!(!tests.is_empty(), "there are no end-to-end tests to run");
        let fixtures = dir.join("fixtures");
        let prepare = executable(&bins, "bin", "fixtures")?;
        let status = Command::new(&prepare).arg(&fixtures).status();
        let status = status.with_context(|| format!("start {}", prepare.display()))?;
        ensure!(status.success(), "the tests' fixtures could not be prepared ({status})");
        fs::create_dir_all(dir.join("stripped"))?;
        let init = stripped(&executable(&bins, "bin", "init")?, dir, "init")?;
        let strip = |(_, name, path): (_, String, PathBuf)| Ok((name.clone(), stripped(&path, dir, &name)?));
        let tests = tests.into_iter().map(strip).collect::<Result<_>>()?;
        let routes = stripped(&executable(&bins, "bin", "routes")?, dir, "routes")?;
        Ok(Self { init, tested: Some(Tested { sensor: workspace.sensor(), tests, fixtures, routes }) })
    }

    /// Every binary whose libraries must be on the guest's disk.
    pub(super) fn binaries(&self) -> Vec<PathBuf> {
        let mut all = vec![self.init.clone()];
        if let Some(tested) = &self.tested {
            all.push(tested.sensor.clone());
            all.extend(tested.tests.iter().map(|(_, path)| path.clone()));
        }
        all
    }

    /// Writes the initramfs of one guest.
    pub(super) fn initramfs(&self, to: &Path, modules: &[Module], job: &Job) -> Result<()> {
        let file = fs::File::create(to).with_context(|| format!("create {}", to.display()))?;
        let mut cpio = Cpio::new(std::io::BufWriter::new(file));
        for folder in ["dev", "proc", "sys", "root", "module", "payload"] {
            cpio.folder(folder)?;
        }
        copy(&mut cpio, "init", &self.init)?;
        // Until the disk is mounted, init has only the libraries that are here.
        for (guest, here) in program::libraries_of(&self.init)? {
            copy(&mut cpio, guest.to_string_lossy().trim_start_matches('/'), &here)?;
        }
        for (n, module) in modules.iter().enumerate() {
            cpio.file(&format!("module/{n:02}-{}.ko", module.name), 0o644, &module.data)?;
        }
        cpio.file("payload/job", 0o644, job.to_string().as_bytes())?;
        if let Some(tested) = &self.tested {
            copy(&mut cpio, "payload/sensor", &tested.sensor)?;
            copy(&mut cpio, "payload/routes", &tested.routes)?;
            for (name, path) in &tested.tests {
                copy(&mut cpio, &format!("payload/test/{name}"), path)?;
            }
            for entry in fs::read_dir(&tested.fixtures)? {
                let entry = entry?;
                let name = entry.file_name();
                copy(&mut cpio, &format!("payload/fixtures/{}", name.to_string_lossy()), &entry.path())?;
            }
        }
        cpio.finish()?;
        Ok(())
    }
}

fn copy(cpio: &mut Cpio<impl std::io::Write>, name: &str, from: &Path) -> Result<()> {
    let read = || format!("read {}", from.display());
    let mode = fs::metadata(from).with_context(read)?.permissions().mode();
    cpio.file(name, mode, &fs::read(from).with_context(read)?)?;
    Ok(())
}

/// Runs cargo and returns its messages, one JSON object a line.
fn cargo(workspace: &Workspace, arguments: &[&str]) -> Result<String> {
    let mut command = workspace.cargo();
    command.args(arguments).args(["--quiet", "--message-format", "json-render-diagnostics"]);
    let output = command.stderr(Stdio::inherit()).output().context("start cargo")?;
    ensure!(output.status.success(), "cargo {} failed ({})", arguments.join(" "), output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A copy without debug information: five times less to load and unpack before init starts. The sensor is not
/// touched, it is to be the very file that is shipped.
fn stripped(program: &Path, dir: &Path, name: &str) -> Result<PathBuf> {
    let copy = dir.join("stripped").join(name);
    command::output(Command::new("strip").arg("--strip-debug").arg("-o").args([&copy, program]))?;
    Ok(copy)
}

fn executable(messages: &str, kind: &str, name: &str) -> Result<PathBuf> {
    let found = executables(messages).find(|(k, n, _)| k == kind && n == name);
    found.map(|(.., path)| path).with_context(|| format!("cargo built no {kind} called {name}"))
}

/// Kind, name and path of each program that cargo built or found fresh.
fn executables(messages: &str) -> impl Iterator<Item = (String, String, PathBuf)> {
    messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let target = &message["target"];
        let path = message["executable"].as_str()?;
        Some((target["kind"][0].as_str()?.to_owned(), target["name"].as_str()?.to_owned(), path.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_cargo_s_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"tests"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"http"},"executable":"/t/http-1"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages, "test", "http").unwrap(), PathBuf::from("/t/http-1"));
        assert!(executable(messages, "bin", "http").is_err());
    }
}
