//! `sensor check`: what this kernel and this configuration allow, line by line.

use std::io::{self, Write};

use super::kernel_release;
use crate::{
    capture::{Capability, Capture, CaptureError, Route, Settings},
    config::Config,
};

/// Writes a line a finding; whether `sensor run` would start.
///
/// # Errors
/// When the lines cannot be written.
pub fn check(config: &Config, out: &mut impl Write) -> anyhow::Result<bool> {
    writeln!(out, "kernel {}", kernel_release())?;
    writeln!(out, "configuration: valid")?;
    let mut missing = false;
    for capability in Capability::ALL {
        match capability.probe() {
            Ok(detail) => line(out, "yes", capability.name(), detail)?,
            Err(reason) => {
                missing |= capability.is_required();
                line(out, "no", capability.name(), reason)?;
            }
        }
    }
    if missing {
        writeln!(out, "run: would not start: what is needed above is missing")?;
        return Ok(false);
    }
    let address = match std::net::TcpListener::bind(config.listen) {
        Ok(_) => true,
        Err(error) => {
            line(out, "no", "listen", &format!("{}: {error}", config.listen))?;
            false
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _guard = runtime.enter();
    let settings = config.capture_settings();
    let mut best = None;
    for route in Route::BEST_FIRST {
        match try_route(&settings, route) {
            Ok(programs) => {
                best = best.or(Some(route));
                line(out, "yes", &format!("route {}", route.name()), &programs)?;
            }
            Err(CaptureError::AlreadyRunning { id }) => {
                writeln!(out, "run: would not start: another sensor is running (eBPF program {id})")?;
                return Ok(false);
            }
            Err(error) => line(out, "no", &format!("route {}", route.name()), &error.brief())?,
        }
    }
    let usable = match settings.route {
        Some(forced) => try_route(&settings, forced).is_ok().then_some(forced),
        None => best,
    };
    match usable {
        Some(route) if address => writeln!(out, "run: would start, by the {} route", route.name())?,
        Some(_) => writeln!(out, "run: would not start: {} cannot be bound", config.listen)?,
        None => writeln!(out, "run: would not start: no way into this kernel")?,
    }
    Ok(usable.is_some() && address)
}

/// Loads and attaches a route for a moment; what the verifier went through for each program.
fn try_route(settings: &Settings, route: Route) -> Result<String, CaptureError> {
    let capture = Capture::start(&Settings { route: Some(route), ..settings.clone() }, 0)?;
    let programs: Vec<_> = capture
        .programs()
        .into_iter()
        .map(|(name, verified)| match verified {
            Some(verified) => format!("{name} {verified}"),
            None => name,
        })
        .collect();
    Ok(format!("verified instructions: {}", programs.join(", ")))
}

fn line(out: &mut impl Write, verdict: &str, name: &str, detail: &str) -> io::Result<()> {
    let space = if detail.is_empty() { "" } else { " " };
    writeln!(out, "{verdict:3} {name:26}{space}{detail}")
}
