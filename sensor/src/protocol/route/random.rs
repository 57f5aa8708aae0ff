//! Does a word look random?

/// Shorter words are never taken for random ones.
const SHORTEST: usize = 10;
/// Longer words with a digit always are.
const LONG_WITH_DIGIT: usize = 32;
/// Longer words always are.
const LONG: usize = 40;

/// Whether letters and digits follow each other as they do not in words.
///
/// Counted are the places where the kind changes: lower case, upper case, digit; but not a capital before a small
/// letter, which begins a word. Random base-62 has that at 0.44 of its places, base-36 at 0.40, base-32 at
/// 0.30; `getUserByIdAndName` at 0.24, `iphone15promax` at 0.15.
pub(super) fn is_random(word: &str) -> bool {
    let bytes = word.as_bytes();
    let length = bytes.len();
    if length < SHORTEST || !bytes.iter().all(u8::is_ascii_alphanumeric) {
        return false;
    }
    let has_digit = bytes.iter().any(u8::is_ascii_digit);
    if length > LONG || length >= LONG_WITH_DIGIT && has_digit || is_ulid(bytes) {
        return true;
    }
    let changes = bytes.windows(2).filter(|pair| is_change(pair[0], pair[1])).count();
    // Without digits only a long word is judged, for camel case comes near.
    if has_digit {
        10 * changes >= 3 * (length - 1)
    } else {
        length >= 16 && 100 * changes >= 32 * (length - 1)
    }
}

fn is_change(first: u8, second: u8) -> bool {
    let kind = |byte: u8| (byte.is_ascii_digit(), byte.is_ascii_uppercase());
    kind(first) != kind(second) && !(first.is_ascii_uppercase() && second.is_ascii_lowercase())
}

/// 26 characters of Crockford's base 32, the first at most 7.
fn is_ulid(bytes: &[u8]) -> bool {
    bytes.len() == 26
        && matches!(bytes[0], b'0'..=b'7')
        && bytes.iter().all(|byte| {
            byte.is_ascii_digit() || byte.is_ascii_uppercase() && !matches!(byte, b'I' | b'L' | b'O' | b'U')
        })
}
