//! What the figures were measured on, without a name that leads to the machine.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::command;

/// One line: date, processor, cores, kernel.
pub(super) fn description() -> Result<String> {
    let date = command::output(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
    let release = command::output(Command::new("uname").arg("-r"))?;
    // What follows the version names who built it, and for what.
    let kernel = release.split(['-', '+']).next().unwrap_or_default().trim();
    let processor = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| model_name(&text));
    let cores = std::thread::available_parallelism()?;
    Ok(format!(
        "{}, {}, {cores} cores, Linux {kernel} on {}",
        date.trim(),
        processor.as_deref().unwrap_or("unknown processor"),
        std::env::consts::ARCH
    ))
}

/// x86 has the name in `/proc/cpuinfo`; arm64 has none there.
fn model_name(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_read() {
        assert_eq!(model_name("processor\t: 0\nmodel name\t: AMD EPYC\n").as_deref(), Some("AMD EPYC"));
        assert_eq!(model_name("processor\t: 0\nCPU part\t: 0xd0c\n"), None);
    }
}
