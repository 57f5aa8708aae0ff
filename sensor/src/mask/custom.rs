//! Rules of the user's.

use std::borrow::Cow;

use regex::bytes::{Captures, Regex, RegexBuilder};

use crate::config::CustomRule;

/// The most rules.
const MOST: usize = 64;
/// Memory that one compiled rule may take.
const SIZE_LIMIT: usize = 1 << 20;

/// A rule that cannot be used.
#[derive(Debug)]
pub struct RuleError {
    /// Its name.
    pub name: String,
    /// What would be right.
    pub allowed: String,
}

/// A compiled rule.
pub(super) struct Custom {
    name: String,
    regex: Regex,
    becomes: Becomes,
}

/// What a match becomes.
enum Becomes {
    Text(String),
    Kept { first: usize, last: usize },
}

impl Custom {
    /// Compiles all rules.
    pub(super) fn all(rules: &[CustomRule]) -> Result<Vec<Self>, RuleError> {
        if let Some(rule) = rules.get(MOST) {
            return Err(RuleError {
                name: rule.name.clone(),
                allowed: format!("a list of at most {MOST} rules"),
            });
        }
        let mut compiled: Vec<Self> = Vec::with_capacity(rules.len());
        for rule in rules {
            let other = compiled.iter().any(|known| known.name == rule.name)
                || super::count::Rule::ALL.iter().any(|known| known.name() == rule.name);
            let one = if other {
                Err("a list of rules with a name of its own each, and none of the sensor's rules'".to_owned())
            } else {
                Self::new(rule)
            };
            compiled.push(one.map_err(|allowed| RuleError { name: rule.name.clone(), allowed })?);
        }
        Ok(compiled)
    }

    fn new(rule: &CustomRule) -> Result<Self, String> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if rule.name.is_empty() || rule.name.len() > 64 || !rule.name.bytes().all(is_word) {
            return Err("a list of rules whose names are 1 to 64 letters, digits or `_`".to_owned());
        }
        let regex = RegexBuilder::new(&rule.regex)
            .size_limit(SIZE_LIMIT)
            .build()
            .map_err(|error| format!("a list of rules whose `regex` compiles; {error}"))?;
        if regex.is_match(b"") {
            return Err(format!(
                "a list of rules whose `regex` does not match the empty text, which {:?} does",
                rule.regex
            ));
        }
        let kept = rule.keep_first.is_some() || rule.keep_last.is_some();
        let becomes = match &rule.replacement {
            Some(_) if kept => {
                return Err(
                    "a list of rules with either `replacement` or `keep_first` and `keep_last`".to_owned()
                );
            }
            Some(text) => Becomes::Text(text.clone()),
            None => Becomes::Kept { first: rule.keep_first.unwrap_or(0), last: rule.keep_last.unwrap_or(0) },
        };
        Ok(Self { name: rule.name.clone(), regex, becomes })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Applies the rule; how many matches there were.
    pub(super) fn apply(&self, text: &mut Cow<'_, [u8]>) -> u64 {
        if !self.regex.is_match(text) {
            return 0;
        }
        let mut hits = 0;
        let clean = self.regex.replace_all(text, |found: &Captures<'_>| {
            hits += 1;
            let mut becomes = Vec::new();
            match &self.becomes {
                Becomes::Text(text) => found.expand(text.as_bytes(), &mut becomes),
                Becomes::Kept { first, last } => keep(&found[0], *first, *last, &mut becomes),
            }
            becomes
        });
        *text = Cow::Owned(clean.into_owned());
        hits
    }
}

/// Keeps some characters at both ends, at most half of all together; bytes that are no UTF-8 count as one each.
fn keep(found: &[u8], first: usize, last: usize, clean: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(found);
    let count = text.chars().count();
    let first = first.min(count / 2);
    let last = last.min(count / 2);
    for (index, character) in text.chars().enumerate() {
        if index < first || index >= count - last {
            clean.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            clean.push(b'*');
        }
    }
}
