//! Request header fields that are kept for spans.

/// The most field lines that are kept of one request.
const LIMIT: usize = 12;
/// The most bytes of a field value that are kept.
pub(super) const VALUE_LIMIT: usize = 1024;
/// The fields, beside `Host`.
const KEPT: [&str; 8] = [
    "user-agent",
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-sampled",
    "x-b3-flags",
];

/// Adds a field to `list` if it is one that is kept, and there is room.
pub(super) fn keep(list: &mut Vec<(&'static str, String)>, name: &[u8], value: &[u8]) {
    let kept = KEPT.into_iter().find(|kept| name.eq_ignore_ascii_case(kept.as_bytes()));
    if let Some(kept) = kept
        && list.len() < LIMIT
    {
        list.push((kept, text(value)));
    }
}

/// A value as text, cut at [`VALUE_LIMIT`].
pub(super) fn text(bytes: &[u8]) -> String {
    text_whole(&bytes[..bytes.len().min(VALUE_LIMIT)])
}

/// A value as text.
pub(super) fn text_whole(bytes: &[u8]) -> String {
    // Nearly all is UTF-8, which is seen faster than it is mended.
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}
