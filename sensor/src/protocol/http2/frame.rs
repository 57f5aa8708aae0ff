//! Frames, as far as the kernel side tells them.

use sensor_common::http2::{FRAME_HEADER, PADDED, captured};

/// A frame of which everything is there that is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    /// Bytes of the payload.
    pub(super) length: u32,
    /// The first of them.
    pub(super) payload: &'a [u8],
    /// When the frame began.
    pub(super) began_ns: u64,
}

impl<'a> Frame<'a> {
    pub(super) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What lies between the length of padding and the padding: its length, and as much of it as is there. `None` where
    /// the padding is longer than the frame, which is an error of the sender.
    pub(super) fn unpadded(&self) -> Option<(u32, &'a [u8])> {
        if !self.has(PADDED) {
            return Some((self.length, self.payload));
        }
        let (padding, payload) = self.payload.split_first()?;
        let length = self.length.checked_sub(1 + u32::from(*padding))?;
        let there = payload.len().min(length as usize);
        Some((length, &payload[..there]))
    }
}

/// Puts together what comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    began_ns: u64,
}

impl Frames {
    /// Something was missed: the next byte begins a frame.
    pub(super) fn forget(&mut self) {
        self.bytes.clear();
    }

    /// Takes the bytes of a record.
    pub(super) fn feed(&mut self, mut bytes: &[u8], time_ns: u64, mut tell: impl FnMut(Frame<'_>)) {
        loop {
            let whole = self.whole();
            let missing = whole - self.bytes.len();
            if self.bytes.is_empty() && !bytes.is_empty() {
                self.began_ns = time_ns;
            }
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            self.bytes.extend_from_slice(taken);
            bytes = rest;
            if self.bytes.len() < whole {
                return;
            }
            if self.whole() > whole {
                continue;
            }
            if let Some(frame) = self.frame() {
                tell(frame);
            }
            self.bytes.clear();
        }
    }

    /// Bytes that are needed for now: the header, and then what is told of the payload.
    fn whole(&self) -> usize {
        match self.frame() {
            Some(frame) => {
                FRAME_HEADER + captured(frame.kind, frame.flags, frame.length).unwrap_or(0) as usize
            }
            None => FRAME_HEADER,
        }
    }

    fn frame(&self) -> Option<Frame<'_>> {
        let (header, payload) = self.bytes.split_first_chunk::<FRAME_HEADER>()?;
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *header;
        Some(Frame {
            kind,
            flags,
            // The highest bit is reserved.
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff,
            length: u32::from_be_bytes([0, l0, l1, l2]),
            payload,
            began_ns: self.began_ns,
        })
    }
}
