//! The ways of capture, as the sensor's `capture.route` names them.

use std::fmt;

use clap::ValueEnum;

/// How the sensor learns of socket operations. `auto` is no way: it chooses one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    Fentry,
    Socket,
    Syscall,
}

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::Fentry, Self::Socket, Self::Syscall];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Socket => "socket",
            Self::Syscall => "syscall",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|w| w.name() == name)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
