//! What is left to do for an operation when its hook has done its part. Programs of their own do it, reached by a tail
//! call: each has the whole stack, and is verified once, not once for every hook and path to it.

use sensor_common::connection::Direction;

/// What is to be done next for an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing.
    Done,
    /// The frames of what moved this way are to be walked.
    Walk(Direction),
    /// The head that was put together for this direction is to be masked and told.
    Tell(Direction),
    /// What moved this way is a message of the name service: it is to be masked and told.
    Dns(Direction),
}

impl Next {
    /// Where its program is in a map of programs: directions first.
    #[inline(always)]
    pub(crate) fn place(self) -> Option<u32> {
        match self {
            Self::Done => None,
            Self::Walk(direction) => Some(direction as u32),
            Self::Tell(direction) => Some(2 + direction as u32),
            Self::Dns(direction) => Some(4 + direction as u32),
        }
    }

    /// What [`Self::place`] is the place of.
    #[inline(always)]
    pub(crate) fn at(place: u32) -> Self {
        match place {
            0 => Self::Walk(Direction::Receive),
            1 => Self::Walk(Direction::Send),
            2 => Self::Tell(Direction::Receive),
            3 => Self::Tell(Direction::Send),
            4 => Self::Dns(Direction::Receive),
            5 => Self::Dns(Direction::Send),
            _ => Self::Done,
        }
    }
}
