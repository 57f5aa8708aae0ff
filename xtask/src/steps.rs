//! Says what is being done, on standard error, with its place in the whole and the time it took.

use std::time::{Duration, Instant};

pub(crate) struct Steps {
    what: &'static str,
    total: usize,
    done: usize,
}

impl Steps {
    pub(crate) fn new(what: &'static str, total: usize) -> Self {
        Self { what, total, done: 0 }
    }

    /// Announces the next step, does it, and says how it ended.
    pub(crate) fn step<T, E>(&mut self, text: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.done += 1;
        let tag = format!("[{} {}/{}]", self.what, self.done, self.total);
        eprintln!("{tag} {text} …");
        let started = Instant::now();
        let result = work();
        let verdict = if result.is_ok() { "done" } else { "failed" };
        eprintln!("{tag} {text}: {verdict} ({})", seconds(started.elapsed()));
        result
    }

    /// Counts a step for which nothing is to do.
    pub(crate) fn skip(&mut self, text: &str) {
        self.done += 1;
        eprintln!("[{} {}/{}] {text}", self.what, self.done, self.total);
    }
}

/// A duration for a person: `0.4 s`, `12 s`, `3 min 5 s`.
pub(crate) fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 10..120 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(seconds(Duration::from_millis(430)), "0.4 s");
        assert_eq!(seconds(Duration::from_millis(12_900)), "12 s");
        assert_eq!(seconds(Duration::from_secs(185)), "3 min 5 s");
    }
}
