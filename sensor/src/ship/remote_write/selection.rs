//! Which metrics are sent.

use crate::config::ship::Metrics;

/// Names of families to send, and not to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    keep: Vec<String>,
    drop: Vec<String>,
}

impl Selection {
    /// By these settings.
    #[must_use]
    pub fn new(settings: &Metrics) -> Self {
        Self { keep: settings.keep.clone(), drop: settings.drop.clone() }
    }

    /// Whether a family is sent.
    #[must_use]
    pub fn takes(&self, name: &str) -> bool {
        let is_in = |list: &[String]| list.iter().any(|pattern| fits(pattern, name));
        (self.keep.is_empty() || is_in(&self.keep)) && !is_in(&self.drop)
    }
}

fn fits(pattern: &str, name: &str) -> bool {
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
        };
        assert!(Selection::default().takes("a_total"));
        let some = selection(&["http_*", "target_info"], &["http_client_*"]);
        let taken = ["http_server_x", "http_client_x", "target_info", "target_info_x", "tcp_x"]
            .map(|name| some.takes(name));
        assert_eq!(taken, [true, false, true, false, false]);
        assert!(!selection(&[], &["*"]).takes("a_total"));
    }
}
