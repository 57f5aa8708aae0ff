//! `docs/configuration.md`, generated from the settings and their doc comments.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use super::Config;
use super::ship::{LabelRule, Receiver, SeriesLimit};

const HEAD: &str = "\
# Configuration

Generated from the settings in the source; `UPDATE_DOCS=1 cargo test -p sensor --lib reference` writes it.

`sensor run --config FILE` and `sensor check --config FILE` read a YAML file. Every key has a default, so no file is
needed. A key that does not exist, or a value that is not allowed, is refused before anything is started.
";

/// Compares a page of `docs/` with what it should be, or writes it when `UPDATE_DOCS` is set.
pub(crate) fn assert_up_to_date(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "docs/{name} is out of date; run UPDATE_DOCS=1 cargo test -p sensor --lib reference"
    );
}

#[test]
fn the_configuration_page_is_up_to_date() {
    let schema = schemars::schema_for!(Config).to_value();
    let defaults = serde_json::to_value(Config::default()).unwrap();
    let mut text = HEAD.to_owned();
    text.push_str("\n| key | default | meaning |\n|---|---|---|\n");
    rows(&mut text, &schema, &schema, &defaults, "");
    text.push_str("\nThe whole file with its defaults:\n\n```yaml\n");
    yaml(&mut text, &defaults, 0);
    text.push_str("```\n");
    assert_up_to_date("configuration.md", &text);
}

#[test]
fn the_example_is_the_default() {
    let mut text = String::new();
    yaml(&mut text, &serde_json::to_value(Config::default()).unwrap(), 0);
    assert_eq!(Config::parse(&text, "example").unwrap(), Config::default());
}

fn rows(text: &mut String, root: &Value, section: &Value, defaults: &Value, prefix: &str) {
    let properties = section["properties"].as_object().expect("a section has properties");
    for (name, property) in properties {
        let key = format!("{prefix}{name}");
        let default = &defaults[name];
        let target = resolve(root, property);
        if target["properties"].is_object() {
            rows(text, root, target, default, &format!("{key}."));
            continue;
        }
        let meaning =
            property["description"].as_str().expect("a setting has a doc comment").replace('\n', " ");
        let choices = choices(target);
        writeln!(text, "| `{key}` | `{}` | {meaning}{choices} |", plain(default)).unwrap();
        let item = resolve(root, &target["items"]);
        if item["properties"].is_object() {
            rows(text, root, item, &defaults_of_item(&key), &format!("{key}[]."));
        }
    }
}

/// What an entry of a list has where it says nothing.
fn defaults_of_item(key: &str) -> Value {
    let defaults = match key {
        "ship.receivers" => serde_json::to_value(Receiver::default()),
        "ship.metrics.labels" => serde_json::to_value(LabelRule::default()),
        "ship.metrics.limits" => serde_json::to_value(SeriesLimit::default()),
        other => panic!("the entries of {other} have defaults that are not known here"),
    };
    defaults.unwrap()
}

fn choices(schema: &Value) -> String {
    let Some(variants) = schema["oneOf"].as_array() else { return String::new() };
    let each: Vec<String> = variants
        .iter()
        .map(|variant| {
            let meaning = variant["description"].as_str().expect("a choice has a doc comment");
            format!("`{}`: {}", variant["const"].as_str().expect("a word"), meaning.trim_end_matches('.'))
        })
        .collect();
    format!(" {}.", each.join("; "))
}

fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => {
            root.pointer(reference.trim_start_matches('#')).expect("a reference within the document")
        }
        None => schema,
    }
}

fn plain(value: &Value) -> String {
    match value.as_str() {
        Some("") => "''".to_owned(),
        Some(text) => text.to_owned(),
        None => value.to_string(),
    }
}

fn yaml(text: &mut String, value: &Value, depth: usize) {
    for (name, value) in value.as_object().expect("a section") {
        let indent = "  ".repeat(depth);
        if value.as_object().is_some_and(|section| !section.is_empty()) {
            writeln!(text, "{indent}{name}:").unwrap();
            yaml(text, value, depth + 1);
        } else {
            writeln!(text, "{indent}{name}: {}", plain(value)).unwrap();
        }
    }
}
