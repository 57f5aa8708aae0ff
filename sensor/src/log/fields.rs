//! Lines that are JSON objects or logfmt, and ids of traces in lines of text.

use std::sync::LazyLock;

use memchr::memmem;
use regex::Regex;
use serde_json::{Map, Value};

use super::Severity;

/// Names under which loggers write how severe a record is.
const LEVEL: [&str; 13] = [
    "level",
    "severity",
    "lvl",
    "log.level",
    "loglevel",
    "logLevel",
    "LogLevel",
    "log_level",
    "levelname",
    "@l",
    "severity_text",
    "severityText",
    "PRIORITY",
];
const SEVERITY_NUMBER: [&str; 2] = ["severity_number", "severityNumber"];
const TRACE_ID: [&str; 7] = ["trace_id", "traceId", "TraceId", "traceID", "trace.id", "otelTraceID", "@tr"];
const SPAN_ID: [&str; 7] = ["span_id", "spanId", "SpanId", "spanID", "span.id", "otelSpanID", "@sp"];
/// Pairs that a line of logfmt has at least.
const PAIRS: usize = 2;

/// The fields of a JSON object or of logfmt, as they are; `None` for other lines.
pub(super) fn fields(text: &str) -> Option<Map<String, Value>> {
    let text = text.trim();
    if text.starts_with('{') && text.ends_with('}') {
        return serde_json::from_str(text).ok();
    }
    logfmt(text)
}

/// `key=value key="quoted value" flag=…`: every word a pair, or it is none.
fn logfmt(text: &str) -> Option<Map<String, Value>> {
    // The first word says it for most lines.
    let end = text.find(' ').unwrap_or(text.len());
    text[..end].find('=').filter(|at| *at > 0)?;
    let mut fields = Map::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        if key.is_empty() || key.contains([' ', '"', '\n']) {
            return None;
        }
        let (value, after) = value(after)?;
        fields.insert(key.to_owned(), Value::String(value));
        rest = after.trim_start_matches(' ');
    }
    (fields.len() >= PAIRS).then_some(fields)
}

/// A value and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(' ').unwrap_or(text.len());
        return (!text[..end].contains('"')).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                let after = &quoted[at + 1..];
                return (after.is_empty() || after.starts_with(' ')).then_some((value, after));
            }
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

/// How severe the fields say that the record is.
pub(super) fn severity(fields: &Map<String, Value>) -> Option<Severity> {
    let number = SEVERITY_NUMBER.iter().find_map(|key| fields.get(*key)?.as_u64());
    if let Some(severity) = number.and_then(Severity::of_number) {
        return Some(severity);
    }
    LEVEL.iter().find_map(|key| match fields.get(*key)? {
        Value::String(word) => {
            word.parse().ok().and_then(Severity::of_level).or_else(|| Severity::of_word(word.trim()))
        }
        Value::Number(number) => number.as_u64().and_then(Severity::of_level),
        // The Elastic common schema nests it.
        _ => None,
    })
}

/// A trace and, where it is told, a span of it.
pub(super) type Ids = ([u8; 16], Option<[u8; 8]>);

/// The ids that the fields carry.
pub(super) fn ids(fields: &Map<String, Value>) -> Option<Ids> {
    let text = |key: &&str| fields.get(*key)?.as_str();
    let trace = TRACE_ID.iter().find_map(text).and_then(hex)?;
    Some((trace, SPAN_ID.iter().find_map(text).and_then(hex)))
}

