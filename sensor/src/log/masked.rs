//! Records without what must not leave, before anybody gets them.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::fields::fields;
use super::record::Record;
use crate::mask::Masker;

/// Masks text and fields of a record.
pub(super) fn mask(masker: &Masker, record: &mut Record) {
    if let Cow::Owned(clean) = masker.text(&record.body) {
        record.body = clean;
        // Fields are what the text says.
        record.attributes = fields(&record.body).unwrap_or_default();
    }
    let has_escapes = record.body.contains('\\');
    let has_changed = mask_fields(masker, &mut record.attributes, has_escapes);
    if has_changed && has_escapes && record.body.trim_start().starts_with('{') {
        // Who reads the text as JSON would find it there.
        record.body = Value::Object(record.attributes.clone()).to_string();
    }
}

/// What is escaped in the line is plain here, names of fields too. Whether there was something to mask.
fn mask_fields(masker: &Masker, fields: &mut Map<String, Value>, has_escapes: bool) -> bool {
    let mut has_changed = false;
    for (name, value) in fields.iter_mut() {
        has_changed |= mask_value(masker, name, value, has_escapes);
    }
    if has_escapes && fields.keys().any(|name| matches!(masker.text(name), Cow::Owned(_))) {
        let named = std::mem::take(fields).into_iter();
        *fields = named.map(|(name, value)| (masker.text(&name).into_owned(), value)).collect();
        has_changed = true;
    }
    has_changed
}

fn mask_value(masker: &Masker, name: &str, value: &mut Value, has_escapes: bool) -> bool {
    match value {
        Value::String(text) => {
            let clean = masker.field(name, text);
            if clean != *text {
                *text = clean.into_owned();
                return true;
            }
        }
        Value::Number(number) if number.is_f64() => {
            // The line may have an exponent in it.
            let text = number.to_string();
            if let Cow::Owned(clean) = masker.text(&text) {
                *value = Value::String(clean);
                return true;
            }
        }
        Value::Array(values) => {
            let mut has_changed = false;
            for value in values {
                has_changed |= mask_value(masker, name, value, has_escapes);
            }
            return has_changed;
        }
        Value::Object(fields) => return mask_fields(masker, fields, has_escapes),
        _ => {}
    }
    false
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::log::Iostream;

    #[test]
    fn cards_are_in_neither_text_nor_fields() {
        let masker = Masker::new(&crate::config::Mask::default()).unwrap();
        for body in [
            "paid with 4111 1111 1111 1111",
            r#"{"card":"4111111111111111","number":4111111111111111,"more":{"of":["4111-1111-1111-1111"]}}"#,
            r#"{"escaped":"4111\u00201111 1111 1111"}"#,
            "card=4111111111111111 level=info",
            r#"{"4111111111111111":{"4111\u00201111\u00201111\u00201111":"\u0034111111111111111"}}"#,
            r#"{"number":4.111111111111111e15,"more":[41.11111111111111e14]}"#,
        ] {
            let mut record = Record {
                time_unix_ns: 1,
                observed_time_unix_ns: 1,
                severity: None,
                body: body.to_owned(),
                attributes: fields(body).unwrap_or_default(),
                trace_id: None,
                span_id: None,
                iostream: Iostream::Stdout,
                is_cut: false,
                service_name: Arc::from("shop"),
                container: None,
                pid: 1,
                tid: 1,
            };
            mask(&masker, &mut record);
            let fields = Value::Object(record.attributes).to_string();
            for text in [&record.body, &fields] {
                let plain = text.replace("\\u0020", "").replace("\\u0034", "4").replace([' ', '-'], "");
                assert!(!plain.contains("4111111111111111"), "{text}");
            }
        }
    }
}
