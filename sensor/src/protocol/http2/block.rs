//! Header blocks: HEADERS or PUSH_PROMISE, and the CONTINUATION frames behind it.

use sensor_common::http2::{CONTINUATION, END_HEADERS, END_STREAM, HEADERS, PRIORITY, PUSH_PROMISE};

use super::frame::Frame;

/// The most bytes of a block; what is beyond is cut.
const LIMIT: usize = 65_536;

/// A header block.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) stream: u32,
    pub(super) ends_stream: bool,
    /// It is of a request that was not asked.
    pub(super) is_push: bool,
    pub(super) bytes: Vec<u8>,
    /// There was more of it.
    pub(super) is_cut: bool,
    pub(super) began_ns: u64,
}

/// The block that a direction is in.
#[derive(Debug, Default)]
pub(super) struct Blocks(Option<Block>);

/// What a frame did to the block.
pub(super) enum Step {
    /// Nothing that is of use yet.
    Waiting,
    /// The block is there.
    Whole(Block),
    /// The frames are none that a sender may send.
    Wrong,
}

impl Blocks {
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }

    /// Takes a frame of one of the three types.
    pub(super) fn feed(&mut self, frame: &Frame<'_>) -> Step {
        let mut block = match (frame.kind, self.0.take()) {
            (CONTINUATION, Some(block)) if block.stream == frame.stream => block,
            (HEADERS | PUSH_PROMISE, None) if frame.stream != 0 => Block {
                stream: frame.stream,
                ends_stream: frame.kind == HEADERS && frame.has(END_STREAM),
                is_push: frame.kind == PUSH_PROMISE,
                began_ns: frame.began_ns,
                ..Block::default()
            },
            _ => return Step::Wrong,
        };
        let Some((length, part)) = fragment(frame) else { return Step::Wrong };
        let room = LIMIT - block.bytes.len();
        block.is_cut |= part.len() < length as usize || part.len() > room;
        // Behind a cut nothing can be read.
        if !block.is_cut || block.bytes.is_empty() {
            block.bytes.extend_from_slice(&part[..part.len().min(room)]);
        }
        if frame.has(END_HEADERS) {
            return Step::Whole(block);
        }
        self.0 = Some(block);
        Step::Waiting
    }
}

/// The part of the block in a frame: its length, and as much of it as is there.
fn fragment<'a>(frame: &Frame<'a>) -> Option<(u32, &'a [u8])> {
    if frame.kind == CONTINUATION {
        return Some((frame.length, frame.payload));
    }
    let (length, part) = frame.unpadded()?;
    let before = match frame.kind {
        HEADERS if frame.has(PRIORITY) => 5,
        PUSH_PROMISE => 4,
        _ => 0,
    };
    Some((length.checked_sub(before)?, part.get(before as usize..)?))
}
