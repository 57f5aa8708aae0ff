//! A log record, after the OpenTelemetry log data model.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Map, Value};

use super::Severity;
use crate::identity::Container;

/// `log.iostream`: the standard stream that a record was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Iostream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Iostream {
    /// As in the attribute `log.iostream`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One record: a line, or several that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When it was written, in nanoseconds of the Unix epoch.
    pub time_unix_ns: u64,
    /// When the sensor took it up, in nanoseconds of the Unix epoch.
    pub observed_time_unix_ns: u64,
    /// What it says of itself; `None` when it says nothing.
    pub severity: Option<Severity>,
    /// The text as it was written, lines with a line feed between them.
    pub body: String,
    /// Fields of a JSON object or of logfmt, as they are.
    pub attributes: Map<String, Value>,
    /// The trace that it belongs to.
    pub trace_id: Option<[u8; 16]>,
    /// The span that it was written in.
    pub span_id: Option<[u8; 8]>,
    /// Where it was written to.
    pub iostream: Iostream,
    /// Something of it is missing: it was too long, or its end did not come.
    pub is_cut: bool,
    /// `service.name` of the program whose standard stream it is.
    pub service_name: Arc<str>,
    /// The container whose standard stream it is; `None` on a bare host.
    pub container: Option<Arc<Container>>,
    /// `process.pid` of the process that wrote it.
    pub pid: u32,
    /// `thread.id` of the thread that wrote it.
    pub tid: u32,
}

#[derive(Serialize)]
struct Json<'a> {
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity_number: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity_text: Option<&'static str>,
    body: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
    #[serde(rename = "log.iostream")]
    iostream: &'static str,
    #[serde(rename = "log.cut", skip_serializing_if = "std::ops::Not::not")]
    is_cut: bool,
    #[serde(rename = "service.name")]
    service_name: &'a str,
    #[serde(rename = "process.pid")]
    pid: u32,
    #[serde(rename = "thread.id")]
    tid: u32,
    #[serde(skip_serializing_if = "Map::is_empty")]
    attributes: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    resource: Map<String, Value>,
}

/// One line of JSON, without its line feed.
///
/// # Errors
/// None in practice: a record has nothing that JSON can't hold.
pub fn json_line(record: &Record) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Json {
        timestamp: time(record.time_unix_ns),
        severity_number: record.severity.map(Severity::number),
        severity_text: record.severity.map(Severity::name),
        body: &record.body,
        trace_id: record.trace_id.as_ref().map(|id| hex(id)),
        span_id: record.span_id.as_ref().map(|id| hex(id)),
        iostream: record.iostream.name(),
        is_cut: record.is_cut,
        service_name: &record.service_name,
        pid: record.pid,
        tid: record.tid,
        attributes: &record.attributes,
        resource: record
            .container
            .iter()
            .flat_map(|container| container.attributes())
            .map(|(key, text)| (key.to_owned(), Value::String(text.into_owned())))
            .collect(),
    })
}

/// RFC 3339, to the nanosecond.
fn time(unix_ns: u64) -> String {
    humantime::format_rfc3339_nanos(SystemTime::UNIX_EPOCH + Duration::from_nanos(unix_ns)).to_string()
}

/// In hexadecimal digits.
pub(super) fn hex(id: &[u8]) -> String {
    use std::fmt::Write as _;
    id.iter().fold(String::with_capacity(2 * id.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
