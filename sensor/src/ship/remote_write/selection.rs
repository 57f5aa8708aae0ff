//! Which metrics are sent, and with which labels.

use super::rules::{FamilyRules, Rules};
use crate::config::ConfigError;
use crate::config::ship::Metrics;
use crate::metric::Family;

/// Names of families to send, and not to, and rules for their labels.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    keep: Vec<String>,
    drop: Vec<String>,
    rules: Rules,
}

impl Selection {
    /// By these settings.
    ///
    /// # Errors
    /// Names the rule that can't be used, and why.
    pub fn new(settings: &Metrics) -> Result<Self, ConfigError> {
        let rules = Rules::new(settings)?;
        Ok(Self { keep: settings.keep.clone(), drop: settings.drop.clone(), rules })
    }

    /// Whether a family is sent.
    #[must_use]
    pub fn takes(&self, name: &str) -> bool {
        let is_in = |list: &[String]| list.iter().any(|pattern| fits(pattern, name));
        (self.keep.is_empty() || is_in(&self.keep)) && !is_in(&self.drop)
    }

    /// What becomes of its labels; `None` when they stay as they are.
    pub(super) fn rules(&self, family: &Family) -> Option<FamilyRules> {
        self.rules.of(family)
    }
}

/// Whether a list of names is for this one; an empty list is for all.
pub(super) fn is_for(patterns: &[String], name: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| fits(pattern, name))
}

pub(super) fn fits(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_and_dropped() {
        let selection = |keep: &[&str], drop: &[&str]| Selection {
            keep: keep.iter().map(|&name| name.to_owned()).collect(),
            drop: drop.iter().map(|&name| name.to_owned()).collect(),
            rules: Rules::default(),
        };
        assert!(Selection::default().takes("a_total"));
        let some = selection(&["http_*", "target_info"], &["http_client_*"]);
        let taken = ["http_server_x", "http_client_x", "target_info", "target_info_x", "tcp_x"]
            .map(|name| some.takes(name));
        assert_eq!(taken, [true, false, true, false, false]);
        assert!(!selection(&[], &["*"]).takes("a_total"));
    }
}
