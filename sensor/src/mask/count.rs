//! How often each rule has masked something.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A rule of the sensor's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Card numbers.
    Card,
    /// What a magnetic stripe holds beside the number.
    Track,
    /// Resident registration numbers.
    Resident,
    /// Telephone numbers.
    Phone,
    /// E-mail addresses.
    Email,
    /// Bank accounts beside a word that names one.
    Account,
    /// Values of keys that name a secret.
    Secret,
    /// Authorization headers and bearer tokens.
    Authorization,
    /// Cookies.
    Cookie,
    /// JSON web tokens.
    Jwt,
    /// AWS access keys.
    Aws,
}

impl Rule {
    /// All rules, in order.
    pub(super) const ALL: [Self; 11] = [
        Self::Card,
        Self::Track,
        Self::Resident,
        Self::Phone,
        Self::Email,
        Self::Account,
        Self::Secret,
        Self::Authorization,
        Self::Cookie,
        Self::Jwt,
        Self::Aws,
    ];

    /// Its name in metrics.
    #[must_use]
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Track => "track",
            Self::Resident => "resident_number",
            Self::Phone => "phone",
            Self::Email => "email",
            Self::Account => "bank_account",
            Self::Secret => "secret",
            Self::Authorization => "authorization",
            Self::Cookie => "cookie",
            Self::Jwt => "jwt",
            Self::Aws => "aws_key",
        }
    }
}

/// A count a rule.
#[derive(Debug)]
pub struct Counts {
    own: [AtomicU64; Rule::ALL.len()],
    custom: Vec<(String, AtomicU64)>,
}

impl Counts {
    pub(super) fn new(custom: impl Iterator<Item = String>) -> Self {
        Self { own: Default::default(), custom: custom.map(|name| (name, AtomicU64::new(0))).collect() }
    }

    pub(super) fn add(&self, rule: Rule, hits: u64) {
        if hits > 0 {
            self.own[rule as usize].fetch_add(hits, Relaxed);
        }
    }

    pub(super) fn add_custom(&self, index: usize, hits: u64) {
        if let Some((_, count)) = self.custom.get(index)
            && hits > 0
        {
            count.fetch_add(hits, Relaxed);
        }
    }

    /// Names and counts of all rules.
    pub fn all(&self) -> impl Iterator<Item = (&str, u64)> {
        let own = Rule::ALL.iter().zip(&self.own).map(|(rule, count)| (rule.name(), count.load(Relaxed)));
        own.chain(self.custom.iter().map(|(name, count)| (name.as_str(), count.load(Relaxed))))
    }
}
