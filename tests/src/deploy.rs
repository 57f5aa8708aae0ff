//! What is under `deploy/`, read as those who run it read it: dashboards, alert rules, manifests.

use std::path::{Path, PathBuf};

use hcl::eval::{Context, Evaluate as _, FuncArgs, FuncDef, ParamType};
use hcl::{Block, Body, Map, Structure, Value as Hcl};
use serde_json::Value;

/// The directory.
#[must_use]
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// In which language a query is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Prometheus'.
    PromQl,
    /// Loki's.
    LogQl,
    /// Tempo's.
    TraceQl,
    /// A selector of series of the service graph, by which Tempo's data source draws it.
    ServiceMap,
}

/// A query of a panel.
#[derive(Clone, Debug)]
pub struct Query {
    /// Dashboard, panel and number, for messages.
    pub place: String,
    /// Its language.
    pub language: Language,
    /// As it stands in the file, with variables.
    pub text: String,
}

/// A rule's figure and its bound.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Its name.
    pub name: String,
    /// The figure, in PromQL.
    pub expr: String,
}

/// The dashboards by their file names.
///
/// # Panics
/// When one can't be read.
#[track_caller]
#[must_use]
pub fn dashboards() -> Vec<(String, Value)> {
    files("dashboards", "json")
        .into_iter()
        .map(|(name, text)| {
            let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, value)
        })
        .collect()
}

/// The panels of a dashboard that show something.
///
/// # Panics
/// When it has none.
#[must_use]
pub fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    panels.filter(|panel| panel["type"] != "row").collect()
}

/// All queries of a dashboard: of its panels, and of its variables by the selectors of their values.
///
/// # Panics
/// When a panel has a query of no known kind.
#[track_caller]
#[must_use]
pub fn queries(name: &str, dashboard: &Value) -> Vec<Query> {
    let mut found = Vec::new();
    for panel in panels(dashboard) {
        let title = panel["title"].as_str().expect("a title");
        for target in panel["targets"].as_array().expect("targets") {
            let place = format!("{name}: {title} {}", target["refId"].as_str().expect("a refId"));
            let text = |key: &str| target[key].as_str().map(str::to_owned);
            let (language, text) = match (panel["datasource"]["type"].as_str(), target["queryType"].as_str())
            {
                (Some("prometheus"), None) => (Language::PromQl, text("expr")),
                (Some("loki"), None) => (Language::LogQl, text("expr")),
                (Some("tempo"), Some("traceql")) => (Language::TraceQl, text("query")),
                (Some("tempo"), Some("serviceMap")) => (Language::ServiceMap, text("serviceMapQuery")),
                other => panic!("{place}: {other:?}"),
            };
            found.push(Query { language, text: text.unwrap_or_else(|| panic!("{place}: no query")), place });
        }
    }
    for variable in dashboard["templating"]["list"].as_array().expect("variables") {
        let Some(query) = variable["query"]["query"].as_str() else { continue };
        let place = format!("{name}: variable {}", variable["name"].as_str().expect("a name"));
        let selector = query
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')'))
            .and_then(|rest| rest.rsplit_once(", "));
        let (selector, label) = selector.unwrap_or_else(|| panic!("{place}: {query}"));
        let text = format!("count by ({label}) ({selector})");
        found.push(Query { place, language: Language::PromQl, text });
    }
    found
}

/// The rules, with the defaults of all variables.
///
/// # Panics
/// When they can't be evaluated.
#[track_caller]
#[must_use]
pub fn alerts() -> Vec<Alert> {
    let locals = locals(&terraform());
    let groups = locals["groups"].as_object().expect("groups").values();
    let rules = groups.flat_map(|group| group.as_object().expect("a group of rules"));
    rules
        .map(|(name, rule)| Alert {
            name: name.clone(),
            expr: rule.as_object().and_then(|rule| rule["expr"].as_str()).expect("an expression").to_owned(),
        })
        .collect()
}

