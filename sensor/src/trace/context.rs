//! The `traceparent` header of W3C Trace Context.

use super::b3;
use crate::mask::without_cards;

/// In the flags of a trace: the caller may have recorded it.
pub(super) const SAMPLED: u8 = 1;
/// In the flags of a trace: the low 56 bits of its id are random (level 2 of the specification).
pub(super) const RANDOM: u8 = 2;

/// Length of the fields that every version has: `version-traceid-parentid-flags`.
const LENGTH: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;

/// What a valid `traceparent`, or the B3 headers in its place, say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceParent {
    /// The trace, never all zeros.
    pub trace_id: [u8; 16],
    /// The caller's span, never all zeros.
    pub parent_id: [u8; 8],
    /// The flags that the specification knows.
    pub flags: u8,
}

/// The kept header fields of a request: lower-case names and values.
pub(super) type Fields<'a> = &'a [(&'static str, String)];

/// The longest `tracestate` that is carried on. Section 3.3.1.5 of the specification asks for 512 characters at least;
/// a longer value may have been cut by the capture.
const STATE_LIMIT: usize = 1000;

impl TraceParent {
    /// Reads a header value as section 3.2.2 of the specification says: lower-case hex digits only, no id of zeros,
    /// version `00` exactly so long, a later version at least so long, and never `ff`.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let bytes = value.as_bytes();
        let (fields, rest) = bytes.split_at_checked(LENGTH)?;
        let [version] = hex(fields.get(..2)?)?;
        let fits = match version {
            0xff => false,
            0 => rest.is_empty(),
            _ => rest.first().is_none_or(|byte| *byte == b'-'),
        };
        let dashes = [2, 35, 52].iter().all(|place| fields.get(*place) == Some(&b'-'));
        if !fits || !dashes {
            return None;
        }
        let trace_id: [u8; 16] = hex(fields.get(3..35)?)?;
        let parent_id: [u8; 8] = hex(fields.get(36..52)?)?;
        let [flags] = hex(fields.get(53..55)?)?;
        if trace_id == [0; 16] || parent_id == [0; 8] {
            return None;
        }
        Some(Self { trace_id, parent_id, flags: flags & (SAMPLED | RANDOM) })
    }

    /// Whether both name the same span.
    pub(super) fn is_same_span(&self, other: &Self) -> bool {
        (self.trace_id, self.parent_id) == (other.trace_id, other.parent_id)
    }

    /// What a request says: its `traceparent`, else its B3 headers. More than one of a kind says nothing.
    #[must_use]
    pub fn of(fields: Fields<'_>) -> Option<Self> {
        only(fields, "traceparent").and_then(Self::parse).or_else(|| b3::read(fields))
    }
}

/// `tracestate` without card numbers, several fields joined as section 3.3.1.1 says. Empty when there is none, or none that
/// is certain.
pub(super) fn trace_state(fields: Fields<'_>) -> String {
    let values: Vec<&str> = fields
        .iter()
        .filter(|(name, value)| *name == "tracestate" && !value.is_empty())
        .map(|(_, value)| value.as_str())
        .collect();
    let state = values.join(",");
    let is_sane = state.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    if !is_sane || state.len() > STATE_LIMIT {
        return String::new();
    }
    // OpenTelemetry's own member holds numbers by which all nodes decide alike.
    let clean = |member: &str| match member.trim_start().starts_with("ot=") {
        true => member.to_owned(),
        false => without_cards(member),
    };
    state.split(',').map(clean).collect::<Vec<_>>().join(",")
}

/// The value of a field that is there once.
pub(super) fn only<'a>(fields: Fields<'a>, name: &str) -> Option<&'a str> {
    let mut values = fields.iter().filter(|(field, _)| *field == name);
    let (_, value) = values.next()?;
    values.next().is_none().then_some(value.as_str())
}

pub(super) fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(*pair.first()?)? << 4 | nibble(*pair.last()?)?;
    }
    Some(bytes)
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_valid_header_is_read() {
        let parent = TraceParent::parse(VALID).unwrap();
        assert_eq!(parent.trace_id[..2], [0x0a, 0xf7]);
        assert_eq!(parent.parent_id, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
        assert_eq!(parent.flags, SAMPLED);
        let unknown_flags = VALID.replace("-01", "-fe");
        assert_eq!(TraceParent::parse(&unknown_flags).unwrap().flags, RANDOM);
    }

    #[test]
    fn a_later_version_may_be_longer() {
        let later = VALID.replacen("00", "cc", 1);
        assert!(TraceParent::parse(&later).is_some());
        assert!(TraceParent::parse(&format!("{later}-what-comes")).is_some());
        assert!(TraceParent::parse(&format!("{later}.what-comes")).is_none());
    }

    #[test]
    fn anything_else_is_refused() {
        let zeros = |n| "0".repeat(n);
        for value in [
            "",
            "00",
            &VALID[..54],
            &format!("{VALID}-"),
            &format!("{VALID} "),
            &VALID.to_uppercase(),
            &VALID.replacen("00", "ff", 1),
            &VALID.replacen('-', "_", 1),
            &VALID.replace("-01", "-0g"),
            &format!("00-{}-b7ad6b7169203331-01", zeros(32)),
            &format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", zeros(16)),
            &"\u{e9}".repeat(28),
        ] {
            assert_eq!(TraceParent::parse(value), None, "{value:?}");
        }
    }

    #[test]
    fn two_headers_say_nothing() {
        let with = |n| {
            let fields = vec![("traceparent", VALID.to_owned()); n];
            TraceParent::of(&fields)
        };
        assert!(with(0).is_none());
        assert!(with(1).is_some());
        assert!(with(2).is_none());
    }

    #[test]
    fn states_are_joined() {
        let state = |values: &[&str]| {
            let fields: Vec<_> = values.iter().map(|value| ("tracestate", (*value).to_owned())).collect();
            trace_state(&fields)
        };
        assert_eq!(state(&["a=1", "", "b=2"]), "a=1,b=2");
        assert_eq!(state(&[]), "");
        assert_eq!(state(&["a=\u{fffd}"]), "");
        assert_eq!(state(&[&"x".repeat(STATE_LIMIT + 1)]), "");
        let (card, random) = ("till=4111111111111111", "ot=th:0;rv:62012345678901");
        assert_eq!(state(&[card, random]), "till=411111******1111,ot=th:0;rv:62012345678901");
    }
}
