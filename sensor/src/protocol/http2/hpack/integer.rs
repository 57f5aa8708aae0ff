//! Bytes and prefixed integers (RFC 7541 section 5.1).

use super::Malformed;

/// No integer of a block that is captured is as large as this.
const LIMIT: usize = 1 << 24;

/// A place in a block.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    /// An integer whose first `prefix` bits (1 to 8) are the low ones of the next byte.
    pub(super) fn integer(&mut self, prefix: u32) -> Result<usize, Malformed> {
        let mask = (1_usize << prefix) - 1;
        let first = usize::from(self.byte()?) & mask;
        if first < mask {
            return Ok(first);
        }
        let mut value = first;
        let mut shift = 0;
        loop {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if value > LIMIT {
                return Err(Malformed);
            }
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
            if shift > 21 {
                return Err(Malformed);
            }
        }
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let [byte] = self.take(1)? else { return Err(Malformed) };
        Ok(*byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification() {
        // Appendix C.1.
        assert_eq!(Reader::new(&[0b0000_1010]).integer(5), Ok(10));
        assert_eq!(Reader::new(&[0b0001_1111, 0b1001_1010, 0b0000_1010]).integer(5), Ok(1337));
        assert_eq!(Reader::new(&[42]).integer(8), Ok(42));
    }

    #[test]
    fn what_is_too_large_or_cut_is_refused() {
        assert_eq!(Reader::new(&[0xff]).integer(7), Err(Malformed));
        assert_eq!(Reader::new(&[]).integer(7), Err(Malformed));
        assert_eq!(Reader::new(&[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff]).integer(7), Err(Malformed));
        assert_eq!(Reader::new(&[0x7f, 0xff, 0xff, 0xff, 0x7f]).integer(7), Err(Malformed));
        assert_eq!(Reader::new(&[0x7f, 0x80, 0x80, 0x80, 0x80, 0x80, 0]).integer(7), Err(Malformed));
    }
}
