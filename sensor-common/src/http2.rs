//! What the programs read of HTTP/2 frames ([RFC 9113]), and how they tell the daemon.
//!
//! The programs walk the frames of each direction and write down the frame headers that matter, each followed by as
//! much of its payload as [`captured`] says, one after the other, over as many records as it takes. Everything else,
//! above all what DATA frames carry, is passed over and never leaves the kernel.
//!
//! [RFC 9113]: https://www.rfc-editor.org/rfc/rfc9113

/// Bytes of a frame header: length (24 bits), type, flags, stream (31 bits), in network order.
pub const FRAME_HEADER: usize = 9;
/// Bytes of the client's connection preface.
pub const PREFACE: u32 = 24;
/// The most payload bytes of one frame that are captured: a longer header block is cut.
pub const PAYLOAD_MAX: u32 = 4096;

/// Frame types of RFC 9113 section 6.
pub const DATA: u8 = 0;
/// A header block begins.
pub const HEADERS: u8 = 1;
/// A stream is given up.
pub const RST_STREAM: u8 = 3;
/// Settings of the sender.
pub const SETTINGS: u8 = 4;
/// A header block of a request that was not asked.
pub const PUSH_PROMISE: u8 = 5;
/// The connection takes no more streams.
pub const GOAWAY: u8 = 7;
/// A header block goes on.
pub const CONTINUATION: u8 = 9;
/// No frame of the connection: the DATA frame with END_STREAM whose header was told before has now ended.
pub const DATA_ENDED: u8 = 0xff;

/// Flag of DATA and HEADERS: the last frame of its direction of the stream.
pub const END_STREAM: u8 = 0x1;
/// Flag of HEADERS, PUSH_PROMISE and CONTINUATION: the header block ends here.
pub const END_HEADERS: u8 = 0x4;
/// Flag of DATA, HEADERS and PUSH_PROMISE: the payload begins with a length of padding, and ends with padding.
pub const PADDED: u8 = 0x8;
/// Flag of HEADERS: five bytes of priority come before the block.
pub const PRIORITY: u8 = 0x20;

/// How much of a frame's payload is told, after its header; `None` when the frame is not told at all.
///
/// Of DATA that is the length of padding and the prefix of a gRPC message: a flag and a length of 32 bits.
#[inline(always)]
#[must_use]
pub const fn captured(kind: u8, flags: u8, length: u32) -> Option<u32> {
    let most = match kind {
        DATA if flags & PADDED != 0 => 6,
        DATA => 5,
        HEADERS | PUSH_PROMISE | CONTINUATION => PAYLOAD_MAX,
        RST_STREAM => 4,
        GOAWAY => 8,
        _ => return None,
    };
    Some(if length < most { length } else { most })
}

/// Where the walk through one direction's frames is, between two operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Way {
    /// The frame header, as far as it came.
    pub header: [u8; 16],
    /// Bytes of it.
    pub have: u32,
    /// Payload bytes of the frame that are still to be captured.
    pub copy: u32,
    /// Payload bytes behind them that are to be passed over.
    pub skip: u32,
    /// Records so far, and one more whenever something was missed: a record with an unexpected number tells that.
    pub sequence: u32,
    /// 1 while it is known where frames begin.
    pub is_synced: u32,
    /// Explicit padding.
    pub padding: u32,
}

/// The value of the map `HTTP2`: both directions of a connection, in and out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Ways {
    /// By direction.
    pub ways: [Way; 2],
}

const _: () = assert!(size_of::<Ways>() == 80);
