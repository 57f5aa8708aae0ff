//! What to do, from the file that xtask put into the initramfs (written by `xtask/src/vm/job.rs`).

use std::fs;

use anyhow::{Context as _, Result, bail};

const PATH: &str = "/payload/job";

#[derive(Debug, Default)]
pub(crate) struct Job {
    /// The longest a single test may take, in seconds.
    pub(crate) test_seconds: u64,
    /// The factor on the tests' own time limits.
    pub(crate) patience: String,
    /// How long the tests at full speed run, in seconds.
    pub(crate) load_seconds: String,
    /// Only tests whose name contains one of these; all where there is none.
    pub(crate) filter: Vec<String>,
    pub(crate) way: Option<String>,
    pub(crate) provoke: Option<String>,
    pub(crate) shell: bool,
    /// Arguments of the program that measures the ways of capture, instead of tests.
    pub(crate) measure: Option<String>,
}

impl Job {
    pub(crate) fn read() -> Result<Self> {
        let text = fs::read_to_string(PATH).with_context(|| format!("read {PATH}"))?;
        let mut job = Self::default();
        for line in text.lines() {
            let (name, value) =
                line.split_once(' ').with_context(|| format!("read {PATH}: no value in {line:?}"))?;
            let value = value.to_owned();
            match name {
                "test-seconds" => {
                    job.test_seconds = value.parse().with_context(|| format!("read {line:?}"))?;
                }
                "patience" => job.patience = value,
                "load-seconds" => job.load_seconds = value,
                "filter" => job.filter.push(value),
                "way" => job.way = Some(value),
                "provoke" => job.provoke = Some(value),
                "measure" => job.measure = Some(value),
                "shell" => job.shell = value == "yes",
                _ => bail!("read {PATH}: unknown setting {name:?}"),
            }
        }
        Ok(job)
    }
}
