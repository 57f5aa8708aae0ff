//! Why the kernel side counted or dropped something: the slots of the per-CPU counter array `COUNTERS`.

/// One slot of the counter array. The daemon exports each by [`Counter::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Counter {
    /// Socket operations of a target that moved bytes.
    Operations = 0,
    /// Records written to the ring buffer.
    Records = 1,
    /// The ring buffer had no room for the first bytes of a request.
    RingFullRequest = 2,
    /// The ring buffer had no room for the first bytes of a response.
    RingFullResponse = 3,
    /// The ring buffer had no room for another record: a continuation of a head, a close, a process event.
    RingFullOther = 4,
    /// The map of connections was full, so a connection could not be followed.
    ConnectionsFull = 5,
    /// User memory could not be read (paged out, or unmapped by another thread meanwhile).
    UserMemory = 6,
    /// Bytes moved by a call whose buffers are not in user memory (`sendfile`, `splice`, `io_uring`) or not
    /// known (several messages in one `sendmmsg`): counted by length only.
    LengthOnly = 7,
    /// A vector of buffers was longer than the programs follow, and the head lay beyond.
    VectorTooLong = 8,
    /// Kernel memory at an offset that the BTF named could not be read.
    KernelMemory = 9,
    /// The map of system calls in progress was full, so a call was not seen.
    InFlightFull = 10,
    /// An operation had more HTTP/2 frames than the programs walk: where the next begins is found anew later.
    FramesTooMany = 11,
    /// Where an HTTP/2 frame should begin there is none: as above.
    FramesUnclear = 12,
    /// Card numbers masked before a record was written.
    CardsMasked = 13,
    /// The program that masks and tells a head could not be reached.
    Untold = 14,
    /// Plaintext of a TLS session that has not shown which socket is its own.
    TlsNoSocket = 15,
    /// Plaintext of a call in which another socket was touched than the session's own, several, or one that is not TLS.
    TlsUnclear = 16,
    /// Plaintext of a call that found no room to be looked at: others that were preempted on this processor had it.
    TlsBusy = 17,
}

impl Counter {
    /// All slots, in order.
    pub const ALL: [Self; Self::LEN as usize] = [
        Self::Operations,
        Self::Records,
        Self::RingFullRequest,
        Self::RingFullResponse,
        Self::RingFullOther,
        Self::ConnectionsFull,
        Self::UserMemory,
        Self::LengthOnly,
        Self::VectorTooLong,
        Self::KernelMemory,
        Self::InFlightFull,
        Self::FramesTooMany,
        Self::FramesUnclear,
        Self::CardsMasked,
        Self::Untold,
        Self::TlsNoSocket,
        Self::TlsUnclear,
        Self::TlsBusy,
    ];

    /// How many slots there are.
    pub const LEN: u32 = 18;

    /// Whether a count is something that was not seen; the others only tell what was.
    #[must_use]
    pub const fn is_loss(self) -> bool {
        !matches!(self, Self::Operations | Self::Records | Self::LengthOnly | Self::CardsMasked)
    }

    /// The slot's name in metrics, in `snake_case`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Operations => "operations",
            Self::Records => "records",
            Self::RingFullRequest => "ring_full_request",
            Self::RingFullResponse => "ring_full_response",
            Self::RingFullOther => "ring_full_other",
            Self::ConnectionsFull => "connections_full",
            Self::UserMemory => "user_memory",
            Self::LengthOnly => "length_only",
            Self::VectorTooLong => "vector_too_long",
            Self::KernelMemory => "kernel_memory",
            Self::InFlightFull => "in_flight_full",
            Self::FramesTooMany => "frames_too_many",
            Self::FramesUnclear => "frames_unclear",
            Self::CardsMasked => "cards_masked",
            Self::Untold => "untold",
            Self::TlsNoSocket => "tls_no_socket",
            Self::TlsUnclear => "tls_unclear",
            Self::TlsBusy => "tls_busy",
        }
    }
}
