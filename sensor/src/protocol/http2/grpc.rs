//! gRPC over HTTP/2 (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).

/// Bytes before each message: whether it is compressed, and its length.
const PREFIX: u32 = 5;

/// Whether a `content-type` is that of gRPC: `application/grpc`, with or without a suffix.
pub(super) fn is_content_type(value: &[u8]) -> bool {
    let rest = value.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Length-prefixed messages in one direction of a stream. Of each DATA frame only the first bytes are told, so the
/// messages are counted as long as they begin at a frame's beginning.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Messages {
    count: u64,
    left: u64,
    is_unknown: bool,
    first_ns: Option<u64>,
}

impl Messages {
    /// Takes a DATA frame: its length without padding and its first bytes.
    pub(super) fn data(&mut self, length: u32, first: &[u8], time_ns: u64) {
        if self.is_unknown || length == 0 {
            return;
        }
        let within = self.left.min(u64::from(length));
        self.left -= within;
        if within == u64::from(length) {
            return;
        }
        let (true, Some([_, l0, l1, l2, l3])) = (within == 0, first.first_chunk()) else {
            self.is_unknown = true;
            return;
        };
        self.first_ns.get_or_insert(time_ns);
        self.count += 1;
        let whole = u64::from(PREFIX) + u64::from(u32::from_be_bytes([*l0, *l1, *l2, *l3]));
        match whole.checked_sub(u64::from(length)) {
            Some(left) => self.left = left,
            None => self.is_unknown = true,
        }
    }

    /// Something was missed.
    pub(super) fn forget(&mut self) {
        self.is_unknown = true;
    }

    /// How many there were, if all were seen.
    pub(super) fn count(&self) -> Option<u64> {
        (!self.is_unknown && self.left == 0).then_some(self.count)
    }

    /// When the first one began.
    pub(super) fn first_ns(&self) -> Option<u64> {
        self.first_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_where_frames_begin_with_them() {
        let mut messages = Messages::default();
        messages.data(7, &[0, 0, 0, 0, 2], 10);
        messages.data(0, &[], 11);
        messages.data(16_384, &[0, 0, 0, 0x80, 0], 12);
        assert_eq!(messages.count(), None, "the second one goes on");
        messages.data(16_389, &[1, 2, 3, 4, 5], 13);
        assert_eq!((messages.count(), messages.first_ns()), (Some(2), Some(10)));
    }

    #[test]
    fn two_messages_in_one_frame_are_not_guessed() {
        let mut messages = Messages::default();
        messages.data(14, &[0, 0, 0, 0, 2], 10);
        messages.data(7, &[0, 0, 0, 0, 2], 11);
        assert_eq!(messages.count(), None);
        let mut messages = Messages::default();
        messages.data(3, &[0, 0, 0], 10);
        assert_eq!(messages.count(), None);
    }

    #[test]
    fn content_types_are_told_apart() {
        assert!(is_content_type(b"application/grpc"));
        assert!(is_content_type(b"application/grpc+proto"));
        assert!(!is_content_type(b"application/grpc-web"));
        assert!(!is_content_type(b"application/json"));
    }
}
