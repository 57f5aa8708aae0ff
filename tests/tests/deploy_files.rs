//! Dashboards and Terraform as files: uniform, with metrics that exist, with attributes that the provider knows, and
//! without a secret. What their queries find is tried in `deploy_queries`.

use std::collections::{BTreeSet, HashMap};
use std::io::Write as _;
use std::process::Stdio;

use hcl::{Block, Body, Expression};
use serde_json::Value;
use tests::deploy::{Language, alerts, dashboards, directory, panels, queries, terraform, terraform_files};
use tests::process::program;

/// What Terraform itself knows in every resource.
const META_ARGUMENTS: [&str; 3] = ["count", "for_each", "depends_on"];

/// The names of all series that docs/metrics.md promises.
fn series() -> BTreeSet<String> {
    let text = std::fs::read_to_string(directory().join("../docs/metrics.md")).expect("docs/metrics.md");
    let mut names = BTreeSet::new();
    for line in text.lines() {
        let Some((name, rest)) = line.strip_prefix("| `").and_then(|rest| rest.split_once("` | ")) else {
            continue;
        };
        match rest.split(" | ").next() {
            Some("counter" | "gauge") => {
                names.insert(name.to_owned());
            }
            Some("histogram") => {
                names.extend(["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}")));
            }
            _ => {}
        }
    }
    assert!(names.contains("sensor_build_info") && names.contains("tcp_rtt_seconds_bucket"), "{names:?}");
    names
}

/// The names before the braces of selectors: every one has some.
fn selected(query: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (brace, _) in query.match_indices('{') {
        let before = &query[..brace];
        let start = before.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(0, |at| at + 1);
        if start < brace {
            found.push(&before[start..]);
        }
    }
    found
}

#[test]
fn queries_name_only_series_that_exist() {
    let series = series();
    for (file, dashboard) in dashboards() {
        for query in queries(&file, &dashboard) {
            // The variable of the clusters has no selector.
            let names = selected(&query.text);
            assert!(
                !names.is_empty()
                    || query.language != Language::PromQl
                    || query.place.contains("variable cluster"),
                "{query:?}"
            );
            for name in names {
                assert!(series.contains(name), "{}: {name}", query.place);
            }
        }
    }
    for alert in alerts() {
        for name in selected(&alert.expr) {
            assert!(series.contains(name) || name == "kube_node_info", "{}: {name}", alert.name);
        }
    }
}

#[test]
fn dashboards_are_uniform() {
    let mut uids = BTreeSet::new();
    for (file, dashboard) in dashboards() {
        let uid = dashboard["uid"].as_str().expect("a uid");
        assert_eq!(file, format!("{}.json", uid.strip_prefix("lionpay-").expect("our prefix")));
        assert!(uids.insert(uid.to_owned()), "{uid} twice");
        assert_eq!(dashboard["tags"], serde_json::json!(["lionpay-sensor"]), "{file}");
        let variables = dashboard["templating"]["list"].as_array().expect("variables");
        let sources: HashMap<&str, &str> = variables
            .iter()
            .filter(|variable| variable["type"] == "datasource")
            .map(|variable| {
                (variable["query"].as_str().expect("a kind"), variable["name"].as_str().expect("a name"))
            })
            .collect();
        let mut taken: Vec<[u64; 4]> = Vec::new();
        let mut ids = BTreeSet::new();
        for panel in dashboard["panels"].as_array().expect("panels") {
            let title = panel["title"].as_str().expect("a title");
            assert!(ids.insert(panel["id"].as_u64()), "{file}: {title}: an id twice");
            let [x, y, w, h] =
                ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().expect("a place"));
            assert!(w > 0 && h > 0 && x + w <= 24, "{file}: {title}");
            let meets = |other: &[u64; 4]| {
                x < other[0] + other[2] && other[0] < x + w && y < other[1] + other[3] && other[1] < y + h
            };
            assert!(!taken.iter().any(meets), "{file}: {title} lies over another panel");
            taken.push([x, y, w, h]);
        }
        for panel in panels(&dashboard) {
            let title = panel["title"].as_str().expect("a title");
            let kind = panel["datasource"]["type"].as_str().expect("a data source");
            let variable =
                format!("${{{}}}", sources.get(kind).unwrap_or_else(|| panic!("{file}: no {kind}")));
            assert_eq!(panel["datasource"]["uid"], variable.as_str(), "{file}: {title}");
            if kind == "prometheus" && panel["type"] != "table" && panel["type"] != "heatmap" {
                assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{file}: {title} has no unit");
            }
        }
    }
    assert!(uids.len() >= 6, "{uids:?}");
}

