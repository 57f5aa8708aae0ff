//! Disasters on demand, for xtask to see that it notices them.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

pub(crate) fn provoke(what: &str) -> Result<bool> {
    match what {
        "panic" => {
            fs::write("/proc/sysrq-trigger", "c")?;
            bail!("the kernel survived");
        }
        "death" => std::process::exit(3),
        "silence" => loop {
            thread::park();
        },
        "chatter" => loop {
            eprintln!("still here");
            thread::sleep(Duration::from_secs(1));
        },
        "failure" => Ok(false),
        _ => bail!("nobody knows how to provoke {what:?}"),
    }
}
