//! The status page: a JSON value as nested tables.

use std::fmt::Write as _;

use serde_json::Value;

const HEAD: &str = "<!doctype html><meta charset=\"utf-8\"><title>Lionpay node sensor</title>\
<style>body{font:14px sans-serif}table{border-collapse:collapse}td,th{border:1px solid #bbb;padding:2px 6px;\
text-align:left;vertical-align:top}</style><h1>Lionpay node sensor</h1>";

/// The page.
#[must_use]
pub(super) fn page(status: &Value) -> String {
    let mut page = HEAD.to_owned();
    cell(&mut page, status);
    page.push('\n');
    page
}

fn cell(page: &mut String, value: &Value) {
    match value {
        Value::Object(fields) => {
            page.push_str("<table>");
            for (name, value) in fields {
                let _ = write!(page, "<tr><th>{}</th><td>", escaped(name));
                cell(page, value);
                page.push_str("</td></tr>");
            }
            page.push_str("</table>");
        }
        Value::Array(values) => values.iter().for_each(|value| cell(page, value)),
        Value::String(text) => page.push_str(&escaped(text)),
        Value::Null => page.push('–'),
        other => {
            let _ = write!(page, "{other}");
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
