//! Every check and test, in tiers. A tier that cannot run says why; one that fails does not stop the others.

mod deny;
mod programs;
mod results;
mod suite;

use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use self::suite::Suite;
use crate::command::Show;
use crate::workspace::Workspace;
use crate::{build_ebpf, image, manifests, root, toolchain};

#[derive(Args)]
pub(crate) struct Options {
    /// Leaves out the tiers that need root.
    #[arg(long)]
    no_root: bool,
    /// Shows each line of each tier's output, not only that of a tier that fails.
    #[arg(long)]
    verbose: bool,
}

const NEEDS_NO_ROOT: &str = "left out by --no-root";

/// # Errors
/// A tier failed, or the caller is not root and did not say `--no-root`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if !options.no_root && !root::is_root() {
        bail!(
            "the end-to-end tests load eBPF programs, which needs root\nhint: {}\nhint: or, for all the other \
             tests: cargo xtask test --no-root",
            root::sudo("cargo xtask test")
        );
    }
    let mut suite = Suite::new(if options.verbose { Show::Lines } else { Show::Heartbeat });
    lints(workspace, &mut suite);
    // Before the sensor is built for a test, so that it is built once, with the programs in it.
    let has_ebpf = suite.work("eBPF build", || build_ebpf::build(workspace, &toolchain::ensure()?).map(drop));
    suite.tests("unit tests", &mut cargo(workspace, &["test", "--workspace", "--no-fail-fast"], &["tests"]));
    deny::run(workspace, &mut suite);
    deployment(workspace, &mut suite);
    kernel(workspace, options, has_ebpf, &mut suite);
    suite.finish()
}

fn lints(workspace: &Workspace, suite: &mut Suite) {
    suite.check("rustfmt", workspace.cargo().args(["fmt", "--all", "--check"]));
    let deny_warnings = ["--", "-D", "warnings"];
    let clippy = ["clippy", "--workspace", "--all-targets"];
    suite.check("clippy", cargo(workspace, &clippy, &[]).args(deny_warnings));
    // The programs are read for the host: the compiler that builds them for BPF has no clippy. Their profile
    // aborts on panic, which a crate without the standard library needs.
    let clippy = ["clippy", "--package", "sensor-ebpf", "--all-targets", "--profile", "bpf"];
    suite.check("clippy, eBPF", workspace.cargo().args(clippy).args(deny_warnings));
    // A workspace of their own, which nothing else builds.
    let fuzz = ["--manifest-path", "sensor/fuzz/Cargo.toml"];
    suite.check("rustfmt, fuzz targets", workspace.cargo().arg("fmt").args(fuzz).arg("--check"));
    let clippy = ["clippy", "--all-targets"];
    suite.check("clippy, fuzz targets", workspace.cargo().args(clippy).args(fuzz).args(deny_warnings));
    let doc = ["doc", "--workspace", "--no-deps", "--document-private-items"];
    // These pages are for those who work on the code: a link to a private item is as good as any.
    let flags = "-D warnings -A rustdoc::private_intra_doc_links";
    suite.check("rustdoc", cargo(workspace, &doc, &[]).env("RUSTDOCFLAGS", flags));
    // The generated reference pages under docs/ are compared by unit tests of the sensor.
}

/// What is under `deploy/`, as far as no sensor has to run for it.
fn deployment(workspace: &Workspace, suite: &mut Suite) {
    suite.work("manifests", || manifests::check(workspace));
}

/// The tiers that load programs into a kernel.
fn kernel(workspace: &Workspace, options: &Options, has_ebpf: bool, suite: &mut Suite) {
    const RELEASE: &str = "release build";
    const END_TO_END: &str = "end-to-end tests";
    if options.no_root {
        suite.skip(END_TO_END, NEEDS_NO_ROOT);
        return;
    }
    if !has_ebpf {
        suite.skip(END_TO_END, "there is no eBPF object");
        return;
    }
    let built = suite.check(RELEASE, &mut image::release_build(workspace));
    if !built {
        suite.skip(END_TO_END, "there is no release build");
        return;
    }
    suite.work("image", || image::pack(workspace));
    let mut variables = Vec::new();
    let there = suite.work("servers", || {
        variables.push(programs::of_the_system()?);
        Ok(())
    });
    // Without these only the tests that use them fail.
    suite.work("programs from elsewhere", || {
        variables.extend(programs::beside_it()?);
        Ok(())
    });
    if there {
        // One at a time: they measure milliseconds, and each sensor sees the whole host.
        let mut test = workspace.cargo();
        test.args(["test", "--package", "tests", "--no-fail-fast", "--", "--test-threads=1"]).envs(variables);
        suite.tests(
            END_TO_END,
            test.env("SENSOR_BIN", workspace.sensor()).env("SENSOR_IMAGE", image::archive(workspace)),
        );
    } else {
        suite.skip(END_TO_END, "servers are missing");
    }
    suite.work("kernels in virtual machines", || crate::vm::test_matrix(workspace));
}

/// A cargo command over the workspace without what only the BPF target can build.
fn cargo(workspace: &Workspace, arguments: &[&str], without: &[&str]) -> Command {
    let mut cargo = workspace.cargo();
    cargo.args(arguments);
    for package in ["sensor-ebpf"].iter().chain(without) {
        cargo.args(["--exclude", package]);
    }
    cargo
}
