//! What each way of capture costs, measured by the program `routes`.

use std::fs::{self, File};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::port::Port;
use crate::process;
use crate::setup::command;

const PROGRAM: &str = "/payload/routes";
const OUTPUT: &str = "/tmp/measured";
/// The guest as a whole has a limit of its own.
const LIMIT: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn run(port: &mut Port, arguments: &str) -> Result<bool> {
    let mut program = command(PROGRAM);
    program.args(arguments.split(' ')).env("SENSOR_BIN", "/payload/sensor").stdin(Stdio::null());
    program.stdout(File::create(OUTPUT).with_context(|| format!("create {OUTPUT}"))?);
    let status = process::run(program, LIMIT)?;
    let text = fs::read_to_string(OUTPUT).with_context(|| format!("read {OUTPUT}"))?;
    for line in text.lines() {
        port.measured(line);
    }
    Ok(status.is_some_and(|status| status.success()))
}