/// As `terraform fmt` writes them: the formatter of its language is a package of npm, too.
#[test]
fn terraform_is_formatted() {
    const FORMAT: &str = "const {format} = require('@cdktf/hcl-tools'); \
                          format(require('fs').readFileSync(0, 'utf8')).then(text => process.stdout.write(text))";
    let formatted = |text: &str| {
        let mut node = program("node");
        node.args(["-e", FORMAT]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut node = node.spawn().expect("start node");
        node.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("write to node");
        let output = node.wait_with_output().expect("wait for node");
        assert!(output.status.success(), "node failed");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert_eq!(formatted("a = 1\nbb=[ ]\n"), "a  = 1\nbb = []\n");
    let files = terraform_files();
    assert!(!files.is_empty());
    for (name, text) in files {
        assert_eq!(formatted(&text), text, "{name}");
    }
}

#[test]
fn terraform_uses_what_the_provider_has() {
    let schema: Value =
        serde_json::from_str(include_str!("../fixtures/grafana-provider-schema.json")).expect("JSON");
    let mut used = BTreeSet::new();
    for block in terraform().iter().filter(|block| block.identifier() == "resource") {
        let labels: Vec<&str> = block.labels().iter().map(hcl::BlockLabel::as_str).collect();
        let [kind, name] = labels[..] else { panic!("{labels:?}") };
        let known = &schema["resource_schemas"][kind]["block"];
        assert!(known.is_object(), "no resource {kind}");
        used.insert(kind.to_owned());
        check(known, block.body(), &format!("{kind}.{name}"), true);
    }
    let all: BTreeSet<String> =
        schema["resource_schemas"].as_object().expect("resources").keys().cloned().collect();
    assert_eq!(used, all, "the extract has just what is used");
}

/// Compares the body of a block with its schema, and those of the blocks in it.
#[track_caller]
fn check(schema: &Value, body: &Body, place: &str, is_resource: bool) {
    let mut given = BTreeSet::new();
    for attribute in body.attributes() {
        let name = attribute.key.as_str();
        given.insert(name.to_owned());
        if is_resource && META_ARGUMENTS.contains(&name) {
            continue;
        }
        let known = &schema["attributes"][name];
        assert!(known.is_object(), "{place} has no attribute {name}");
        assert!(known["computed"].is_null(), "{place}: {name} can't be set");
        if known["sensitive"] == true {
            let is_variable = matches!(&attribute.expr, Expression::Traversal(traversal)
                if matches!(&traversal.expr, Expression::Variable(variable) if variable.as_str() == "var"));
            assert!(is_variable, "{place}: {name} is a secret and has to come from a variable");
        }
    }
    for block in body.blocks() {
        let mut name = block.identifier();
        let mut inner = block.body();
        if name == "dynamic" {
            name = block.labels()[0].as_str();
            let contents: Vec<&Block> = inner.blocks().collect();
            assert!(contents.len() == 1 && contents[0].identifier() == "content", "{place}: dynamic {name}");
            inner = contents[0].body();
        }
        given.insert(name.to_owned());
        let known = &schema["block_types"][name];
        assert!(known.is_object(), "{place} has no block {name}");
        check(&known["block"], inner, &format!("{place}.{name}"), false);
    }
    for part in ["attributes", "block_types"] {
        for (name, known) in schema[part].as_object().into_iter().flatten() {
            assert!(known["required"].is_null() || given.contains(name), "{place} needs {name}");
        }
    }
}

#[test]
fn secrets_are_variables_without_a_default() {
    let mut sensitive = BTreeSet::new();
    for block in terraform().iter().filter(|block| block.identifier() == "variable") {
        let name = block.labels()[0].as_str();
        let attribute = |key: &str| {
            block
                .body()
                .attributes()
                .find(|attribute| attribute.key.as_str() == key)
                .map(|attribute| attribute.expr.clone())
        };
        assert!(attribute("description").is_some(), "{name} says nothing of itself");
        if attribute("sensitive") == Some(Expression::Bool(true)) {
            assert_eq!(attribute("default"), Some(Expression::Null), "{name}");
            sensitive.insert(name.to_owned());
        } else {
            assert!(!["key", "token", "url", "password"].iter().any(|word| name.ends_with(word)), "{name}");
        }
    }
    assert_eq!(sensitive, ["opsgenie_key", "pagerduty_key", "slack_url"].map(str::to_owned).into());
}
