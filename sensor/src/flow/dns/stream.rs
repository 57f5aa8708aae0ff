//! Messages of a TCP stream: each has its length before it, in two bytes (RFC 1035 4.2.2). Operations may end anywhere.

use sensor_common::flow::DNS_CAPACITY;

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// What came of the length of the message under way.
    prefix: Vec<u8>,
    /// Bytes of the message that have not come; `None` while its length has not.
    left: Option<usize>,
    /// The start of the message.
    held: Vec<u8>,
    /// Whether something of it was not captured, so that what follows is not its start.
    has_gap: bool,
}

/// Bytes of a message's length.
const PREFIX: usize = 2;
/// Bytes of a message that are kept.
const KEPT: usize = DNS_CAPACITY as usize;

/// Where the next message begins is not known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost;

impl Stream {
    /// Takes an operation of `length` bytes, of which the first were captured; each message that has come whole goes to
    /// `sink`, as far as it was captured.
    pub(super) fn take(
        &mut self,
        mut bytes: &[u8],
        length: usize,
        mut sink: impl FnMut(&[u8]),
    ) -> Result<(), Lost> {
        let mut unseen = length.saturating_sub(bytes.len());
        while !bytes.is_empty() || unseen > 0 {
            let Some(mut left) = self.left(&mut bytes) else {
                return if unseen == 0 { Ok(()) } else { Err(Lost) };
            };
            let (seen, rest) = bytes.split_at(left.min(bytes.len()));
            if !self.has_gap {
                self.held.extend(seen.iter().take(KEPT - self.held.len()));
            }
            bytes = rest;
            left -= seen.len();
            let passed = left.min(unseen);
            self.has_gap |= passed > 0;
            unseen -= passed;
            left -= passed;
            self.left = Some(left);
            if left == 0 {
                sink(&self.held);
                *self = Self::default();
            }
        }
        Ok(())
    }

    /// Bytes of the message under way that have not come, once its length has.
    fn left(&mut self, bytes: &mut &[u8]) -> Option<usize> {
        if self.left.is_none() {
            let (more, rest) = bytes.split_at((PREFIX - self.prefix.len()).min(bytes.len()));
            self.prefix.extend_from_slice(more);
            *bytes = rest;
            let length = <[u8; PREFIX]>::try_from(&*self.prefix).ok()?;
            self.left = Some(usize::from(u16::from_be_bytes(length)));
        }
        self.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(lengths: &[usize]) -> (Vec<u8>, Vec<Vec<u8>>) {
        let whole: Vec<Vec<u8>> = lengths
            .iter()
            .map(|length| (0..*length).map(|at| u8::try_from(at % 251).unwrap()).collect())
            .collect();
        let wire = whole
            .iter()
            .flat_map(|message| [&u16::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat())
            .collect();
        let kept = whole.into_iter().map(|mut message| {
            message.truncate(DNS_CAPACITY as usize);
            message
        });
        (wire, kept.collect())
    }

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let (wire, expected) = messages(&[17, 1, 1231, 1232, 1233, 5000, 40]);
        for size in [1, 2, 3, 7, 100, 1232, 4096, wire.len()] {
            let (mut stream, mut found) = (Stream::default(), Vec::new());
            for piece in wire.chunks(size) {
                stream.take(piece, piece.len(), |message| found.push(message.to_vec())).unwrap();
            }
            assert_eq!(found, expected, "pieces of {size}");
        }
    }

    #[test]
    fn the_rest_of_an_operation_may_be_unseen_within_a_message() {
        let (wire, _) = messages(&[3000, 10]);
        let (mut stream, mut found) = (Stream::default(), Vec::new());
        let mut take = |bytes: &[u8], length| stream.take(bytes, length, |message| found.push(message.len()));
        assert_eq!(take(&wire[..1232], 2000), Ok(()));
        assert_eq!(take(&wire[2000..3002], 1002), Ok(()));
        assert_eq!(take(&wire[3002..], 12), Ok(()));
        assert_eq!(found, [1230, 10]);
    }

    #[test]
    fn what_is_unseen_beyond_a_message_is_lost() {
        let (wire, _) = messages(&[1500, 10]);
        let mut stream = Stream::default();
        assert_eq!(stream.take(&wire[..1232], wire.len(), |_| {}), Err(Lost));
        assert_eq!(Stream::default().take(&[0], 5, |_| {}), Err(Lost));
    }

    #[test]
    fn a_length_of_nothing_is_a_message_of_nothing() {
        let (mut stream, mut found) = (Stream::default(), Vec::new());
        stream.take(&[0, 0, 0, 1, 7], 5, |message| found.push(message.to_vec())).unwrap();
        assert_eq!(found, [vec![], vec![7]]);
    }
}
