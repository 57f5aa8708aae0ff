//! What rules make of labels.

use std::borrow::Cow;

use regex::{Regex, RegexBuilder};

use super::selection::{fits, is_for};
use crate::config::ConfigError;
use crate::config::ship::{LabelAction, LabelRule, Metrics};
use crate::metric::group::OTHER;
use crate::metric::{Family, Labels};

/// The most memory of a compiled expression, in bytes.
const EXPRESSION_MAX: usize = 1024 * 1024;

/// The rules of all metrics.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    labels: Vec<(Vec<String>, Rule)>,
    limits: Vec<(Vec<String>, u64)>,
}

/// One rule, ready for use.
#[derive(Clone, Debug)]
struct Rule {
    settings: LabelRule,
    /// Of `replace`, for the whole value.
    expression: Option<Regex>,
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings
    }
}

impl Rules {
    pub(super) fn new(settings: &Metrics) -> Result<Self, ConfigError> {
        let rule = |(place, settings): (usize, &LabelRule)| {
            let wrong = |field: &str, reason: String| ConfigError::Receiver {
                key: format!("ship.metrics.labels[{place}].{field}"),
                reason,
            };
            if settings.labels.is_empty() {
                return Err(wrong("labels", "is empty; name the labels that it is for".to_owned()));
            }
            let says_what = !settings.regex.is_empty() || !settings.replacement.is_empty();
            if says_what && settings.action != LabelAction::Replace {
                let reason = "has a meaning with the action `replace` only, and so has `replacement`";
                return Err(wrong("regex", reason.to_owned()));
            }
            let expression = match settings.regex.as_str() {
                "" => None,
                text => {
                    let whole =
                        RegexBuilder::new(&format!("^(?:{text})$")).size_limit(EXPRESSION_MAX).build();
                    Some(
                        whole
                            .map_err(|error| wrong("regex", format!("is no regular expression: {error}")))?,
                    )
                }
            };
            Ok((settings.metrics.clone(), Rule { settings: settings.clone(), expression }))
        };
        Ok(Self {
            labels: settings.labels.iter().enumerate().map(rule).collect::<Result<_, _>>()?,
            limits: settings.limits.iter().map(|limit| (limit.metrics.clone(), limit.max_series)).collect(),
        })
    }

    /// What concerns a family; `None` when nothing does.
    pub(super) fn of(&self, family: &Family) -> Option<FamilyRules> {
        let labels: Vec<Rule> = self
            .labels
            .iter()
            .filter(|(metrics, _)| is_for(metrics, family.name))
            .map(|(_, rule)| rule.clone())
            .collect();
        let limit = self.limits.iter().find(|(metrics, _)| is_for(metrics, family.name));
        let limit = limit.map(|(_, limit)| *limit);
        (limit.is_some() || !labels.is_empty()).then_some(FamilyRules { labels, limit })
    }
}

/// The rules of one family.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FamilyRules {
    labels: Vec<Rule>,
    /// The most series.
    pub(super) limit: Option<u64>,
}

impl FamilyRules {
    /// What becomes of a label set.
    pub(super) fn apply(&self, labels: &Labels) -> Labels {
        if self.labels.is_empty() {
            return labels.clone();
        }
        Labels::new(labels.iter().filter_map(|(name, value)| Some((name, self.value(name, value)?))))
    }

    /// The labels of what finds no room: those that are not taken away.
    pub(super) fn other(&self, family: &Family) -> Labels {
        let is_there = |name: &&&str| self.labels.iter().all(|rule| rule.leaves(name));
        Labels::new(family.labels.iter().filter(is_there).map(|name| (*name, OTHER.into())))
    }

    fn value<'a>(&self, name: &str, value: &'a str) -> Option<Cow<'a, str>> {
        let mut value = Cow::Borrowed(value);
        for rule in &self.labels {
            if !rule.leaves(name) {
                return None;
            }
            if rule.settings.action == LabelAction::Replace && rule.names(name) {
                value = rule.replaced(value);
            }
        }
        Some(value)
    }
}

