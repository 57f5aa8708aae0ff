//! Prepares the tests' fixtures in a directory, for a machine that has a Java runtime but no compiler: name the
//! directory in `SENSOR_TEST_FIXTURES` there.

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let directory = std::env::args_os().nth(1).context("usage: fixtures DIRECTORY")?;
    tests::fixtures::prepare(directory.as_ref())
}
