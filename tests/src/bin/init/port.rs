//! The second serial port, one line an event (the format is described in `xtask/src/vm/event.rs`).

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::termios::{SetArg, cfmakeraw, tcdrain, tcgetattr, tcsetattr};

pub(crate) struct Port(File);

impl Port {
    pub(crate) fn open() -> Result<Self> {
        let path = "/dev/ttyS1";
        let file =
            File::options().read(true).write(true).open(path).with_context(|| format!("open {path}"))?;
        let mut settings = tcgetattr(&file).context("read the port's settings")?;
        cfmakeraw(&mut settings);
        tcsetattr(&file, SetArg::TCSANOW, &settings).context("set the port raw")?;
        Ok(Self(file))
    }

    pub(crate) fn fact(&mut self, name: &str, value: &str) {
        self.send(&["fact", name, value]);
    }

    pub(crate) fn way(&mut self, way: &str, allowed: bool, reason: &str) {
        self.send(&["way", way, if allowed { "yes" } else { "no" }, reason]);
    }

    pub(crate) fn begin(&mut self, way: &str, test: &str) {
        self.send(&["begin", way, test]);
    }

    pub(crate) fn end(&mut self, way: &str, test: &str, outcome: &str, took: Duration) {
        self.send(&["end", way, test, outcome, &took.as_millis().to_string()]);
    }

    pub(crate) fn verified(&mut self, way: &str, program: &str, instructions: u64) {
        self.send(&["verified", way, program, &instructions.to_string()]);
    }

    /// `line` has the event's name and fields between spaces.
    pub(crate) fn measured(&mut self, line: &str) {
        self.send(&line.split(' ').collect::<Vec<_>>());
    }

    pub(crate) fn error(&mut self, text: &str) {
        self.send(&["error", text]);
    }

    pub(crate) fn verdict(&mut self, ok: bool) {
        self.send(&["verdict", if ok { "ok" } else { "failed" }]);
    }

    /// A port that cannot be written is silence, which is noticed outside.
    fn send(&mut self, fields: &[&str]) {
        let fields: Vec<_> = fields.iter().map(|f| f.replace(['\t', '\n', '\r'], " ")).collect();
        let line = fields.join("\t") + "\n";
        let _ = self.0.write_all(line.as_bytes());
        let _ = tcdrain(&self.0);
    }
}
