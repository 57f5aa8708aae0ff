//! `${NAME}` in a configuration.

use super::ConfigError;

/// Replaces `${NAME}` by the environment variable's value; `$${` stands for `${` itself. Comments are left alone.
///
/// A value may only have characters that mean nothing to YAML: it can't become another key, and is not cut off by a
/// comment. It is put in as it stands, so quotes around the reference make it a string, and brackets a list of what has commas
/// between.
///
/// # Errors
/// When a variable is not set, its name is none, or its value has other characters. The value is not told.
pub(super) fn expand(
    text: &str,
    name: &str,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<String, ConfigError> {
    let mut out = String::with_capacity(text.len());
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if line.trim_start().starts_with('#') {
            out.push_str(line);
            continue;
        }
        let fail = |variable: &str, reason: &'static str| ConfigError::Variable {
            place: format!("{name}:{}", number + 1),
            variable: variable.to_owned(),
            reason,
        };
        let mut rest = line;
        while let Some(at) = rest.find("${") {
            let (before, reference) = rest.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                rest = &reference[2..];
                continue;
            }
            out.push_str(before);
            let Some((variable, after)) = reference[2..].split_once('}') else {
                return Err(fail(reference[2..].trim_end(), "has no closing brace"));
            };
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if variable.is_empty() || !variable.chars().all(is_name) {
                return Err(fail(variable, "is no name of a variable"));
            }
            let value = lookup(variable).ok_or_else(|| fail(variable, "is not set"))?;
            let is_plain = |c: char| c.is_alphanumeric() || "_-./:@=+,~%".contains(c);
            if !value.chars().all(is_plain) || value.ends_with(':') {
                return Err(fail(variable, "has characters that mean something to YAML"));
            }
            out.push_str(&value);
            rest = after;
        }
        out.push_str(rest);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, String> {
        let lookup = |name: &str| match name {
            "NODE" => Some("node-7.seoul".to_owned()),
            "BAD" => Some("secret: 1 # x".to_owned()),
            "EMPTY" => Some(String::new()),
            "TWO" => Some("pay,bank".to_owned()),
            _ => None,
        };
        expand(text, "sensor.yaml", lookup).map_err(|error| error.to_string())
    }

    #[test]
    fn references_are_replaced() {
        assert_eq!(
            expanded("a: ${NODE}\nb: 'x-${NODE}-${NODE}'\n").unwrap(),
            "a: node-7.seoul\nb: 'x-node-7.seoul-node-7.seoul'\n"
        );
        assert_eq!(expanded("a: $${NODE} $5 ${EMPTY}|").unwrap(), "a: ${NODE} $5 |");
        assert_eq!(expanded("  # ${NOT_SET}\n").unwrap(), "  # ${NOT_SET}\n");
    }

    #[test]
    fn a_list_is_what_has_commas() {
        let namespaces = |reference: &str| {
            let text = expanded(&format!("kubernetes:\n  namespaces: [{reference}]\n")).unwrap();
            crate::config::Config::parse(&text, "sensor.yaml").unwrap().kubernetes.namespaces
        };
        assert_eq!(namespaces("${TWO}"), ["pay", "bank"]);
        assert!(namespaces("${EMPTY}").is_empty());
    }

    #[test]
    fn what_is_wrong_is_told_without_the_value() {
        assert_eq!(expanded("\na: ${GONE}").unwrap_err(), "sensor.yaml:2: the variable `GONE` is not set");
        let error = expanded("a: ${BAD}").unwrap_err();
        assert!(error.contains("`BAD`") && !error.contains("secret"), "{error}");
        assert!(expanded("a: ${NODE").unwrap_err().contains("closing brace"));
        assert!(expanded("a: ${}").is_err() && expanded("a: ${A B}").is_err());
    }
}
