//! Records to standard output as JSON lines.

use std::time::Duration;

use super::{Record, Sink, json_line};
use crate::cli::output::Output;

/// How long the reader of standard output may take for one batch; what it does not take by then is lost, and counted.
/// Meanwhile the kernel's ring buffer holds what comes.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it may take for the last of it.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Prints records.
pub struct Print {
    output: Output,
    dropped: u64,
}

impl Print {
    /// To this output.
    #[must_use]
    pub fn new(output: Output) -> Self {
        Self { output, dropped: 0 }
    }
}

impl Sink for Print {
    fn take(&mut self, records: &[Record]) {
        let mut lines = String::new();
        for record in records {
            match json_line(record) {
                Ok(line) => {
                    lines.push_str(&line);
                    lines.push('\n');
                }
                Err(error) => tracing::error!("cannot print a log record: {error}"),
            }
        }
        if !self.output.lines_within(lines, PATIENCE) {
            self.dropped += records.len() as u64;
        }
    }

    fn dropped(&self) -> u64 {
        self.dropped
    }

    fn is_closed(&self) -> bool {
        self.output.is_closed()
    }

    fn finish(self: Box<Self>) {
        if !self.output.finish(LAST_WORDS) {
            tracing::warn!("standard output did not take the last log records in time");
        }
    }
}
