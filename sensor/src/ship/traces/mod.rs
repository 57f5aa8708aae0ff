//! From exchanges to batches of spans.

mod sink;
mod way;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use tokio::sync::mpsc;

pub use self::sink::Sink;
use super::budget::Meter;
use super::outlet::Encoded;
use super::sampling::Sampler;
use super::tail::{LetGo, Tail};
use crate::config::ship::Traces;
use crate::rpc::Names;

/// Batches that wait to be written; what finds no room is lost and counted.
const WAITING_MAX: usize = 32;

/// What the way of the spans counts.
#[derive(Debug, Default)]
pub struct Counts {
    /// Requests that were not sampled.
    pub unsampled: AtomicU64,
    /// Failed or slow requests for which the budget had no room.
    pub over_budget: AtomicU64,
    /// Spans for which the day had no bytes left.
    pub over_day: AtomicU64,
    /// Spans that the writer was too slow for.
    pub busy: AtomicU64,
    /// Spans that waited for the rest of their trace until others needed the room.
    pub tail_full: AtomicU64,
}

impl Counts {
    fn let_go(&self, gone: LetGo) {
        self.unsampled.fetch_add(gone.in_time, Ordering::Relaxed);
        self.tail_full.fetch_add(gone.early, Ordering::Relaxed);
    }
}

/// Where the spans go now. It changes when the settings do.
pub type Outlet = super::outlet::Outlet<Open>;

/// What a sink needs while there is a receiver of its signal.
pub struct Open {
    sampler: Sampler,
    tail: Option<Tail>,
    meter: Arc<Meter>,
    form: Form,
    batches: mpsc::Sender<Encoded>,
}

/// How spans are sent.
#[derive(Debug, Default)]
pub struct Form {
    /// There are span metrics already.
    pub skips_metrics: bool,
    /// Which names gRPC calls have.
    pub rpc_names: Names,
    /// Metrics get exemplars of what is sent.
    pub has_exemplars: bool,
    /// Attributes of each resource.
    pub resource: Vec<KeyValue>,
}

impl Form {
    /// With these attributes; those without a value are left out.
    #[must_use]
    pub fn resource(self, attributes: &[(&str, &str)]) -> Self {
        let attributes = attributes.iter().filter(|(_, value)| !value.is_empty());
        Self { resource: attributes.map(|(key, value)| text(key, value)).collect(), ..self }
    }
}

impl Outlet {
    /// Opens it; the receiver's end is for [`write`](super::outlet::write).
    pub fn open(&self, settings: &Traces, meter: Arc<Meter>, form: Form) -> mpsc::Receiver<Encoded> {
        let (batches, waiting) = mpsc::channel(WAITING_MAX);
        let wait_ns = u64::try_from(settings.tail_wait.as_nanos()).unwrap_or(u64::MAX);
        let tail = (wait_ns > 0).then(|| Tail::new(wait_ns, settings.tail_max_spans));
        self.set(Open { sampler: Sampler::new(settings), tail, meter, form, batches });
        waiting
    }

    /// Closes it; what waits for its trace is let go.
    pub fn end(&self, counts: &Counts) {
        if let Some(tail) = self.lock().as_mut().and_then(|open| open.tail.as_mut()) {
            counts.let_go(tail.finish());
        }
        self.close();
    }

    /// Spans that wait for the rest of their trace.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().as_ref().and_then(|open| open.tail.as_ref()).map_or(0, Tail::waiting)
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn flag(key: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::BoolValue(true)) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}
