//! `proc_pid_stat(5)`: what the kernel tells of a process or a thread in one line.

use std::path::Path;

/// `PF_EXITING` of `include/linux/sched.h`.
const EXITING: u32 = 0x4;

/// The fields that are of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Field 9.
    flags: u32,
    /// Field 22: when it was started, in ticks since the machine was.
    pub start_ticks: u64,
}

impl Stat {
    /// Reads a line; `None` when it has another form.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        // The second field, the name in parentheses, may itself hold spaces and parentheses.
        let (_, rest) = line.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let flags = fields.nth(9 - 3)?.parse().ok()?;
        let start_ticks = fields.nth(22 - 9 - 1)?.parse().ok()?;
        Some(Self { flags, start_ticks })
    }

    /// Reads the line of a directory of a process or a thread; `None` when it is gone.
    #[must_use]
    pub fn of(directory: &Path) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(directory.join("stat")).ok()?)
    }

    /// Whether it has ended or has begun to, which the kernel notes before `sched_process_exit` is traced.
    #[must_use]
    pub const fn is_ending(self) -> bool {
        self.flags & EXITING != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let line = "7 (a) b (c)) S 1 7 7 0 -1 4194564 1 0 0 0 11 12 0 0 20 0 5 0 98765 1 2";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(stat, Stat { flags: 4_194_564, start_ticks: 98_765 });
        assert!(stat.is_ending());
        assert_eq!(Stat::parse("7 a"), None);
        assert_eq!(Stat::parse("7 (a) S 1 7"), None);
    }

    #[test]
    fn this_process_lives() {
        let (own, first) =
            (Stat::of(Path::new("/proc/self")).unwrap(), Stat::of(Path::new("/proc/1")).unwrap());
        assert!(!own.is_ending() && own.start_ticks >= first.start_ticks);
        assert_eq!(Stat::of(Path::new("/proc/2147418112")), None);
    }
}
