//! Measures what the sensor costs, and writes the figures into docs/performance.md.
//!
//! Each measurement is a subcommand that owns one marked section of the page.

mod daemon;
mod flows;
mod http;
mod logs;
mod machine;
mod mask;
mod metrics;
mod nginx;
mod rounds;
mod routes;
mod section;
mod ship;
mod statistics;
mod tls;
mod wrk;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::root;
use crate::workspace::Workspace;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    measurement: Option<Measurement>,
    #[command(flatten)]
    http: http::Options,
}

#[derive(Subcommand)]
enum Measurement {
    /// nginx under wrk, without and with the sensor (the default).
    Http(http::Options),
    /// iperf3, and wrk with a connection a request, without and with what is told of connections.
    Flows(rounds::Rounds),
    /// Lines to standard output, without and with the sensor, beside reading them from a file.
    Logs(logs::Options),
    /// Masking: in the kernel over the same capture without it, and in the daemon.
    Mask(mask::Options),
    /// Sending: all of the way from exchanges, lines and metrics to a receiver.
    Ship(ship::Options),
    /// nginx under wrk by HTTPS, seen from outside and from inside.
    Tls(rounds::Rounds),
    /// The ways of capture side by side, in a virtual machine.
    Routes(routes::Options),
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    root::require("the sensor loads eBPF programs, which", "xtask bench")?;
    match &options.measurement {
        Some(Measurement::Http(http)) => http::run(workspace, http),
        Some(Measurement::Flows(flows)) => flows::run(workspace, flows),
        Some(Measurement::Logs(logs)) => logs::run(workspace, logs),
        Some(Measurement::Mask(mask)) => mask::run(workspace, mask),
        Some(Measurement::Ship(ship)) => ship::run(workspace, ship),
        Some(Measurement::Tls(tls)) => tls::run(workspace, tls),
        Some(Measurement::Routes(routes)) => routes::run(workspace, routes),
        None => http::run(workspace, &options.http),
    }
}

/// A free port of the loopback address. Nothing holds it from here on; ephemeral ports are not given out again
/// soon.
fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
