//! Why a connection failed.

/// The reason, as the kernel left it in the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The other end has no listener there, and said so.
    Refused,
    /// Nobody answered.
    Timeout,
    /// There is no way there, by this host's or a router's word.
    Unreachable,
    /// The other end cut the connection.
    Reset,
    /// This end gave up by itself.
    Aborted,
    /// Something else.
    Other,
}

impl Failure {
    /// From a number of `errno.h`; `None` when there is no error.
    #[must_use]
    pub const fn of(error: i32) -> Option<Self> {
        Some(match error {
            0 => return None,
            libc::ECONNREFUSED => Self::Refused,
            libc::ETIMEDOUT => Self::Timeout,
            libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::ENETDOWN
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::ENOPROTOOPT => Self::Unreachable,
            // `EPIPE` is what a reset leaves after the end of the stream (`tcp_reset`).
            libc::ECONNRESET | libc::EPIPE => Self::Reset,
            libc::ECONNABORTED => Self::Aborted,
            _ => Self::Other,
        })
    }

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Reset => "reset",
            Self::Aborted => "aborted",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_their_reasons() {
        assert_eq!(Failure::of(0), None);
        assert_eq!(Failure::of(111), Some(Failure::Refused));
        assert_eq!(Failure::of(110), Some(Failure::Timeout));
        assert_eq!(Failure::of(113), Some(Failure::Unreachable));
        assert_eq!(Failure::of(104), Some(Failure::Reset));
        assert_eq!(Failure::of(1), Some(Failure::Other));
    }
}
