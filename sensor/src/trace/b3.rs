//! The B3 headers of Zipkin (<https://github.com/openzipkin/b3-propagation>), single and multiple.

use super::context::{Fields, SAMPLED, TraceParent, hex, only};

/// What the B3 headers of a request say; `None` without a trace and a span.
pub(super) fn read(fields: Fields<'_>) -> Option<TraceParent> {
    if let Some(value) = only(fields, "b3") {
        return single(value);
    }
    let sampled = match only(fields, "x-b3-flags") {
        Some("1") => Some("d"),
        _ => only(fields, "x-b3-sampled"),
    };
    context(only(fields, "x-b3-traceid")?, only(fields, "x-b3-spanid")?, sampled)
}

/// `b3: {TraceId}-{SpanId}-{SamplingState}-{ParentSpanId}`, the last two optional.
fn single(value: &str) -> Option<TraceParent> {
    let mut parts = value.split('-');
    let (trace, span) = (parts.next()?, parts.next()?);
    let sampled = parts.next();
    let parent = parts.next();
    let is_whole = parts.next().is_none()
        && sampled.is_none_or(|state| matches!(state, "0" | "1" | "d"))
        && parent.is_none_or(|parent| hex::<8>(parent.as_bytes()).is_some());
    if is_whole { context(trace, span, sampled) } else { None }
}

/// A trace of 64 bits is the low half of one of 128. A decision that was not made is left to the receiver, and
/// the sensor keeps what it sees.
fn context(trace: &str, span: &str, sampled: Option<&str>) -> Option<TraceParent> {
    let mut trace_id = [0; 16];
    match trace.len() {
        16 => trace_id[8..].copy_from_slice(&hex::<8>(trace.as_bytes())?),
        _ => trace_id = hex(trace.as_bytes())?,
    }
    let parent_id: [u8; 8] = hex(span.as_bytes())?;
    if trace_id == [0; 16] || parent_id == [0; 8] {
        return None;
    }
    let flags = if matches!(sampled, Some("0" | "false")) { 0 } else { SAMPLED };
    Some(TraceParent { trace_id, parent_id, flags })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
    const SPAN: &str = "e457b5a2e4d86bd1";

    fn of(fields: &[(&'static str, &str)]) -> Option<TraceParent> {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        TraceParent::of(&fields)
    }

    #[test]
    fn the_single_header_is_read() {
        let value = format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90");
        let parent = of(&[("b3", &value)]).unwrap();
        assert_eq!((parent.trace_id[0], parent.parent_id[0], parent.flags), (0x80, 0xe4, SAMPLED));
        assert_eq!(of(&[("b3", &format!("{TRACE}-{SPAN}-0"))]).unwrap().flags, 0);
        assert_eq!(of(&[("b3", &format!("{TRACE}-{SPAN}-d"))]).unwrap().flags, SAMPLED);
        assert_eq!(of(&[("b3", &format!("{TRACE}-{SPAN}"))]).unwrap().flags, SAMPLED);
        let short = of(&[("b3", &format!("{SPAN}-{SPAN}"))]).unwrap();
        assert_eq!((short.trace_id[..8].to_vec(), short.trace_id[8]), (vec![0; 8], 0xe4));
    }

    #[test]
    fn several_headers_are_read() {
        let ids = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)];
        let with = |name, value| of(&[ids[0], ids[1], (name, value)]).unwrap().flags;
        assert_eq!(of(&ids).unwrap().flags, SAMPLED);
        assert_eq!(with("x-b3-sampled", "0"), 0);
        assert_eq!(with("x-b3-sampled", "1"), SAMPLED);
        assert_eq!(with("x-b3-flags", "1"), SAMPLED);
        assert_eq!(of(&ids[..1]), None);
    }

    #[test]
    fn traceparent_goes_first() {
        let w3c = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = of(&[("b3", &format!("{TRACE}-{SPAN}-1")), ("traceparent", w3c)]).unwrap();
        assert_eq!(parent.trace_id[0], 0x0a);
    }

    #[test]
    fn anything_else_is_refused() {
        for value in ["", "0", "1", "d", TRACE, &format!("{TRACE}-{SPAN}-2"), &format!("{TRACE}-{SPAN}-1-1")]
        {
            assert_eq!(of(&[("b3", value)]), None, "{value}");
        }
        let zeros = "0".repeat(16);
        assert_eq!(of(&[("b3", &format!("{zeros}-{SPAN}"))]), None);
        assert_eq!(of(&[("x-b3-traceid", TRACE), ("x-b3-spanid", &zeros)]), None);
    }
}
