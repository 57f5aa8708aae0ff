//! What must not leave the node, masked: the full layer.
//!
//! The kernel masks card numbers in its capture buffer ([`sensor_common::mask`]); here the same rules see whole lines and
//! decoded values, and further ones see persons' data and credentials. All rules share one prefilter: a line in which
//! nothing of interest stands is read once and left as it is.
//!
//! - Length and place of what is not masked never change; what is masked of a card keeps its length.
//! - JSON stays JSON: a masked number that stood without quotes gets them.
//! - The work is linear in the length of the text, whatever it holds.

mod card;
mod count;
mod custom;
mod prefilter;
mod rules;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub use count::Counts;
pub use custom::RuleError;

use crate::config;
use crate::memo::Memo;
use crate::protocol::Exchange;
use custom::Custom;
use prefilter::Prefilter;
use rules::Rules;

/// All rules, ready to be applied.
pub struct Masker {
    prefilter: Prefilter,
    rules: Rules,
    custom: Vec<Custom>,
    counts: Counts,
}

/// Masks what is still a card number in a payload that is about to leave; how many there were. Length and all other
/// bytes stay. More than none is an alarm: a rule was not applied where it had to be.
pub fn gate(payload: &mut [u8]) -> u64 {
    let hits = card::in_place(payload);
    GATE_HITS.fetch_add(hits, Relaxed);
    hits
}

/// A name without card numbers, for what is read elsewhere than in the kernel and goes into labels.
#[must_use]
pub fn without_cards(name: &str) -> String {
    let mut clean = name.as_bytes().to_vec();
    card::settle(&mut clean);
    // Digits have become stars, one for one.
    String::from_utf8_lossy(&clean).into_owned()
}

/// All that [`gate`] has found so far.
#[must_use]
pub fn gate_hits() -> u64 {
    GATE_HITS.load(Relaxed)
}

static GATE_HITS: AtomicU64 = AtomicU64::new(0);

impl Masker {
    /// Compiles the rules.
    ///
    /// # Errors
    /// Names the first of the user's rules that cannot be used, and what would be right.
    pub fn new(settings: &config::Mask) -> Result<Self, RuleError> {
        let custom = Custom::all(&settings.custom)?;
        let names = custom.iter().map(|rule| rule.name().to_owned());
        Ok(Self {
            prefilter: Prefilter::new(settings),
            rules: Rules::new(),
            counts: Counts::new(names),
            custom,
        })
    }

    /// How often each rule has masked something.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// A text without what must not leave: a log line, a value. Bytes that are no UTF-8 are no obstacle.
    #[must_use]
    pub fn bytes<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let mut clean = Cow::Borrowed(text);
        let wanted = self.prefilter.look(text);
        if wanted.card {
            card::mask(&mut clean, &self.counts);
        }
        if wanted.any_rule() || wanted.masked || matches!(clean, Cow::Owned(_)) {
            self.rules.apply(&mut clean, wanted, &self.counts);
        }
        for (index, rule) in self.custom.iter().enumerate() {
            let hits = rule.apply(&mut clean);
            self.counts.add_custom(index, hits);
        }
        if let Cow::Owned(text) = &mut clean {
            // What was masked may leave digits side by side that look like another card: the last gate would find them.
            self.counts.add(count::Rule::Card, card::settle(text));
        }
        if wanted.masked || matches!(clean, Cow::Owned(_)) {
            card::quote_numbers(&mut clean);
        }
        clean
    }

    /// The same for text.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // A user's rule can cut a character in two.
            Cow::Owned(clean) => Cow::Owned(match String::from_utf8(clean) {
                Ok(clean) => clean,
                Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
            }),
        }
    }

    /// The value of a field whose name is known: the whole of it where the name says that it is a secret.
    #[must_use]
    pub fn field<'a>(&self, name: &str, value: &'a str) -> Cow<'a, str> {
        if self.prefilter.secrets() && self.rules.is_secret(name) {
            self.counts.add(count::Rule::Secret, 1);
            return Cow::Borrowed(rules::MASKED);
        }
        self.text(value)
    }

    /// Masks the texts of an exchange: method, path, query, host and header values. Those that need no mask are remembered.
    pub fn exchange(&self, exchange: &mut Exchange, clean: &mut Clean) {
        let texts = [&mut exchange.path, &mut exchange.query, &mut exchange.host];
        let headers = exchange.request_headers.iter_mut().filter(|(name, _)| !is_trace_context(name));
        // Known methods are borrowed.
        let method = match &mut exchange.method {
            Cow::Owned(method) => Some(method),
            Cow::Borrowed(_) => None,
        };
        for text in texts.into_iter().flatten().chain(headers.map(|(_, value)| value)).chain(method) {
            clean.mask(text, self);
        }
    }
}

/// Texts that are known to hold nothing that must not leave, as one [`Masker`] sees them. A text that holds something is
/// not kept.
#[derive(Debug, Default)]
pub struct Clean(Memo<()>);

impl Clean {
    fn mask(&mut self, text: &mut String, masker: &Masker) {
        let mut masked = None;
        self.0.get(text, |text| match masker.text(text) {
            Cow::Borrowed(_) => Some(()),
            Cow::Owned(text) => {
                masked = Some(text);
                None
            }
        });
        if let Some(masked) = masked {
            *text = masked;
        }
    }
}

/// Whether a header carries trace ids, which are read and never shown as text.
fn is_trace_context(name: &str) -> bool {
    matches!(name, "traceparent" | "b3") || name.starts_with("x-b3-")
}
