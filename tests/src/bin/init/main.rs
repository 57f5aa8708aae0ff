//! PID 1 of the guests that `cargo xtask vm` boots.
//!
//! It mounts what a node has, loads the modules that came along, runs every test once for each way of capture that
//! the sensor allows here, and powers off. What it reports goes to the second serial port in the format that
//! `xtask/src/vm/event.rs` describes; the console has what the kernel and the tests themselves say.

mod fact;
mod job;
mod measure;
mod port;
mod process;
mod provoke;
mod setup;
mod suite;
mod verified;

use anyhow::Result;
use nix::sys::reboot::{RebootMode, reboot};

use crate::job::Job;
use crate::port::Port;

fn main() {
    if let Err(error) = setup::console() {
        // Without a console nobody can hear; the silence is noticed outside.
        eprintln!("init: {error:#}");
    }
    let mut port = match Port::open() {
        Ok(port) => port,
        Err(error) => {
            eprintln!("init: {error:#}");
            return;
        }
    };
    let ok = run(&mut port).unwrap_or_else(|error| {
        port.error(&format!("init: {error:#}"));
        false
    });
    port.verdict(ok);
    // Ends qemu, which was told not to start again; a power switch is not needed.
    let error = reboot(RebootMode::RB_AUTOBOOT).unwrap_err();
    eprintln!("init: reboot: {error}");
}

fn run(port: &mut Port) -> Result<bool> {
    setup::modules()?;
    setup::root()?;
    setup::mounts()?;
    setup::environment()?;
    fact::report(port);
    let job = Job::read()?;
    if job.shell {
        process::shell()?;
        return Ok(true);
    }
    if let Some(what) = &job.provoke {
        return provoke::provoke(what);
    }
    if let Some(arguments) = &job.measure {
        return measure::run(port, arguments);
    }
    suite::run(port, &job)
}
