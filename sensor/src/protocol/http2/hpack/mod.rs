//! HPACK ([RFC 7541]), for a reader that may have missed something.
//!
//! The dynamic table is known from its newest entry on, as far back as every block was seen. An index beyond that is a
//! field that is not known: it is told as such, and never guessed. So a reader that joins in the middle, or has missed
//! a block, still knows what is in the static table, what is spelt out, and what is added from then on.
//!
//! Huffman codes are read by a crate; decoders that are kept end at an unknown index, so the rest is here.
//!
//! [RFC 7541]: https://www.rfc-editor.org/rfc/rfc7541

mod integer;
mod static_table;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, sync::Arc};

use httlib_huffman::DecoderSpeed;
use integer::Reader;
use static_table::TABLE;

/// The size of a table before it is told (section 6.5.2 of RFC 9113).
const TABLE_DEFAULT: usize = 4096;
/// The most that is kept of a table. What would be beyond is not known.
const TABLE_LIMIT: usize = 65_536;
/// What an entry counts beside its name and value (section 4.1).
const ENTRY_OVERHEAD: usize = 32;

/// A block that is no HPACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Name and value of a field line; `None` for what is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) name: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
}

/// A name or a value.
#[derive(Clone, Debug)]
enum Text {
    Static(&'static str),
    Owned(Arc<[u8]>),
}

impl Text {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Static(text) => text.as_bytes(),
            Self::Owned(bytes) => bytes,
        }
    }
}

/// An entry of the dynamic table. A name that was not known when it was added stays so.
#[derive(Clone, Debug)]
struct Entry {
    name: Option<Text>,
    value: Option<Text>,
}

impl Entry {
    /// What it counts; for what is not known nothing, so that nothing is dropped too early.
    fn size(&self) -> usize {
        let length = |text: &Option<Text>| text.as_ref().map_or(0, |text| text.bytes().len());
        length(&self.name) + length(&self.value) + ENTRY_OVERHEAD
    }
}

/// The decoder of one direction.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The newest first.
    entries: VecDeque<Entry>,
    size: usize,
    limit: usize,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { entries: VecDeque::new(), size: 0, limit: TABLE_DEFAULT }
    }

    /// Something was missed: nothing is known of the table, not even its size.
    pub(super) fn forget(&mut self) {
        self.entries.clear();
        self.size = 0;
        self.limit = TABLE_LIMIT;
    }

    /// Reads a block, or the first part of one that was cut.
    pub(super) fn read(
        &mut self,
        block: &[u8],
        is_cut: bool,
        mut tell: impl FnMut(Field<'_>),
    ) -> Result<(), Malformed> {
        let mut reader = Reader::new(block);
        let mut result = Ok(());
        while !reader.is_empty() && result.is_ok() {
            result = self.line(&mut reader, &mut tell);
        }
        if is_cut {
            // What the rest would have added is not known.
            self.forget();
            return Ok(());
        }
        if result.is_err() {
            self.forget();
        }
        result
    }

    /// One field line (section 6), or a new size of the table.
    fn line(&mut self, reader: &mut Reader<'_>, tell: &mut impl FnMut(Field<'_>)) -> Result<(), Malformed> {
        let first = reader.peek().ok_or(Malformed)?;
        if first & 0x80 != 0 {
            let entry = self.entry(reader.integer(7)?)?;
            tell_entry(&entry, tell);
        } else if first & 0x40 != 0 {
            let entry = self.literal(reader, 6)?;
            tell_entry(&entry, tell);
            self.add(entry);
        } else if first & 0x20 != 0 {
            self.limit = reader.integer(5)?.min(TABLE_LIMIT);
            self.evict();
        } else {
            let entry = self.literal(reader, 4)?;
            tell_entry(&entry, tell);
        }
        Ok(())
    }

    fn literal(&self, reader: &mut Reader<'_>, prefix: u32) -> Result<Entry, Malformed> {
        let name = match reader.integer(prefix)? {
            0 => Some(Text::Owned(text(reader)?)),
            index => self.entry(index)?.name,
        };
        Ok(Entry { name, value: Some(Text::Owned(text(reader)?)) })
    }

    /// The entry of an index; an unknown one beyond what is known of the dynamic table.
    fn entry(&self, index: usize) -> Result<Entry, Malformed> {
        let Some(place) = index.checked_sub(1) else { return Err(Malformed) };
        if let Some((name, value)) = TABLE.get(place) {
            return Ok(Entry { name: Some(Text::Static(name)), value: Some(Text::Static(value)) });
        }
        let known = self.entries.get(place - TABLE.len());
        Ok(known.cloned().unwrap_or(Entry { name: None, value: None }))
    }

    fn add(&mut self, entry: Entry) {
        self.size += entry.size();
        self.entries.push_front(entry);
        self.evict();
    }

    fn evict(&mut self) {
        while self.size > self.limit
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.size();
        }
    }
}

fn tell_entry(entry: &Entry, tell: &mut impl FnMut(Field<'_>)) {
    tell(Field { name: entry.name.as_ref().map(Text::bytes), value: entry.value.as_ref().map(Text::bytes) });
}

/// A string literal (section 5.2).
fn text(reader: &mut Reader<'_>) -> Result<Arc<[u8]>, Malformed> {
    let is_huffman = reader.peek().ok_or(Malformed)? & 0x80 != 0;
    let length = reader.integer(7)?;
    let bytes = reader.take(length)?;
    if !is_huffman {
        return Ok(bytes.into());
    }
    let mut plain = Vec::with_capacity(bytes.len() * 2);
    httlib_huffman::decode(bytes, &mut plain, DecoderSpeed::FiveBits).map_err(|_| Malformed)?;
    Ok(plain.into())
}
