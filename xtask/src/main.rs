//! Everything a developer types: `cargo xtask <command>`.

mod apt;
mod archive;
mod bench;
mod build_ebpf;
mod command;
mod image;
mod manifests;
mod mounts;
mod npm;
mod pip;
mod root;
mod run;
mod servers;
mod steps;
mod test;
mod toolchain;
mod version;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Builds, runs, tests and measures the node sensor.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sets up what is missing, builds the sensor and runs it (needs root).
    Run(run::Options),
    /// Runs every check and test, and prints the totals on the last line.
    Test(test::Options),
    /// Builds the eBPF object alone and prints where it is.
    BuildEbpf,
    /// Measures what the sensor costs and writes it to docs/performance.md (needs root).
    Bench(bench::Options),
    /// Makes the container image, an OCI archive, and prints its digest.
    Image(image::Options),
    /// Renders the manifests and holds them against the published schemas.
    Manifests,
    /// Runs the end-to-end tests on real kernels in virtual machines.
    Vm(vm::Options),
}

fn main() -> ExitCode {
    match dispatch(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    let workspace = Workspace::find()?;
    match command {
        Command::Run(options) => run::run(&workspace, options),
        Command::Test(options) => test::run(&workspace, &options),
        Command::BuildEbpf => build_ebpf::run(&workspace),
        Command::Bench(options) => bench::run(&workspace, &options),
        Command::Image(options) => image::run(&workspace, &options),
        Command::Manifests => manifests::check(&workspace),
        Command::Vm(options) => vm::run(&workspace, &options),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_follows_the_dashes_is_the_sensors() {
        let parsed = Arguments::try_parse_from(["cargo xtask", "run", "--", "--duration", "5s"]);
        assert!(matches!(parsed.unwrap().command, Command::Run(_)));
        assert!(Arguments::try_parse_from(["cargo xtask", "run", "--duration", "5s"]).is_err());
    }

    #[test]
    fn a_benchmark_need_not_be_named() {
        for line in [&["bench", "--quick"][..], &["bench", "http", "--rounds", "2"], &["bench"]] {
            assert!(Arguments::try_parse_from([&["cargo xtask"], line].concat()).is_ok(), "{line:?}");
        }
        assert!(Arguments::try_parse_from(["cargo xtask", "bench", "--quick", "--rounds", "2"]).is_err());
    }
}