/// Names and texts of the files of the alerts.
#[track_caller]
#[must_use]
pub fn terraform_files() -> Vec<(String, String)> {
    files("alerts", "tf")
}

/// All blocks of `deploy/alerts`.
///
/// # Panics
/// When a file is no HCL, or has something beside blocks.
#[track_caller]
#[must_use]
pub fn terraform() -> Vec<Block> {
    let bodies = terraform_files()
        .into_iter()
        .map(|(name, text)| -> Body { hcl::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}")) });
    bodies
        .flatten()
        .map(|structure| match structure {
            Structure::Block(block) => block,
            Structure::Attribute(attribute) => panic!("an attribute outside of blocks: {}", attribute.key),
        })
        .collect()
}

/// Evaluates all locals. Those that need others wait until these are known.
#[track_caller]
fn locals(blocks: &[Block]) -> Map<String, Hcl> {
    let variables: Map<String, Hcl> =
        blocks.iter().filter(|block| block.identifier() == "variable").map(default).collect();
    let mut waiting: Vec<_> = blocks
        .iter()
        .filter(|block| block.identifier() == "locals")
        .flat_map(|block| block.body().attributes())
        .collect();
    let mut known = Map::new();
    loop {
        let mut context = Context::new();
        context.declare_var("var", variables.clone());
        context.declare_var("local", known.clone());
        functions(&mut context);
        let before = waiting.len();
        let mut reasons = Vec::new();
        waiting.retain(|attribute| match attribute.expr.evaluate(&context) {
            Ok(value) => {
                known.insert(attribute.key.to_string(), value);
                false
            }
            Err(error) => {
                reasons.push(format!("{}: {error}", attribute.key.as_str()));
                true
            }
        });
        if waiting.is_empty() {
            return known;
        }
        assert!(waiting.len() < before, "locals that can't be evaluated: {reasons:?}");
    }
}

/// A variable's name and default.
#[track_caller]
fn default(block: &Block) -> (String, Hcl) {
    let name = block.labels()[0].as_str().to_owned();
    let value = block.body().attributes().find(|attribute| attribute.key.as_str() == "default");
    let value = value.unwrap_or_else(|| panic!("variable {name} has no default"));
    let value =
        value.expr.evaluate(&Context::new()).unwrap_or_else(|error| panic!("variable {name}: {error}"));
    (name, value)
}

/// Those of Terraform's functions that the locals use.
fn functions(context: &mut Context<'_>) {
    fn join(arguments: FuncArgs) -> Result<Hcl, String> {
        let [Hcl::String(separator), Hcl::Array(parts)] = &arguments.into_values()[..] else {
            return Err("join: a text and a list".to_owned());
        };
        let parts: Option<Vec<&str>> = parts.iter().map(Hcl::as_str).collect();
        Ok(parts.ok_or("join: a list of texts")?.join(separator).into())
    }
    fn merge(arguments: FuncArgs) -> Result<Hcl, String> {
        let mut merged = Map::new();
        for value in arguments.into_values() {
            let Hcl::Object(object) = value else { return Err("merge: objects".to_owned()) };
            merged.extend(object);
        }
        Ok(merged.into())
    }
    fn nonsensitive(arguments: FuncArgs) -> Result<Hcl, String> {
        arguments.into_values().pop().ok_or_else(|| "nonsensitive: a value".to_owned())
    }
    let any = || FuncDef::builder().variadic_param(ParamType::Any);
    context.declare_func("join", any().build(join));
    context.declare_func("merge", any().build(merge));
    context.declare_func("nonsensitive", any().build(nonsensitive));
}

/// The files of a folder with this ending, by name.
#[track_caller]
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let folder = directory().join(folder);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found: Vec<(String, String)> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == ending))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a text");
            (path.file_name().expect("a name").to_string_lossy().into_owned(), text)
        })
        .collect();
    assert!(!found.is_empty(), "nothing in {}", folder.display());
    found.sort();
    found
}
