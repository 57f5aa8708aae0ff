//! The records of one direction, of which not all bytes are seen.

/// Bytes of a record's header: type, version, length (RFC 8446, 5.1).
const HEADER: usize = 5;
/// `2^14 + 2048` (RFC 5246, 6.2.3); TLS 1.3 allows less.
const SIZE_MAX: u16 = (1 << 14) + 2048;

/// Records that matter.
pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;

/// What is found on the way.
pub(super) enum Piece<'a> {
    /// A record starts.
    Record { kind: u8, size: u16 },
    /// Bytes of a record's body.
    Body { kind: u8, bytes: &'a [u8] },
    /// Bytes of a record's body that were not seen.
    Missing { kind: u8 },
}

/// Where records begin is not known any more.
#[derive(Debug)]
pub(super) struct Lost;

/// Where the walk through one direction is.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Bytes of the stream passed.
    at: u64,
    header: [u8; HEADER],
    have: usize,
    kind: u8,
    /// Bytes left of the record's body.
    left: u16,
}

impl Lane {
    /// Bytes of the stream passed.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Whether its first bytes were no record: something else than TLS is spoken.
    pub(super) fn is_foreign(&self) -> bool {
        self.have == HEADER && self.at == HEADER as u64
    }

    /// Takes an operation of `length` bytes that starts at this offset of the stream, of which these were seen.
    pub(super) fn take(
        &mut self,
        offset: u64,
        bytes: &[u8],
        length: u32,
        mut visit: impl FnMut(Piece<'_>),
    ) -> Result<(), Lost> {
        self.pass(offset.checked_sub(self.at).ok_or(Lost)?, &mut visit)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.left > 0 {
                let (body, behind) = rest.split_at(rest.len().min(self.left.into()));
                visit(Piece::Body { kind: self.kind, bytes: body });
                self.advance(body.len());
                rest = behind;
                continue;
            }
            let wanted = HEADER - self.have;
            let (taken, behind) = rest.split_at(rest.len().min(wanted));
            if let Some(place) = self.header.get_mut(self.have..self.have + taken.len()) {
                place.copy_from_slice(taken);
            }
            self.have += taken.len();
            self.at += taken.len() as u64;
            rest = behind;
            if self.have == HEADER {
                let [kind, major, minor, high, low] = self.header;
                let size = u16::from_be_bytes([high, low]);
                let is_record = (CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&kind)
                    && major == 3
                    && minor <= 4
                    && (1..=SIZE_MAX).contains(&size);
                if !is_record {
                    return Err(Lost);
                }
                (self.kind, self.left, self.have) = (kind, size, 0);
                visit(Piece::Record { kind, size });
            }
        }
        let unseen = u64::from(length).checked_sub(bytes.len() as u64).ok_or(Lost)?;
        self.pass(unseen, &mut visit)
    }

    /// Passes bytes that were not seen: they must be of one record's body.
    fn pass(&mut self, unseen: u64, visit: &mut impl FnMut(Piece<'_>)) -> Result<(), Lost> {
        if unseen == 0 {
            return Ok(());
        }
        if unseen > u64::from(self.left) {
            return Err(Lost);
        }
        visit(Piece::Missing { kind: self.kind });
        self.advance(usize::try_from(unseen).map_err(|_| Lost)?);
        Ok(())
    }

    fn advance(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(u16::try_from(bytes).unwrap_or(u16::MAX));
        self.at += bytes as u64;
    }
}