/// The ids that a line of text carries: `trace_id=…` and `span_id=…`, or one after the other as Spring writes them
/// (`[app,…,…]`, `[…-…]`) and as W3C Trace Context does.
pub(super) fn ids_in_text(text: &str) -> Option<Ids> {
    static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r#"(?i-u)\btrace[_.]?id["']?[=:]\s?["']?([0-9a-f]{32})\b(?:[ ,;"'{}\[\]]{0,8}\bspan[_.]?id["']?[=:]\s?["']?([0-9a-f]{16})\b)?"#).ok()
    });
    static PAIR: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"(?-u)\b([0-9a-f]{32})[-,]([0-9a-f]{16})\b").ok());
    let bytes = text.as_bytes();
    // Most lines have no such number: any 32 digits cover two places that are 16 apart.
    let may_have = |pair: &[u8]| pair.iter().all(u8::is_ascii_hexdigit);
    if bytes.len() < 32 || !bytes.chunks_exact(16).any(may_have) {
        return None;
    }
    let named = memmem::find(bytes, b"race").and_then(|_| NAMED.as_ref()?.captures(text));
    let found = named.or_else(|| PAIR.as_ref()?.captures(text))?;
    let span = found.get(2).and_then(|span| hex(span.as_str()));
    Some((hex(found.get(1)?.as_str())?, span))
}

/// An id in hexadecimal digits that is not all zeros.
fn hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let digits = digits.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut id = [0; N];
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    (id != [0; N]).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn json_is_kept_as_it_is() {
        let fields =
            fields(r#"{"level":30,"time":1700000000000,"msg":"paid","nested":{"a":[1,2]}}"#).unwrap();
        assert_eq!(fields["nested"]["a"][1], 2);
        assert_eq!(severity(&fields), Some(Severity::INFO));
        assert!(super::fields("{not json}").is_none());
        assert!(super::fields("[1,2]").is_none());
    }

    #[test]
    fn logfmt_is_pairs_only() {
        let fields = fields(r#"ts=2026-11-23 level=warn msg="a \"b\" c" took=3ms"#).unwrap();
        assert_eq!(fields["msg"], "a \"b\" c");
        assert_eq!(severity(&fields), Some(Severity::WARN));
        for other in
            ["a=b", "x = 3", "GET /?a=b HTTP/1.1", "a=b and more", "url=/x?y=\"z\" a=b", "k=\"open a=b"]
        {
            assert!(super::fields(other).is_none(), "{other}");
        }
    }

    #[test]
    fn levels_in_fields() {
        for (json, expected) in [
            (r#"{"level":"error"}"#, Some(Severity::ERROR)),
            (r#"{"log.level":"WARN"}"#, Some(Severity::WARN)),
            (r#"{"@l":"Error"}"#, Some(Severity::ERROR)),
            (r#"{"PRIORITY":"3"}"#, Some(Severity::ERROR)),
            (r#"{"severity_number":13,"level":"info"}"#, Some(Severity::WARN)),
            (r#"{"level":"paid"}"#, None),
            (r#"{"msg":"ERROR"}"#, None),
        ] {
            assert_eq!(severity(&fields(json).unwrap()), expected, "{json}");
        }
    }

    #[test]
    fn ids_are_read() {
        let expected = Some((hex(TRACE).unwrap(), hex(SPAN)));
        let json = format!(r#"{{"trace_id":"{TRACE}","span_id":"{SPAN}"}}"#);
        assert_eq!(ids(&fields(&json).unwrap()), expected);
        for text in [
            format!("INFO [pay,{TRACE},{SPAN}] paid"),
            format!("INFO [{TRACE}-{SPAN}] paid"),
            format!("traceparent: 00-{TRACE}-{SPAN}-01"),
            format!("paid trace_id={TRACE} span_id={SPAN}"),
            format!("paid traceId: {TRACE}, spanId: {SPAN}"),
        ] {
            assert_eq!(ids_in_text(&text), expected, "{text}");
        }
        assert_eq!(ids_in_text(&format!("trace_id={TRACE}")), Some((hex(TRACE).unwrap(), None)));
        for text in [
            format!("digest {TRACE}"),
            format!("trace_id={}", "0".repeat(32)),
            format!("trace_id={TRACE}0"),
            "550e8400-e29b-41d4-a716-446655440000 something that is long enough".to_owned(),
        ] {
            assert_eq!(ids_in_text(&text), None, "{text}");
        }
    }
}