impl Rule {
    fn names(&self, label: &str) -> bool {
        self.settings.labels.iter().any(|pattern| fits(pattern, label))
    }

    fn leaves(&self, label: &str) -> bool {
        match self.settings.action {
            LabelAction::Drop => !self.names(label),
            LabelAction::Keep => self.names(label),
            LabelAction::Replace => true,
        }
    }

    fn replaced<'a>(&self, value: Cow<'a, str>) -> Cow<'a, str> {
        let replacement = self.settings.replacement.as_str();
        let Some(expression) = &self.expression else { return replacement.to_owned().into() };
        let new = expression.captures(&value).map(|captures| {
            let mut new = String::new();
            captures.expand(replacement, &mut new);
            new
        });
        new.map_or(value, Cow::Owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::family::HTTP_CLIENT;

    fn rules(yaml: &str) -> Result<Rules, String> {
        let text = format!("ship: {{metrics: {yaml}}}");
        let config = crate::config::Config::parse(&text, "sensor.yaml").unwrap();
        Rules::new(&config.ship.metrics).map_err(|error| error.to_string())
    }

    fn applied(yaml: &str) -> String {
        let labels = Labels::new([
            ("http_route", "/a/b".into()),
            ("server_address", "db".into()),
            ("server_port", "80".into()),
        ]);
        let shaped = rules(yaml).unwrap().of(HTTP_CLIENT[0]).unwrap().apply(&labels);
        shaped
            .iter()
            .map(|(name, value)| format!("{name}={value} "))
            .collect::<String>()
            .trim_end()
            .to_owned()
    }

    #[test]
    fn labels_are_dropped_kept_and_replaced_in_order() {
        assert_eq!(applied("{labels: [{labels: ['server_*']}]}"), "http_route=/a/b");
        assert_eq!(applied("{labels: [{action: keep, labels: [server_port]}]}"), "server_port=80");
        let replace = "{action: replace, labels: [http_route], regex: '/(\\w)/.*', replacement: '/$1'}";
        assert_eq!(
            applied(&format!("{{labels: [{replace}]}}")),
            "http_route=/a server_address=db server_port=80"
        );
        assert_eq!(applied(&format!("{{labels: [{{labels: ['server_*']}}, {replace}]}}")), "http_route=/a");
        let part = "{labels: [{action: replace, labels: [http_route], regex: '/a', replacement: x}]}";
        assert!(applied(part).starts_with("http_route=/a/b"), "only whole values match");
        let away = "{labels: [{action: replace, labels: ['*']}]}";
        assert_eq!(applied(away), "", "a label without a value is none");
    }

    #[test]
    fn rules_are_for_some_metrics() {
        let rules =
            rules("{labels: [{metrics: ['tcp_*'], labels: [x]}], limits: [{metrics: [a], max_series: 1}]}");
        let rules = rules.unwrap();
        assert!(rules.of(HTTP_CLIENT[0]).is_none());
        let [first, second] = ["{metrics: ['http_*'], max_series: 7}", "{max_series: 9}"];
        let limits = self::rules(&format!("{{limits: [{first}, {second}]}}")).unwrap();
        assert_eq!(limits.of(HTTP_CLIENT[0]).unwrap().limit, Some(7), "the first that names it");
        assert_eq!(limits.of(crate::metric::family::GRAPH[0]).unwrap().limit, Some(9));
    }

    #[test]
    fn a_wrong_rule_is_explained() {
        for (rule, said) in [
            ("{labels: []}", "`ship.metrics.labels[0].labels`: is empty"),
            ("{labels: [a], regex: x}", "`replace` only"),
            ("{action: replace, labels: [a], regex: '('}", "`ship.metrics.labels[0].regex`: is no regular"),
        ] {
            let error = rules(&format!("{{labels: [{rule}]}}")).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
