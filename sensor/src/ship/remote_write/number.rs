//! Bounds of buckets as label values.

/// The value of `le`, spelled as in the text exposition: so a series has one name on both ways.
pub(super) fn bound(bound: f64) -> String {
    if bound.is_infinite() { "+Inf".to_owned() } else { bound.to_string() }
}
