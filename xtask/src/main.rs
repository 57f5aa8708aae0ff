//! Everything a developer types: `cargo xtask <command>`.

mod apt;
mod bench;
mod build_ebpf;
mod command;
mod mounts;
mod root;
mod run;
mod servers;
mod steps;
mod test;
mod toolchain;
mod version;
mod workspace;

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
    BuildEbpf(build_ebpf::Options),
    /// Measures what the sensor costs and writes it to docs/performance.md (needs root).
    Bench(bench::Options),
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let workspace = Workspace::find()?;
    match arguments.command {
        Command::Run(options) => run::run(&workspace, options),
        Command::Test(options) => test::run(&workspace, &options),
        Command::BuildEbpf(options) => build_ebpf::run(&workspace, &options),
        Command::Bench(options) => bench::run(&workspace, &options),
    }
}
