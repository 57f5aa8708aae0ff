//! Label sets.

use std::borrow::Cow;

/// The longest label value, in bytes.
pub const VALUE_MAX: usize = 256;

/// The labels of a series: sorted by name, no name twice, no empty value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Labels(Box<[(&'static str, Box<str>)]>);

impl Labels {
    /// Makes a label set; pairs with an empty value are left out, as an absent label and an empty one are the same
    /// in Prometheus. Values are sanitised.
    #[must_use]
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'static str, Cow<'a, str>)>) -> Self {
        let mut labels: Vec<(&'static str, Box<str>)> = pairs
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name, sanitise(&value).into()))
            .collect();
        labels.sort_unstable_by_key(|(name, _)| *name);
        labels.dedup_by_key(|(name, _)| *name);
        Self(labels.into())
    }

    /// The pairs, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, &**value))
    }

    /// The value of a label, empty when it is absent.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }
}

/// A value as labels carry it: at most [`VALUE_MAX`] bytes, control characters replaced by U+FFFD.
///
/// Whatever becomes part of a series' key goes through here first, or two keys could end in the same labels.
#[must_use]
pub fn sanitise(value: &str) -> Cow<'_, str> {
    let value = value.get(..value.floor_char_boundary(VALUE_MAX)).unwrap_or(value);
    if !value.chars().any(char::is_control) {
        return Cow::Borrowed(value);
    }
    let mut clean = String::with_capacity(VALUE_MAX);
    for character in value.chars() {
        let character = if character.is_control() { char::REPLACEMENT_CHARACTER } else { character };
        if clean.len() + character.len_utf8() > VALUE_MAX {
            break;
        }
        clean.push(character);
    }
    Cow::Owned(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_never_empty() {
        let labels = Labels::new([("b", "2".into()), ("c", "".into()), ("a", "1".into())]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!(labels.get("a"), "1");
        assert_eq!(labels.get("c"), "");
    }

    #[test]
    fn a_value_is_capped_at_a_character() {
        let long = "\u{e9}".repeat(200);
        let value = sanitise(&long);
        assert_eq!(value.len(), VALUE_MAX);
        let odd = format!("x{long}");
        assert_eq!(sanitise(&odd).len(), VALUE_MAX - 1);
    }

    #[test]
    fn control_characters_do_not_reach_a_label() {
        assert_eq!(sanitise("a\u{1b}[2J\n"), "a\u{fffd}[2J\u{fffd}");
        assert!(sanitise(&"\n".repeat(300)).len() <= VALUE_MAX);
        assert!(matches!(sanitise("plain"), Cow::Borrowed(_)));
    }
}
