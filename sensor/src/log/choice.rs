//! Which processes' standard streams are followed: what `--logs` says.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use crate::identity::{Container, Directory};

/// Whose standard streams are followed.
#[derive(Clone, Debug, Default)]
pub struct Followed {
    /// Processes that are chosen.
    pub choices: Vec<Choice>,
    /// Where the containers of pods are known from, whose streams are followed too.
    pub containers: Option<Arc<Directory>>,
    /// Of which pods.
    pub pods: Pods,
}

/// The pods whose containers are followed.
#[derive(Clone, Debug, Default)]
pub struct Pods {
    /// By namespace.
    pub namespaces: Names,
    /// By the name of their service.
    pub services: Names,
}

impl Pods {
    /// Whether a container is followed. One whose pod is not known is.
    pub(super) fn has(&self, container: &Container, service_name: &str) -> bool {
        container.pod.is_empty()
            || self.namespaces.has(&container.workload.namespace) && self.services.has(service_name)
    }
}

/// Some of all names.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// These; empty is all.
    pub only: Vec<String>,
    /// But not these.
    pub but: Vec<String>,
}

impl Names {
    pub(super) fn has(&self, name: &str) -> bool {
        let is_in = |names: &[String]| names.iter().any(|known| known == name);
        !is_in(&self.but) && (self.only.is_empty() || is_in(&self.only))
    }
}

/// One choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A process.
    Pid(u32),
    /// All processes that run a program of this name, as services are named or as its file is called.
    Command(String),
    /// All processes of a control group and those below it; its path from the root of the hierarchy.
    Cgroup(PathBuf),
}

/// Why a choice cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// Nothing was said.
    #[error("write a process id, a command or the path of a control group")]
    Empty,
    /// No process has such a number.
    #[error("{0} is no process id")]
    Pid(String),
}

/// Where the hierarchy of control groups is mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

impl FromStr for Choice {
    type Err = ChoiceError;

    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        if text.trim().is_empty() {
            return Err(ChoiceError::Empty);
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let pid = text.parse().ok().filter(|pid| *pid > 0);
            return pid.map(Self::Pid).ok_or_else(|| ChoiceError::Pid(text.to_owned()));
        }
        if text.starts_with('/') {
            let path = Path::new(text);
            let path = path.strip_prefix(CGROUPS).map_or(path.to_owned(), |below| Path::new("/").join(below));
            return Ok(Self::Cgroup(path));
        }
        Ok(Self::Command(text.to_owned()))
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pid(pid) => write!(f, "{pid}"),
            Self::Command(name) => f.write_str(name),
            Self::Cgroup(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What is known of a process.
pub(super) struct Process<'a> {
    pub(super) pid: u32,
    pub(super) service_name: &'a str,
    /// File name of its executable.
    pub(super) executable: &'a str,
    /// Path of its control group; asked for only where that matters.
    pub(super) cgroup: &'a dyn Fn() -> Option<PathBuf>,
}

impl Choice {
    pub(super) fn is(&self, process: &Process<'_>) -> bool {
        match self {
            Self::Pid(pid) => *pid == process.pid,
            Self::Command(name) => name == process.service_name || name == process.executable,
            Self::Cgroup(path) => (process.cgroup)().is_some_and(|of| of.starts_with(path)),
        }
    }
}

/// The control group of a process (`cgroups(7)`): the line `0::/path`, of version 2.
pub(super) fn cgroup(pid: u32) -> Option<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_a_number_a_name_or_a_path() {
        assert_eq!("42".parse(), Ok(Choice::Pid(42)));
        assert_eq!("nginx".parse(), Ok(Choice::Command("nginx".to_owned())));
        assert_eq!("/sys/fs/cgroup/pods/a".parse(), Ok(Choice::Cgroup("/pods/a".into())));
        assert_eq!("/pods/a".parse(), Ok(Choice::Cgroup("/pods/a".into())));
        assert!("0".parse::<Choice>().unwrap_err().to_string().contains("no process id"));
        assert_eq!("".parse::<Choice>(), Err(ChoiceError::Empty));
    }

    #[test]
    fn what_is_left_out_goes_before_what_is_chosen() {
        let names = |only: &[&str], but: &[&str]| Names {
            only: only.iter().map(ToString::to_string).collect(),
            but: but.iter().map(ToString::to_string).collect(),
        };
        assert!(Names::default().has("shop") && names(&[], &["till"]).has("shop"));
        assert!(names(&["shop", "till"], &[]).has("till") && !names(&["shop"], &[]).has("till"));
        assert!(!names(&["shop"], &["shop"]).has("shop") && !names(&[], &["shop"]).has("shop"));
    }

    #[test]
    fn a_group_has_those_below_it_and_no_namesake() {
        let is = |path: &'static str| {
            Choice::Cgroup("/pods/a".into()).is(&Process {
                pid: 1,
                service_name: "x",
                executable: "x",
                cgroup: &|| Some(path.into()),
            })
        };
        assert!(is("/pods/a") && is("/pods/a/b"));
        assert!(!is("/pods/ab") && !is("/pods"));
    }
}
