//! What the capture is told before it starts.

use super::Capability;

/// A way into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// fentry and fexit on the TCP functions.
    Fentry,
    /// The tracepoints of socket operations, with the registers of the system call in progress.
    Socket,
    /// The tracepoints of system calls.
    Syscall,
}

impl Route {
    /// All routes, the most exact first, then the cheapest.
    pub const BEST_FIRST: [Self; 3] = [Self::Fentry, Self::Socket, Self::Syscall];

    /// Its name in the configuration, in metrics and in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Socket => "socket",
            Self::Syscall => "syscall",
        }
    }

    /// What it needs beside what the sensor always needs. Whether functions can be traced is seen when it is tried.
    pub(super) const fn needs(self) -> &'static [Capability] {
        match self {
            Self::Socket => &[Capability::CurrentTask, Capability::TaskRegisters],
            Self::Fentry | Self::Syscall => &[],
        }
    }
}

/// Settings of the capture, already validated.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The way in; `None` chooses by what the kernel allows.
    pub route: Option<Route>,
    /// Head bytes to capture of each message.
    pub head_bytes: u32,
    /// Size of the ring buffer in bytes; a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// The most connections to follow at a time.
    pub max_connections: u32,
    /// Size of the ring buffer of what containers write, in bytes; `None` leaves standard streams alone.
    pub log_ring_bytes: Option<u32>,
    /// What [`super::Capture::target`] does: a mode of [`sensor_common::target`].
    pub target_mode: u32,
    /// Whether TLS handshakes are told.
    pub tls: bool,
    /// Whether plaintext is read from OpenSSL's calls.
    pub plaintext: bool,
    /// Whether connections are followed below HTTP.
    pub flows: bool,
    /// Port of the name service whose clients are followed with the connections; 0 leaves them alone.
    pub dns_port: u16,
}
