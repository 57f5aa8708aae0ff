//! Why an exchange was not told, or not told whole.

/// One cause. Each is a counter of [`LossCounts`].
///
/// Every request whose beginning was seen ends as exactly one [`super::Exchange`] or in exactly one of the causes
/// for which [`Loss::loses_request`] holds. The other causes tell of bytes or detail, not of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Loss {
    /// A head was longer than what was captured of it. The exchange is told with what is known; sizes are not.
    TruncatedHead,
    /// A start line was followed by something that is no header section. As for a truncated head.
    MalformedHead,
    /// Bytes where a message should have begun are no HTTP/1 message: another protocol, or rubbish.
    Unparsed,
    /// A response came for which no request is known: that request was lost, or is older than the sensor.
    UnmatchedResponse,
    /// A start line was cut before the method or the status was known.
    CutStartLine,
    /// Bytes of the response went by, but its head was not among the events.
    LostResponse,
    /// The kernel forgot the connection, and how it ended was not among the events.
    LostClose,
    /// Events were lost on a connection where requests overtake responses, so the ones cannot be assigned to
    /// the others with certainty.
    Desynchronized,
    /// More requests waited on one connection than [`super::TrackerConfig::max_pending_per_connection`].
    PipelineOverflow,
    /// The connection was forgotten for a newer one while the request waited.
    EvictedConnection,
    /// An upgraded or desynchronized connection was forgotten for a newer one; no request waited on it.
    ForgottenConnection,
    /// Nothing moved on the connection for [`super::TrackerConfig::pair_timeout`] while the request waited.
    PairTimeout,
    /// Records of HTTP/2 frames did not come: the streams that were open are doubtful.
    MissedFrames,
    /// The method or the path of an HTTP/2 request is not known: the connection is older than the sensor, or records
    /// did not come. The exchange is told as `*`.
    UnknownName,
    /// The sensor stopped while the request waited.
    Shutdown,
}

impl Loss {
    /// All causes, in order.
    pub const ALL: [Self; 15] = [
        Self::TruncatedHead,
        Self::MalformedHead,
        Self::Unparsed,
        Self::UnmatchedResponse,
        Self::CutStartLine,
        Self::LostResponse,
        Self::LostClose,
        Self::Desynchronized,
        Self::PipelineOverflow,
        Self::EvictedConnection,
        Self::ForgottenConnection,
        Self::PairTimeout,
        Self::MissedFrames,
        Self::UnknownName,
        Self::Shutdown,
    ];

    /// The cause's name in metrics, in `snake_case`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TruncatedHead => "truncated_head",
            Self::MalformedHead => "malformed_head",
            Self::Unparsed => "unparsed",
            Self::UnmatchedResponse => "unmatched_response",
            Self::CutStartLine => "cut_start_line",
            Self::LostResponse => "lost_response",
            Self::LostClose => "lost_close",
            Self::Desynchronized => "desynchronized",
            Self::PipelineOverflow => "pipeline_overflow",
            Self::EvictedConnection => "evicted_connection",
            Self::ForgottenConnection => "forgotten_connection",
            Self::PairTimeout => "pair_timeout",
            Self::MissedFrames => "missed_frames",
            Self::UnknownName => "unknown_name",
            Self::Shutdown => "shutdown",
        }
    }

    /// Whether each count is one request that was seen and is not told.
    #[must_use]
    pub const fn loses_request(self) -> bool {
        match self {
            Self::TruncatedHead
            | Self::MalformedHead
            | Self::Unparsed
            | Self::UnmatchedResponse
            | Self::MissedFrames
            | Self::UnknownName
            | Self::ForgottenConnection => false,
            Self::CutStartLine
            | Self::LostResponse
            | Self::LostClose
            | Self::Desynchronized
            | Self::PipelineOverflow
            | Self::EvictedConnection
            | Self::PairTimeout
            | Self::Shutdown => true,
        }
    }
}

/// A counter for each [`Loss`], since the tracker was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LossCounts([u64; Loss::ALL.len()]);

impl LossCounts {
    /// The count of one cause.
    #[must_use]
    pub const fn get(&self, loss: Loss) -> u64 {
        self.0[loss as usize]
    }

    /// Every cause with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Loss, u64)> + '_ {
        Loss::ALL.into_iter().map(|loss| (loss, self.get(loss)))
    }

    /// Requests that were seen and are not told.
    #[must_use]
    pub fn lost_requests(&self) -> u64 {
        self.iter().filter(|(loss, _)| loss.loses_request()).map(|(_, count)| count).sum()
    }

    pub(super) const fn add(&mut self, loss: Loss) {
        self.0[loss as usize] += 1;
    }
}
