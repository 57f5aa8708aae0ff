//! How often the kernel did not run a program: what it hides from the sensor.
//!
//! A program does not run while the same program, or for some kinds any other, runs on the same processor. The kernel
//! counts that for each program (`bpf_prog_inc_misses_counter`) and shows the count as `recursion_misses` in the
//! `fdinfo` of its descriptor since 5.12. Kernels before that skip none of the programs that the sensor uses.

use std::{fs, os::fd::AsRawFd as _, path::PathBuf};

use aya::Ebpf;

/// Where the count of each loaded program is shown.
#[derive(Debug)]
pub(super) struct Missed {
    programs: Vec<(String, PathBuf)>,
}

impl Missed {
    /// Of the programs that are loaded now.
    pub(super) fn of(ebpf: &Ebpf) -> Self {
        use std::os::fd::AsFd as _;
        let mut programs: Vec<_> = ebpf
            .programs()
            .filter_map(|(name, program)| {
                let descriptor = program.fd().ok()?.as_fd().as_raw_fd();
                Some((name.to_owned(), PathBuf::from(format!("/proc/self/fdinfo/{descriptor}"))))
            })
            .collect();
        programs.sort();
        Self { programs }
    }

    /// How often each program was skipped so far; nothing for one of which the kernel does not tell.
    pub(super) fn read(&self) -> impl Iterator<Item = (&str, u64)> {
        self.programs
            .iter()
            .filter_map(|(name, path)| Some((name.as_str(), parse(&fs::read_to_string(path).ok()?)?)))
    }
}

/// From the lines of `bpf_prog_show_fdinfo`.
fn parse(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_count_is_read() {
        let text =
            "pos:\t0\nflags:\t02000002\nprog_type:\t17\nprog_jited:\t1\nrun_cnt:\t0\nrecursion_misses:\t42\n";
        assert_eq!(parse(text), Some(42));
        assert_eq!(parse("pos:\t0\nprog_type:\t17\n"), None, "before 5.12");
        assert_eq!(parse("recursion_misses:\tmany\n"), None);
    }
}
