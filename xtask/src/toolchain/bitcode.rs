//! Who wrote a file of LLVM bitcode.
//!
//! A module begins with an identification block (LLVM Bitcode File Format, "Identification Block"). LLVM's writer
//! always lays it out alike: the magic, the block's header up to bit 96, one abbreviation, and from bit 128 the
//! producer's name as an array: its length as a VBR6, then its characters, six bits each.

const MAGIC: &[u8] = b"BC\xC0\xDE";
const LENGTH_AT: usize = 128;
const CHARACTER_BITS: usize = 6;
/// A VBR6 holds five bits of the value; the sixth says that more follow, which no producer's name needs.
const MORE: u8 = 1 << 5;
const ALPHABET: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._";

/// The producer, such as `LLVM22.1.8`, or `None` for what is laid out otherwise.
pub(crate) fn producer(bitcode: &[u8]) -> Option<String> {
    if !bitcode.starts_with(MAGIC) {
        return None;
    }
    let length = six_bits(bitcode, LENGTH_AT)?;
    if length & MORE != 0 {
        return None;
    }
    let name: Option<String> = (1..=usize::from(length))
        .map(|index| {
            let character = six_bits(bitcode, LENGTH_AT + index * CHARACTER_BITS)?;
            Some(char::from(ALPHABET[usize::from(character)]))
        })
        .collect();
    name.filter(|name| name.starts_with("LLVM"))
}

/// Six bits from a bit offset; the stream counts from the lowest bit of each byte.
fn six_bits(bytes: &[u8], at: usize) -> Option<u8> {
    let low = u16::from(*bytes.get(at / 8)?);
    let high = u16::from(bytes.get(at / 8 + 1).copied().unwrap_or(0));
    let [value, _] = (((high << 8 | low) >> (at % 8)) & 0x3f).to_le_bytes();
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sets the header aside and packs a name as LLVM's writer does.
    fn written_by(name: &str) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.resize(LENGTH_AT / 8 + 24, 0);
        let length = u8::try_from(name.len()).unwrap();
        let characters = name
            .bytes()
            .map(|byte| u8::try_from(ALPHABET.iter().position(|&known| known == byte).unwrap()).unwrap());
        for (index, value) in std::iter::once(length).chain(characters).enumerate() {
            for bit in 0..CHARACTER_BITS {
                let at = LENGTH_AT + index * CHARACTER_BITS + bit;
                bytes[at / 8] |= (value >> bit & 1) << (at % 8);
            }
        }
        bytes
    }

    #[test]
    fn the_producer_is_read() {
        assert_eq!(producer(&written_by("LLVM22.1.8")).as_deref(), Some("LLVM22.1.8"));
    }

    #[test]
    fn other_bytes_have_no_producer() {
        assert_eq!(producer(b""), None);
        assert_eq!(producer(b"\x7fELF and so on, long enough to be read"), None);
        assert_eq!(producer(&written_by("clang19")), None);
        assert_eq!(producer(&written_by("LLVM22.1.8")[..20]), None);
        assert_eq!(producer(&[MAGIC, &[0xff; 40]].concat()), None);
    }
}
