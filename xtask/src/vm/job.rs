//! What init is told to do, as a file of the initramfs: a line a setting, its name before the first space.

use std::fmt;

use clap::ValueEnum;

use super::way::Way;

/// A disaster that init brings about, to see that it is noticed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Provoke {
    /// The kernel crashes
    Panic,
    /// PID 1 ends
    Death,
    /// Nothing is said any more
    Silence,
    /// The guest talks on and never comes to an end
    Chatter,
    /// The verdict is that a test failed
    Failure,
}

/// One guest's orders.
#[derive(Debug, Default)]
pub(super) struct Job {
    /// The longest a single test may take, in seconds.
    pub(super) test_seconds: u64,
    /// The factor on the tests' own time limits: emulation is slow.
    pub(super) patience: u32,
    /// How long the tests at full speed run, in seconds.
    pub(super) load_seconds: u32,
    /// Only tests whose name contains one of these; all where there is none.
    pub(super) filter: Vec<String>,
    /// Only this way of capture.
    pub(super) way: Option<Way>,
    pub(super) provoke: Option<Provoke>,
    /// A shell on the console instead of tests.
    pub(super) shell: bool,
    /// Arguments of the program that measures the ways of capture, instead of tests.
    pub(super) measure: Option<String>,
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "test-seconds {}", self.test_seconds)?;
        writeln!(f, "patience {}", self.patience)?;
        writeln!(f, "load-seconds {}", self.load_seconds)?;
        for filter in &self.filter {
            writeln!(f, "filter {filter}")?;
        }
        if let Some(way) = self.way {
            writeln!(f, "way {way}")?;
        }
        if let Some(name) = self.provoke.and_then(|p| p.to_possible_value()) {
            writeln!(f, "provoke {}", name.get_name())?;
        }
        if let Some(arguments) = &self.measure {
            writeln!(f, "measure {arguments}")?;
        }
        if self.shell {
            writeln!(f, "shell yes")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_set_is_written() {
        let job = Job { test_seconds: 60, patience: 4, load_seconds: 5, ..Job::default() };
        assert_eq!(job.to_string(), "test-seconds 60\npatience 4\nload-seconds 5\n");
        let job = Job { filter: vec!["http get".into()], provoke: Some(Provoke::Panic), shell: true, ..job };
        assert!(job.to_string().ends_with("filter http get\nprovoke panic\nshell yes\n"));
    }
}
